"""The price of a page on an engine that serves many at once: pages a second, latencies, dollars, and what bounds them.

A closed loop: `concurrency` pages are in flight, and a new one comes when one is done. Pages are admitted in groups, as
many as one prefill holds; decode steps of all pages in flight run between. An engine does one thing at a time, so a
page takes its part of its group's prefill, and its part of each of `new_tokens` steps:

    pages/s = 1 / (admission + new_tokens · step / concurrency)

By Little's law, time to first token and `new_tokens` times the time per token make concurrency / (pages/s).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import fsum

from ..errors import PlanError
from ..model.analytic import Model
from ..model.geometry import Workload
from ..model.positions import beyond
from ..model.stages import STAGES
from .devices import Device
from .engine_times import How, Ledgers, Times, ledgers, most_pages, render_ns, times
from .estimate import estimate, why_not

NS = 1e9
PARTS = {  # of a page's time in the engine
    "vision": "the vision tower's kernels",
    "launches": "the launches of the vision tower, which the GPU waits for",
    "prefill": "the decoder over the prompt",
    "decode": "the kernels of decode steps",
    "engine": "what the engine takes between steps",
}
MEMORY, HOST = "KV memory", "host"
BOUNDS = {**PARTS, MEMORY: "memory for KV caches", HOST: "the host's cores, which render pages"}


@dataclass(frozen=True, slots=True)
class Number:
    """A number with its interval: nine of ten lie in it; of a floor, only its better end is known."""

    value: float
    low: float | None
    high: float | None
    how: How


@dataclass(frozen=True, slots=True)
class Share:
    """A page, and how many of a mix are like it."""

    work: Workload
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Plan:
    """What serving a mix of pages comes to; None is what nothing here knows."""

    device: str
    engine: str
    concurrency: int
    new_tokens: float  # of the mix, on average
    pages_per_s: Number
    ttft_ms: Number
    tpot_ms: Number | None  # None for a single token, after which none comes
    max_concurrency: int  # pages that are in flight at most
    by_memory: bool  # whether memory sets that limit, and not the engine
    dollars_per_million_pages: Number | None
    joules_per_page: Number | None
    host_cores: Number | None  # that render pages as fast as they are served
    bound: str
    parts_ms: dict[str, float]  # of a page's time in the engine
    reasons: tuple[str, ...]  # why the interval is wide


def plan(
    model: Model,
    mix: Sequence[Share],
    device: Device,
    concurrency: int,
    price_per_hour: float | None = None,
    cores: float | None = None,
) -> Plan:
    """What `device` does with pages like those of `mix` at once. Raises PlanError for a mix that it never serves."""
    for line in beyond(model.architecture, ((stage, share.work) for share in mix for stage in STAGES)):
        raise PlanError(f"{line};", "choose fewer tokens, or set model.decoder.max_positions")
    most = min(most_pages(model, share.work, device) for share in mix)
    by_memory = most != model.engine.host.most_pages
    if most == 0:
        raise PlanError(
            f"{device.name} has not the memory for one page on {model.engine.name};",
            "choose a device with more memory, a smaller page or fewer new tokens",
        )
    at_once = min(concurrency, most)
    how = How.FLOOR if why_not(device) else How.ESTIMATED
    runs = [ledgers(model, share.work, at_once) for share in mix]
    weights = [share.weight / fsum(each.weight for each in mix) for share in mix]
    spread, reasons = _spread(model, device, runs, how)
    took = _mean([times(model, each, device, how) for each in runs], weights)
    new_tokens = fsum(weight * share.work.new_tokens for weight, share in zip(weights, mix, strict=True))
    group = fsum(weight * each.group for weight, each in zip(weights, runs, strict=True))
    rendering = _mean_of([render_ns(model, share.work) for share in mix], weights)
    page_ns = took.admission + new_tokens * took.whole_step / at_once
    tpot_ns = took.whole_step + (at_once - group) * took.admission / new_tokens
    bound = _bound(took, new_tokens / at_once, by_memory and concurrency > most)
    host_ns = rendering / cores if cores is not None and rendering is not None else 0.0
    if host_ns > page_ns:
        bound = HOST
    # What the host takes has no interval of its own: the page is never faster than it.
    page, fast, slow = (max(each, host_ns) for each in (page_ns, page_ns / spread, page_ns * spread))
    ttft_ns = max(concurrency * page - new_tokens * tpot_ns, group * took.admission)

    def per_page(scale: float) -> Number:
        return _number(scale / page, how, scale / slow, scale / fast, higher_is_better=True)

    def time(ns: float) -> Number:
        return _number(ns / 1e6, how, ns / 1e6 / spread, ns / 1e6 * spread)

    dollar = None if price_per_hour is None else price_per_hour / 3600 / NS * 1e6
    return Plan(
        device=device.name,
        engine=model.engine.name,
        concurrency=concurrency,
        new_tokens=new_tokens,
        pages_per_s=per_page(NS),
        ttft_ms=time(ttft_ns),
        tpot_ms=None if new_tokens <= 1 else time(tpot_ns),
        max_concurrency=most,
        by_memory=by_memory,
        dollars_per_million_pages=None if dollar is None else _number(dollar * page, how, dollar * fast, dollar * slow),
        joules_per_page=None,
        host_cores=None if rendering is None else per_page(rendering),
        bound=bound,
        parts_ms=_parts(took, new_tokens / at_once),
        reasons=reasons,
    )


def _spread(model: Model, device: Device, ledgers: Sequence[Ledgers], how: How) -> tuple[float, tuple[str, ...]]:
    """How many times more or less than planned a time may be, and why."""
    if how is How.FLOOR:
        return 1.0, ()
    stages = [ledger for each in ledgers for ledger in (each.prefill, each.decode)]
    found = [(ledger.stage, estimate(ledger, device)) for ledger in stages]
    by_reason: dict[str, dict[str, None]] = {}
    for stage, each in found:
        for reason in each.reasons:
            by_reason.setdefault(reason, {})[stage] = None
    reasons = (f"{' and '.join(of)}: {reason}" for reason, of in by_reason.items())
    return max(model.engine.host.spread, *(each.high_ns / each.time_ns for _, each in found)), tuple(reasons)


def _mean(times: Sequence[Times], weights: Sequence[float]) -> Times:
    names = Times.__dataclass_fields__
    return Times(**{n: fsum(w * getattr(each, n) for w, each in zip(weights, times, strict=True)) for n in names})


def _mean_of(values: Sequence[float | None], weights: Sequence[float]) -> float | None:
    known = [value for value in values if value is not None]
    if len(known) < len(values):
        return None
    return fsum(weight * value for weight, value in zip(weights, known, strict=True))


def _parts(times: Times, steps: float) -> dict[str, float]:
    """Milliseconds of a page by what takes them; `steps` is how many whole steps are a page's own."""
    engine = times.admission_step + steps * times.step
    parts = (times.vision, times.launches, times.prefill, steps * times.decode, engine)
    return {name: ns / 1e6 for name, ns in zip(PARTS, parts, strict=True)}


def _bound(times: Times, steps: float, out_of_memory: bool) -> str:
    """What takes the most of a page's time; where the tower waits for its launches, all of it is theirs."""
    if times.launches > 0:
        times = replace(times, vision=0.0, launches=times.launches + times.vision)
    parts = _parts(times, steps)
    longest = max(parts, key=parts.__getitem__)
    of_steps = list(PARTS)[-2:]
    return MEMORY if out_of_memory and longest in of_steps else longest


def _number(value: float, how: How, low: float, high: float, *, higher_is_better: bool = False) -> Number:
    if how is not How.FLOOR:
        return Number(value, low, high, how)
    return Number(value, None, value, how) if higher_is_better else Number(value, value, None, how)
