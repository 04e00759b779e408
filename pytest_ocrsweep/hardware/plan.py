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
from enum import StrEnum
from math import fsum

from ..errors import PlanError
from ..model.analytic import Model
from ..model.geometry import Workload
from ..model.ledger import Ledger
from .devices import Device
from .estimate import estimate, why_not
from .roofline import floor
from .sizing import largest_batch

NS = 1e9


class How(StrEnum):
    """Where a number comes from."""

    ESTIMATED = "estimated"
    FLOOR = "floor"  # nothing is faster, so rates are at most this
    MEASURED = "measured"


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
class Times:
    """What one engine takes, in nanoseconds: of one page's admission, by part, and of one step of all pages."""

    vision: float  # kernels of the tower
    launches: float  # what the host takes longer to launch them
    prefill: float  # the decoder over the prompt
    admission_step: float  # what the engine takes a group, a page's part
    decode: float  # kernels of a step
    step: float  # what the engine takes a step

    @property
    def admission(self) -> float:
        return self.vision + self.launches + self.prefill + self.admission_step

    @property
    def whole_step(self) -> float:
        return self.decode + self.step


@dataclass(frozen=True, slots=True)
class Plan:
    """What serving a mix of pages comes to; None is what nothing here knows."""

    device: str
    engine: str
    concurrency: int
    new_tokens: float  # of the mix, on average
    pages_per_s: Number
    ttft_ms: Number
    tpot_ms: Number
    max_concurrency: int  # pages in flight that the memory holds; 0: not even one
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
    most = min(most_pages(model, share.work, device) for share in mix)
    if most == 0:
        raise PlanError(
            f"{device.name} has not the memory for one page on {model.engine.name};",
            "choose a device with more memory, a smaller page or fewer new tokens",
        )
    at_once = min(concurrency, most)
    how = How.FLOOR if why_not(device) else How.ESTIMATED
    ledgers = [_ledgers(model, share.work, at_once) for share in mix]
    weights = [share.weight / fsum(each.weight for each in mix) for share in mix]
    spread, reasons = _spread(model, device, ledgers, how)
    times = _mean([_times(model, each, device, how) for each in ledgers], weights)
    new_tokens = fsum(weight * share.work.new_tokens for weight, share in zip(weights, mix, strict=True))
    group = fsum(weight * each.group for weight, each in zip(weights, ledgers, strict=True))
    rendering = _mean_of([render_ns(model, share.work) for share in mix], weights)
    page_ns = times.admission + new_tokens * times.whole_step / at_once
    tpot_ns = times.whole_step + (at_once - group) * times.admission / new_tokens
    ttft_ns = max(concurrency * page_ns - new_tokens * tpot_ns, group * times.admission)
    bound = _bound(times, new_tokens / at_once, concurrency > most)
    if cores is not None and rendering is not None and rendering / cores > page_ns:
        page_ns, bound = rendering / cores, "host"
        ttft_ns = max(concurrency * page_ns - new_tokens * tpot_ns, group * times.admission)
    return Plan(
        device=device.name,
        engine=model.engine.name,
        concurrency=concurrency,
        new_tokens=new_tokens,
        pages_per_s=_number(NS / page_ns, spread, how, higher_is_better=True),
        ttft_ms=_number(ttft_ns / 1e6, spread, how),
        tpot_ms=_number(tpot_ns / 1e6, spread, how),
        max_concurrency=most,
        dollars_per_million_pages=_dollars(price_per_hour, page_ns, spread, how),
        joules_per_page=None,
        host_cores=None if rendering is None else _number(rendering / page_ns, spread, how, higher_is_better=True),
        bound=bound,
        parts_ms=_parts(times, new_tokens / at_once),
        reasons=reasons,
    )


def render_ns(model: Model, work: Workload) -> float | None:
    """What one core takes to make a page's views; None if the engine's file does not say."""
    host = model.engine.host
    if host.render_view_ns is None or host.render_crop_ns is None:
        return None
    return host.render_view_ns + work.grid.crops * host.render_crop_ns


