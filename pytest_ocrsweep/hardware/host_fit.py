"""What a host takes, from loads that an engine served on it: the constants under which plans are nearest to them."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import PlanError
from ..model.analytic import Model
from ..model.engine import Engine, Host
from ..model.geometry import Workload
from .devices import Device
from .engine_loop import Loop
from .engine_times import EngineTimes, How, render_ns
from .fit import Z, least_squares
from .served_load import Served

Array = NDArray[np.float64]

FITTED = {  # of an engine's host
    "launch_ns": "to launch a kernel of the tower",
    "step_ns": "between steps",
    "eager_step_ns": "to launch a step that no graph holds",
    "admission_ns": "to admit a page",
    "upload_ns_per_mb": "to copy a page's pixels to the device",
}
PLANNED = ("ttft_ns", "tpot_ns", "pages_per_s")  # figures of a load that a plan has too
FIGURES = (*PLANNED, "render_ns")
# Deviations of logarithms. Hosts of one kind, and one host from minute to minute, differ so much: what few loads do not
# say stays near the engine's own constants.
OF_A_NUMBER, OF_A_CONSTANT = 0.2, 0.4
LEAST_SPREAD = 1.15  # what kernels are off by, on a host whose speed is known


@dataclass(frozen=True, slots=True)
class MeasuredLoad:
    """Pages like that of `work` through an engine: medians over pages, and the rate over the whole load."""

    work: Workload
    concurrency: int
    pages: int
    encoder_graphs: bool
    ttft_ns: float
    tpot_ns: float | None
    pages_per_s: float
    render_ns: float | None = None  # of one page, on a core
    rounds: int = 1  # of which the figures are the medians
    variance: float = 0.0  # of a round's logarithms, as far as rounds tell it

    def __str__(self) -> str:
        graphs = ", encoder graphs" if self.encoder_graphs else ""
        return f"{self.work.grid}, {self.concurrency} in flight, {self.work.new_tokens} new tokens{graphs}"


def middle(loads: Sequence[MeasuredLoad]) -> list[MeasuredLoad]:
    """The loads, of which equal ones are one: each figure is its median over them."""
    alike: dict[tuple[object, ...], list[MeasuredLoad]] = {}
    for load in loads:
        alike.setdefault((load.work, load.concurrency, load.pages, load.encoder_graphs), []).append(load)
    return [
        replace(each[0], **_medians(each), rounds=len(each), variance=_variance(each)) if len(each) > 1 else each[0]
        for each in alike.values()
    ]


def _variance(rounds: Sequence[MeasuredLoad]) -> float:
    """Of the logarithms of a figure from round to round, the mean over figures that a plan has too."""
    known = [[getattr(each, name) for each in rounds] for name in PLANNED]
    return statistics.fmean(statistics.variance(np.log(values)) for values in known if None not in values)


def _medians(rounds: Sequence[MeasuredLoad]) -> dict[str, Any]:
    known = {name: [value for each in rounds if (value := getattr(each, name)) is not None] for name in FIGURES}
    return {name: statistics.median(values) for name, values in known.items() if values}


@dataclass(frozen=True, slots=True)
class HostFit:
    """A host with fitted constants, and the factors by which its plans of the loads are too high.

    Rendering took `rendering` times what the engine's file says; None if no load says it.
    """

    host: Host
    rendering: float | None
    loads: tuple[MeasuredLoad, ...]
    off: tuple[tuple[float, ...], ...]  # by load: of TTFT, of TPOT if there is one, and of pages a second


def fitted_host(model: Model, device: Device, loads: Sequence[MeasuredLoad]) -> HostFit:
    """Raises PlanError if the engine's file has no constant to begin with."""
    names = [name for name in FITTED if getattr(model.engine.host, name) is not None]
    if not names:
        raise PlanError(f"{model.engine.name} has no host whose time could be fitted;", "choose --engine vllm")
    start = np.log([getattr(model.engine.host, name) for name in names])
    plans = LoadPlan.each(model, device, loads)

    def host(logarithms: Array) -> Host:
        constants: dict[str, Any] = dict(zip(names, map(float, np.exp(logarithms)), strict=True))
        return replace(model.engine.host, **constants)

    def off(logarithms: Array) -> list[Array]:
        return [np.log(plan.off(host(logarithms))) for plan in plans]

    def residuals(logarithms: Array) -> Array:
        return np.concatenate([*off(logarithms), (logarithms - start) * (OF_A_NUMBER / OF_A_CONSTANT)]) / OF_A_NUMBER

    found = least_squares(residuals, start)
    left = off(found)
    rest = np.concatenate(left)
    # As many numbers as there are constants can always be met: for those, the engine's own spread stands.
    before = np.log(model.engine.host.spread) / Z
    variance = float((np.sum(rest**2) + len(names) * before**2) / max(len(rest), len(names)))
    between = statistics.fmean(load.variance for load in loads)  # a plan is of one round, the loads are of several
    spread = max(LEAST_SPREAD, float(np.exp(Z * np.sqrt(variance + between))))
    off_by = tuple(tuple(map(float, np.exp(each))) for each in left)
    rendering = _rendering(model, loads)
    return HostFit(_rendered(replace(host(found), spread=spread), rendering), rendering, tuple(loads), off_by)


def _rendering(model: Model, loads: Sequence[MeasuredLoad]) -> float | None:
    """How many times as long as by the engine's file a page took to render, in the middle of the loads."""
    pairs = [(load.render_ns, render_ns(model, load.work)) for load in loads]
    factors = [measured / planned for measured, planned in pairs if measured and planned]
    return statistics.median(factors) if factors else None


def _rendered(host: Host, factor: float | None) -> Host:
    if factor is None or host.render_view_ns is None or host.render_crop_ns is None:
        return host
    return replace(host, render_view_ns=factor * host.render_view_ns, render_crop_ns=factor * host.render_crop_ns)


@dataclass(frozen=True, slots=True)
class LoadPlan:
    """A measured load with what its kernels take, to be served by one host after the other."""

    load: MeasuredLoad
    engine: Engine
    times: EngineTimes

    @classmethod
    def each(cls, model: Model, device: Device, loads: Sequence[MeasuredLoad]) -> list[LoadPlan]:
        """Of each load, in their order. Those of one page share what its kernels take."""
        known: dict[tuple[Workload, bool], tuple[Engine, EngineTimes]] = {}
        for load in loads:
            if (key := (load.work, load.encoder_graphs)) not in known:
                engine = replace(model.engine, start=replace(model.engine.start, encoder_graphs=load.encoder_graphs))
                times = EngineTimes(replace(model, engine=engine), [load.work], device, How.ESTIMATED)
                known[key] = engine, times
        return [cls(load, *known[load.work, load.encoder_graphs]) for load in loads]

    def served(self, host: Host) -> Served:
        load = self.load
        return Loop(replace(self.engine, host=host), self.times, [1.0], load.concurrency, load.pages).run()

    def off(self, host: Host) -> list[float]:
        """Planned over measured: time to first token, time per token if there is one, and pages a second."""
        found, load = self.served(host), self.load
        tpot = [] if load.tpot_ns is None else [found.tpot_ns / load.tpot_ns]
        return [found.ttft_ns / load.ttft_ns, *tpot, 1e9 / found.page_ns / load.pages_per_s]
