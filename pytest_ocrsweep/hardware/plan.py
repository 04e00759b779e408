"""The price of a page on an engine that serves many at once: pages a second, latencies, dollars, and what bounds them.

A load is served step by step, as the engine's scheduler does it (`engine_loop`): in a closed loop of `concurrency`
pages. Kernels are estimated, and what the host takes is the engine's (`engine.host`).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import fsum

from ..errors import PlanError
from ..model.analytic import Model
from ..model.engine import REFERENCE
from ..model.geometry import Workload
from ..model.positions import beyond
from ..model.stages import STAGES
from .devices import Device
from .engine_loop import Loop
from .engine_times import EngineTimes, How, most_pages, render_ns
from .estimate import estimate, why_not
from .served_load import Served, pages_of

NS = 1e9
PARTS = {  # of a page's time in the engine
    "vision": "the vision tower's kernels",
    "launches": "the launches of the vision tower, which the GPU waits for",
    "prefill": "the decoder over the prompt",
    "decode": "the kernels of decode steps",
    "engine": "the host, for which the device waits between steps",
}
MEMORY, HOST = "KV memory", "host"
RENDER_SPREAD = 1.3  # of rendering, from host to host: an H200's took 1.28 times what an H100's did
FREE = replace(REFERENCE.host, spread=1.0)  # a floor has no host
BOUNDS = {**PARTS, MEMORY: "memory, which holds no more pages in flight", HOST: "the host's cores, which render pages"}


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
    if model.precision.fp8_products and device.fp8_flops_per_s is None:
        raise PlanError(f"{device.name} multiplies no 8-bit floats;", "use precision=fp8, or another device")
    most = min(most_pages(model, share.work, device) for share in mix)
    by_memory = most != model.engine.host.most_pages
    if most == 0:
        raise PlanError(
            f"{device.name} has not the memory for one page on {model.engine.name};",
            "choose a device with more memory, a smaller page or fewer new tokens",
        )
    at_once = min(concurrency, most)
    how = How.FLOOR if why_not(device) else How.ESTIMATED
    works = [share.work for share in mix]
    weights = [share.weight / fsum(each.weight for each in mix) for share in mix]
    spread, reasons = _spread(model, device, works, at_once, how)
    host = model.engine.host if how is How.ESTIMATED else FREE
    times = EngineTimes(model, works, device, how)

    def serve(pages: int) -> Served:
        return Loop(replace(model.engine, host=host), times, weights, pages, pages_of(pages)).run()

    served = serve(at_once)
    device_ns = served.page_ns
    new_tokens = fsum(weight * work.new_tokens for weight, work in zip(weights, works, strict=True))
    rendering = _mean_of([render_ns(model, work) for work in works], weights)
    bound = _bound(served, by_memory and concurrency > most)
    host_ns = rendering / cores if cores is not None and rendering is not None else 0.0

    def page_ns(slower: float, render: float) -> float:
        """Of a page, with the device and the host so many times slower; it is never faster than its rendering."""
        return max(device_ns * slower, host_ns * render)

    def waited(render: float) -> tuple[Served, float]:
        """The pages that are in flight, and a page's time to first token, with rendering so many times slower.

        What waits to be rendered is not in flight; it waits as long as what is before it is served or rendered.
        """
        page, pages, found = page_ns(1, render), at_once, served
        if host_ns * render > device_ns:
            pages = _fewest(serve, at_once, host_ns * render)
            found = serve(pages)
        return found, found.ttft_ns + concurrency * page - pages * found.page_ns

    page, fast, slow = page_ns(1, 1), page_ns(1 / spread, 1 / RENDER_SPREAD), page_ns(spread, RENDER_SPREAD)
    cases = [waited(render) for render in (1, *((1 / RENDER_SPREAD, RENDER_SPREAD) if host_ns else ()))]
    if host_ns > device_ns:
        bound = HOST
    served = cases[0][0]

    def per_page(scale: float) -> Number:
        return _number(scale / page, how, scale / slow, scale / fast, higher_is_better=True)

    def busy(slower: float, render: float) -> float:
        """Cores that render, on average."""
        return (rendering or 0.0) * render / page_ns(slower, render)

    def time(ns: Sequence[float]) -> Number:
        """The first of some, in the interval of all: a little more rendering may be what the device waits for."""
        return _number(ns[0] / 1e6, how, min(ns) / 1e6 / spread, max(ns) / 1e6 * spread)

    cores_low_high = busy(spread, 1 / RENDER_SPREAD), busy(1 / spread, RENDER_SPREAD)
    dollar = None if price_per_hour is None else price_per_hour / 3600 / NS * 1e6
    return Plan(
        device=device.name,
        engine=model.engine.name,
        concurrency=concurrency,
        new_tokens=new_tokens,
        pages_per_s=per_page(NS),
        ttft_ms=time([ttft_ns for _, ttft_ns in cases]),
        tpot_ms=None if new_tokens <= 1 else time([found.tpot_ns for found, _ in cases]),
        max_concurrency=most,
        by_memory=by_memory,
        dollars_per_million_pages=None if dollar is None else _number(dollar * page, how, dollar * fast, dollar * slow),
        joules_per_page=_joules(device, served, fast, page, slow, how),
        host_cores=None if rendering is None else _number(busy(1, 1), how, *cores_low_high, higher_is_better=True),
        bound=bound,
        parts_ms=_parts(served),
        reasons=reasons,
    )


def _fewest(serve: Callable[[int], Served], most: int, page_ns: float) -> int:
    """The fewest pages in flight, of at most so many, that take no longer than this each."""
    return bisect_left(range(1, most), True, key=lambda pages: serve(pages).page_ns <= page_ns) + 1


def _spread(
    model: Model, device: Device, works: Sequence[Workload], at_once: int, how: How
) -> tuple[float, tuple[str, ...]]:
    """How many times more or less than planned a time may be, and why."""
    if how is How.FLOOR:
        return 1.0, ()
    by_reason: dict[str, dict[str, None]] = {}
    widest = model.engine.host.spread
    for work in works:
        fit = model.engine.pages_a_prefill(work.context_tokens)
        for stage, pages in (("prefill", at_once if fit is None else max(1, min(at_once, fit))), ("decode", at_once)):
            found = estimate(model.ledger(stage, replace(work, batch=pages)), device)
            widest = max(widest, found.high_ns / found.time_ns)
            for reason in found.reasons:
                by_reason.setdefault(reason, {})[stage] = None
    return widest, tuple(f"{' and '.join(of)}: {reason}" for reason, of in by_reason.items())


def _mean_of(values: Sequence[float | None], weights: Sequence[float]) -> float | None:
    known = [value for value in values if value is not None]
    if len(known) < len(values):
        return None
    return fsum(weight * value for weight, value in zip(weights, known, strict=True))


def _joules(device: Device, served: Served, fast: float, page: float, slow: float, how: How) -> Number | None:
    """Of a page that takes so long; a device that waits for its host takes less, but not nothing."""
    power = device.power
    if power is None or how is How.FLOOR:
        return None
    busy = sum(ns for part, ns in served.busy_ns.items() if part != "launches")
    value, low, high = (
        power.joules(ns / NS, min(ns, busy / served.pages) / NS, served.tensor_flops / served.pages)
        for ns in (page, fast, slow)
    )
    return Number(value, low / power.spread, high * power.spread, how)


def _parts(served: Served) -> dict[str, float]:
    """Milliseconds of a page by what takes them; the device idles while the engine is between two steps."""
    busy = {name: ns / served.pages / 1e6 for name, ns in served.busy_ns.items()}
    return {name: busy.get(name, max(0.0, served.page_ns / 1e6 - sum(busy.values()))) for name in PARTS}


def _bound(served: Served, out_of_memory: bool) -> str:
    """What takes the most of a page's time. The tower is one part, named by its kernels or by its launches."""
    parts = _parts(served)
    tower, other = sorted(("vision", "launches"), key=parts.__getitem__, reverse=True)
    parts |= {tower: parts[tower] + parts[other], other: 0.0}
    longest = max(parts, key=parts.__getitem__)
    of_steps = list(PARTS)[-2:]
    return MEMORY if out_of_memory and longest in of_steps else longest


def _number(value: float, how: How, low: float, high: float, *, higher_is_better: bool = False) -> Number:
    if how is not How.FLOOR:
        return Number(value, low, high, how)
    return Number(value, None, value, how) if higher_is_better else Number(value, value, None, how)