def most_pages(model: Model, work: Workload, device: Device) -> int:
    """Pages in flight whose KV cache fits beside weights and the largest step's activations; 0 if none does.

    Where one prefill takes all pages, as many as fit with it.
    """
    engine = model.engine
    if engine.most_step_tokens is None:
        return largest_batch(model, work, device) or 0
    group = max(1, engine.most_step_tokens // work.context_tokens)
    prefill = model.ledger("prefill", replace(work, batch=group))
    one = model.ledger("decode", replace(work, batch=1))
    free = device.memory_bytes * engine.host.memory_percent / 100 - prefill.weight_bytes - prefill.peak_activation_bytes
    pages = int(free // one.kv_cache_bytes) if free > 0 else 0
    return pages if engine.host.most_pages is None else min(pages, engine.host.most_pages)


@dataclass(frozen=True, slots=True)
class _Ledgers:
    group: int  # pages of a prefill
    vision: Ledger  # of the group
    prefill: Ledger  # of the group, vision included
    decode: Ledger  # of all pages at once


def _group(model: Model, work: Workload, pages: int) -> int:
    """Pages that one prefill takes."""
    most = model.engine.most_step_tokens
    return pages if most is None else max(1, min(pages, most // work.context_tokens))


def _ledgers(model: Model, work: Workload, at_once: int) -> _Ledgers:
    group = _group(model, work, at_once)
    vision, prefill = (model.ledger(stage, replace(work, batch=group)) for stage in ("vision", "prefill"))
    return _Ledgers(group, vision, prefill, model.ledger("decode", replace(work, batch=at_once)))


def _times(model: Model, of: _Ledgers, device: Device, how: How) -> Times:
    host = model.engine.host
    vision, prefill, decode = (_device_ns(ledger, device, how) for ledger in (of.vision, of.prefill, of.decode))
    launches = 0.0
    if host.launch_ns is not None and how is How.ESTIMATED:
        launches = float(of.vision.work_of_lines().launches.sum()) * host.launch_ns
    step = (host.step_ns or 0.0) if how is How.ESTIMATED else 0.0
    return Times(
        vision=vision / of.group,
        launches=max(0.0, launches - vision) / of.group,
        prefill=(prefill - vision) / of.group,
        admission_step=step / of.group,
        decode=decode / of.decode.steps,
        step=step,
    )


def _device_ns(ledger: Ledger, device: Device, how: How) -> float:
    return float(floor(ledger, device).time_ns if how is How.FLOOR else estimate(ledger, device).time_ns)


def _spread(model: Model, device: Device, ledgers: Sequence[_Ledgers], how: How) -> tuple[float, tuple[str, ...]]:
    """How many times more or less than planned a time may be, and why."""
    if how is How.FLOOR:
        return 1.0, ()
    found = [estimate(ledger, device) for each in ledgers for ledger in (each.prefill, each.decode)]
    reasons = dict.fromkeys(reason for each in found for reason in each.reasons)
    return max(model.engine.host.spread, *(each.high_ns / each.time_ns for each in found)), tuple(reasons)


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
    parts = {
        "vision": times.vision,
        "launches": times.launches,
        "prefill": times.prefill,
        "decode": steps * times.decode,
        "engine": times.admission_step + steps * times.step,
    }
    return {name: ns / 1e6 for name, ns in parts.items()}


def _bound(times: Times, steps: float, out_of_memory: bool) -> str:
    """What takes the most of a page's time; where the tower waits for its launches, all of it is theirs."""
    parts = _parts(times, steps)
    if parts["launches"] > 0:
        parts["launches"] += parts.pop("vision")
    largest_part = max(parts, key=parts.__getitem__)
    return "KV memory" if out_of_memory and largest_part in ("decode", "engine") else largest_part


def _number(value: float, spread: float, how: How, *, higher_is_better: bool = False) -> Number:
    if how is not How.FLOOR:
        return Number(value, value / spread, value * spread, how)
    return Number(value, None, value, how) if higher_is_better else Number(value, value, None, how)


def _dollars(price_per_hour: float | None, page_ns: float, spread: float, how: How) -> Number | None:
    return None if price_per_hour is None else _number(price_per_hour / 3600 * page_ns / NS * 1e6, spread, how)
