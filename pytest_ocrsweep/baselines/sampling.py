"""How long to sample, what the samples say, and whether the machine was fit to give them."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

BENIGN = frozenset({"none", "gpu_idle", "applications_clocks_setting"})
"""NVML throttle reasons that do not spoil a sample: idle between calls, or clocks set on purpose."""

GRAPH_SPEED_CHANGE = 1.05
"""A driver's two speeds of CUDA graphs lie 18 to 20 % apart, readings of one within 1 %."""


@dataclass(frozen=True, slots=True)
class Machine:
    """The state of the GPU at one moment, as it reports it; None for what it does not report."""

    sm_clock_mhz: int | None = None
    power_w: float | None = None
    throttle_reasons: tuple[str, ...] | None = None
    other_processes: int | None = None
    graph_kernel_ns: int | None = None  # from one to the next of a CUDA graph's kernels that do next to nothing


def objections(before: Machine, after: Machine) -> tuple[str, ...]:
    """Why a sample taken between two moments is not acceptable; empty if it is."""
    seen = {*(before.throttle_reasons or ()), *(after.throttle_reasons or ())}
    throttled = sorted(seen - BENIGN)
    others = max(before.other_processes or 0, after.other_processes or 0)
    found = []
    if throttled:
        found.append(f"throttled ({', '.join(throttled)})")
    if others:
        found.append(f"contention ({others} other process{'es' if others > 1 else ''} on the GPU)")
    then, now = before.graph_kernel_ns, after.graph_kernel_ns
    if then and now and graph_speed_changed(then, now):
        found.append(f"the driver's pace of CUDA graphs changed ({then} -> {now} ns a kernel)")
    return tuple(found)


def graph_speed_changed(then: int, now: int) -> bool:
    """Whether the driver ran CUDA graphs at different speeds at two readings of `graph_kernel_ns`."""
    return max(then, now) > GRAPH_SPEED_CHANGE * min(then, now)


@dataclass(frozen=True, slots=True)
class Samples:
    """Raw times of one round in whole ns, in the order taken, and the machine around them."""

    ns: tuple[int, ...]
    stopped: str | None = None  # why the stopping rule ended the round
    before: Machine = Machine()
    after: Machine = Machine()

    def __post_init__(self) -> None:
        if not self.ns:
            raise ValueError("Samples: no times: measure at least once")

    @property
    def min(self) -> int:
        """The fastest sample, ns."""
        return min(self.ns)

    @property
    def quartiles(self) -> tuple[float, float, float]:
        """q1, median and q3 in ns, interpolated between samples; all the same for a single one."""
        if len(self.ns) == 1:
            return (float(self.ns[0]),) * 3
        q1, median, q3 = statistics.quantiles(self.ns, method="inclusive")
        return q1, median, q3

    @property
    def noise(self) -> float:
        """(q3 - q1) / median: a ratio, not a percentage."""
        q1, median, q3 = self.quartiles
        return (q3 - q1) / median

    @property
    def objections(self) -> tuple[str, ...]:
        """Why these samples are not acceptable, by the machine's state around them."""
        return objections(self.before, self.after)


class StopRule(Protocol):
    """Called after each batch: returns None to go on, or why to stop."""

    def __call__(self, samples: Samples, elapsed_s: float) -> str | None: ...


@dataclass(frozen=True, slots=True)
class NoiseReached:
    """Stops once `at_least` samples have a relative noise, (q3 - q1) / median, of at most `relative`."""

    relative: float
    at_least: int

    def __call__(self, samples: Samples, elapsed_s: float) -> str | None:
        if len(samples.ns) < self.at_least or samples.noise > self.relative:
            return None
        return f"relative noise of {self.relative * 100:g} % reached"


@dataclass(frozen=True, slots=True)
class TimeCap:
    """Stops once sampling has taken `seconds` of wall time, whatever the noise."""

    seconds: float

    def __call__(self, samples: Samples, elapsed_s: float) -> str | None:
        return f"time cap of {self.seconds:g} s" if elapsed_s >= self.seconds else None


@dataclass(frozen=True, slots=True)
class FirstOf:
    """Stops when any of `rules` does; if several do, the earliest of them is named."""

    rules: tuple[StopRule, ...]

    def __call__(self, samples: Samples, elapsed_s: float) -> str | None:
        answers = (rule(samples, elapsed_s) for rule in self.rules)
        return next((answer for answer in answers if answer is not None), None)


def collect(
    batch: Callable[[], Sequence[int]],
    rule: StopRule,
    machine: Callable[[], Machine] = Machine,
    clock_s: Callable[[], float] = time.perf_counter,
) -> Samples:
    """Takes batches of ns until `rule` stops; reads `machine` before the first and after the last."""
    before, begun = machine(), clock_s()
    ns: list[int] = []
    while True:
        ns.extend(batch())
        stopped = rule(Samples(tuple(ns)), clock_s() - begun)
        if stopped is not None:
            return Samples(tuple(ns), stopped, before, machine())
