"""The reference model measured at one point: device time, wall time, peak memory, kernels and FLOPs."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import torch

from ..baselines.energy import EnergyResult
from ..baselines.machine import Machine
from ..baselines.sampling import FirstOf, NoiseReached, Samples, StopRule, TimeCap, collect
from ..model.architecture import Architecture
from ..model.geometry import Workload
from ..model.stages import STAGES
from . import build, dispatch_count, gpu_state
from .clocks import Clock, HostClock, delayed, device_clock
from .energy import EnergyMeter
from .families import ReferenceModel
from .forward import Call
from .graph_speed import GraphSpeed
from .peak_memory import peak_bytes
from .regions import Region, experts_of, stage_region
from .slowed import Delay, Slowed

RULE = FirstOf((NoiseReached(0.004, 10), TimeCap(1.0)))  # replays of one graph lie within 0.2 %
WARM_UP_S = 0.1
BATCH = 5  # samples between two looks at the stopping rule
WALL_SAMPLES = 3
ATTEMPTS = 3  # at clocks that were made while the driver was steady


@dataclass(frozen=True, slots=True)
class PreparedPoint:
    """A point that is warm and ready to be sampled."""

    region: Region
    clocks: list[Clock]
    read: Callable[[], Machine]
    rule: StopRule
    wall: Samples  # of the whole stage, as its caller waits for it
    peak_bytes: int | None
    experts: str | None
    tensor_flops: int | None = None  # FlopCounterMode's count of the very calls that are timed, if it was asked for
    glance: Callable[[], Machine] | None = None  # what is read of the machine while it samples
    steady: Callable[[], object] = lambda: None  # waits until the driver is at the speed that it keeps
    energy_meter: EnergyMeter | None = None

    @property
    def clock(self) -> str:
        """How its device time is taken: a clock's name."""
        return self.clocks[0].name

    @property
    def kernels(self) -> int | None:
        """Kernels that one call launches, a decode's one step; None if they are not known."""
        return self.clocks[0].kernels

    def sample(self) -> Samples:
        """One round of samples of the whole stage, ns."""
        self.steady()
        return collect(self._batch, self.rule, self.read, glance=self.glance)

    def token_ns(self) -> list[int] | None:
        """A decode's time for its first and its last step, median of one batch each; None for other stages."""
        if not self.region.steps:
            return None
        return [sorted(clock.batch(BATCH))[BATCH // 2] for clock in self.clocks]

    def energy(self) -> EnergyResult | None:
        """The energy of the whole stage; None where it was not asked for."""
        if self.energy_meter is None:
            return None
        self.steady()
        return self.energy_meter.of(self.clocks, self.region.halves, self.read, self.glance)

    def _batch(self) -> list[int]:
        return _whole([clock.batch(BATCH) for clock in self.clocks], self.region.halves)


@dataclass(slots=True)
class Vendor:
    """The reference model on one device, built once for each attention and used for every point."""

    model: Architecture
    device: torch.device
    seed: int = 0
    slowdown_percent: float = 0.0
    rule: StopRule = RULE
    load: Callable[[str, str], ReferenceModel] | None = (
        None  # (attention, experts) → real weights, in place of random ones
    )
    delay: Delay | None = None  # of one component, for the points that follow
    energy_ms: int | None = None  # a point's window; None: its energy is not measured
    _built: dict[str, ReferenceModel] = field(default_factory=dict, init=False, repr=False)
    graph_speed: GraphSpeed | None = field(default=None, init=False, repr=False)
    energy_meter: EnergyMeter | None = field(default=None, init=False, repr=False)

    def built(self, attention: str, experts: str) -> ReferenceModel:
        """The model for `attention`, its routed experts run by `experts`."""
        if attention not in self._built:
            if self.load is not None:
                self._built[attention] = self.load(attention, experts)
            else:
                self._built[attention] = build.build(self.model, attention, experts, str(self.device), self.seed)
            gc.collect()
            gc.freeze()  # what is loaded by now stays: the collection after each point need not look at it
        return build.use(self._built[attention], experts)

    @contextmanager
    def timed(
        self, stage: str, work: Workload, attention: str, page: Path | None = None, *, count: bool = False
    ) -> Iterator[PreparedPoint]:
        """A point, warm and with its clocks ready, on the pixels of `page` or on random ones; freed on leaving.

        With `count`, its FLOPs are counted.
        """
        with torch.device(self.device), torch.no_grad():
            self.settle()
            experts = experts_of(self.model.decoder, stage)
            try:
                with self._region(self.built(attention, experts), stage, work, attention, page) as region:
                    yield self.prepared(region, self._experts_run(stage), count)
            finally:
                self.tidy()

    def _experts_run(self, stage: str) -> str | None:
        return experts_of(self.model.decoder, stage) if STAGES[stage].experts else None

    def settle(self) -> None:
        """Reads the power at rest, and has the driver run graphs at its lasting speed: its first three are faster."""
        if self.energy_ms and self.energy_meter is None:
            self.energy_meter = EnergyMeter.at_rest(self.device, self.energy_ms)
        if self.graph_speed is None and self.device.type == "cuda":
            self.graph_speed = GraphSpeed()
            self.graph_speed.settle()

    @contextmanager
    def called(self, stage: str, work: Workload, attention: str) -> Iterator[tuple[ReferenceModel, Call]]:
        """The model and a point's call on it, its last step for a decode, to be looked at and not timed."""
        with self.running(stage, work, attention) as region:
            yield self.built(attention, experts_of(self.model.decoder, stage)), region.calls[-1]

    @contextmanager
    def running(self, stage: str, work: Workload, attention: str) -> Iterator[Region]:
        """All that a point runs, on random pixels, to be looked at and not timed."""
        with torch.device(self.device), torch.no_grad():
            built = self.built(attention, experts_of(self.model.decoder, stage))
            try:
                with self._region(built, stage, work, attention, None) as region:
                    yield region
            finally:
                self.tidy()

    def forget(self) -> None:
        """Give back all memory, the models' too; the next point builds its model anew."""
        gc.unfreeze()
        self._built.clear()
        self.tidy()

    def tidy(self) -> None:
        gc.collect()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    @contextmanager
    def _region(
        self, built: ReferenceModel, stage: str, work: Workload, attention: str, page: Path | None
    ) -> Iterator[Region]:
        torch.manual_seed(self.seed)
        region = stage_region(built, self.model, stage, work, attention, page)
        if self.delay is None:
            yield region
            return
        with Slowed(built, self.delay, self.device) as slowed:
            yield replace(region, calls=tuple(slowed.armed(call) for call in region.calls))

    def prepared(self, region: Region, experts: str | None, count: bool) -> PreparedPoint:
        for call in region.calls:
            call()
        # Before the clocks are made: a graph holds all memory of its call, and a heavy point has no room for two.
        flops = _tensor_flops(region) if count else None
        wall = _whole([HostClock(call).batch(WALL_SAMPLES) for call in region.calls], region.halves)
        peak = peak_bytes(self.device, region.fresh)
        clocks = self._clocks(region)
        return PreparedPoint(
            region,
            clocks,
            gpu_state.reader(self.device, self.graph_speed),
            self.rule,
            Samples(tuple(wall)),
            None if peak is None else peak - region.cache_growth,
            experts,
            flops,
            gpu_state.glance(self.device),
            self.graph_speed.steady if self.graph_speed else lambda: None,
            self.energy_meter,
        )

    def _clocks(self, region: Region) -> list[Clock]:
        """Made while the driver is steady, as a graph keeps the speed that it was made with."""
        speed = self.graph_speed
        for _ in range(ATTEMPTS):
            if speed:
                speed.steady()
            clocks = [self._clock(call, WARM_UP_S / len(region.calls)) for call in region.calls]
            if not speed or not speed.is_fast():
                break
        return clocks

    def _clock(self, call: Call, warm_up_s: float) -> Clock:
        """The call's clock, warm; with a slowdown, that of a call which takes so much longer than the median."""
        if self.slowdown_percent:
            call = delayed(call, self.device, round(self._median(call, warm_up_s) * self.slowdown_percent / 100))
        return _warm(self._clock_of(call), warm_up_s)

    def _clock_of(self, call: Call) -> Clock:
        return device_clock(self.device, call)

    def _median(self, call: Call, warm_up_s: float) -> int:
        """Its clock is gone when the next one is made."""
        median = sorted(_warm(self._clock_of(call), warm_up_s).batch(2 * BATCH + 1))[BATCH]
        self.tidy()
        return median


def _warm(clock: Clock, seconds: float) -> Clock:
    collect(partial(clock.batch, BATCH), TimeCap(seconds))
    return clock


def _tensor_flops(region: Region) -> int:
    counts = (dispatch_count.tensor_flops(call) for call in region.calls)
    return sum(count * halves for count, halves in zip(counts, region.halves, strict=True)) // 2


def _whole(parts: list[list[int]], halves: Sequence[int]) -> list[int]:
    """Time of the whole stage, sample by sample, from its first and last step.

    Right where a step's time grows linearly with its keys: each reads one token's keys and values more.
    """
    return [
        round(sum(ns * half for ns, half in zip(sample, halves, strict=True)) / 2)
        for sample in zip(*parts, strict=True)
    ]
