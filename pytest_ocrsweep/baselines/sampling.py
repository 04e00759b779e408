"""How long to sample, what the samples say, and whether the machine was fit to give them."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Protocol

from .machine import UNKNOWN, Machine, contended, graph_speed, mean, slow_host, throttled
from .power_cap import PowerCap
from .watch import Watch

ROUNDS_AGREE = 0.01
"""Rounds of one process agree to 0.2 %; two that lie further apart than this were taken in different states."""

GLANCE_S = 0.05
"""From one reading of the machine to the next while samples are taken."""


@dataclass(frozen=True, slots=True)
class Samples:
    """Raw times of one round in whole ns, in the order taken, and the machine around and `during` them."""

    ns: tuple[int, ...]
    stopped: str | None = None  # why the stopping rule ended the round
    before: Machine = UNKNOWN
    after: Machine = UNKNOWN
    during: tuple[Machine, ...] = ()  # empty for a round that was over before the first look

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
    def readings(self) -> tuple[Machine, ...]:
        """The machine before, during and after, in this order."""
        return self.before, *self.during, self.after

    @property
    def under_load(self) -> tuple[Machine, ...]:
        """The readings that say most of these samples."""
        return self.during or (self.before, self.after)

    @property
    def objections(self) -> tuple[str, ...]:
        """Why these samples are not acceptable, by the machine's state around and during them; empty if they are."""
        return objections([self])


def objections(rounds: Sequence[Samples]) -> tuple[str, ...]:
    """Why samples of these rounds are not acceptable, each reason once, with the numbers of all rounds."""
    readings = [reading for r in rounds for reading in r.readings]
    found = [throttled(readings), contended(readings), slow_host(readings)]
    found += [graph_speed(r.before, r.after) for r in rounds]
    return tuple(dict.fromkeys(reason for reason in found if reason))


def agreeing(rounds: Sequence[Samples]) -> tuple[Samples, ...]:
    """The acceptable rounds that count: the most that agree; of several, none where no two do.

    A driver or a card in another state for a moment gives a round that is steady in itself, and wrong.
    """
    good = [r for r in rounds if not r.objections]
    groups = [tuple(other for other in good if agree(r, other)) for r in good]
    most = max(reversed(groups), key=len, default=())
    return most if len(most) > 1 or len(good) == 1 else ()


def agree(one: Samples, other: Samples) -> bool:
    """Whether the medians of two rounds lie together; a noisy clock, such as a CPU's, allows as much as its noise."""
    low, high = sorted(r.quartiles[1] for r in (one, other))
    return high <= low * (1 + max(ROUNDS_AGREE, 2 * one.noise, 2 * other.noise))


def under_load(rounds: Sequence[Samples]) -> tuple[Machine, ...]:
    """What was read of the machine while these rounds were taken."""
    return tuple(reading for r in rounds for reading in r.under_load)


def sm_clock_mhz(rounds: Sequence[Samples]) -> int | None:
    """The mean SM clock during these rounds, after them where they were too short to look; None if not known."""
    clock = mean(reading.sm_clock_mhz for r in rounds for reading in r.during or (r.after,))
    return None if clock is None else round(clock)


def power_w(rounds: Sequence[Samples]) -> float | None:
    """The mean power during these rounds, as the clock's."""
    power = mean(reading.power_w for r in rounds for reading in r.during or (r.after,))
    return None if power is None else round(power, 3)


def power_cap(rounds: Sequence[Samples]) -> PowerCap | None:
    """How these rounds ran under the power cap."""
    return PowerCap.of(under_load(rounds))


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
    glance: Callable[[], Machine] | None = None,
) -> Samples:
    """Takes batches of ns until `rule` stops; reads `machine` before and after, and `glance` all the while."""
    before, begun = machine(), clock_s()
    ns: list[int] = []
    watch = Watch(glance, GLANCE_S) if glance else None
    with watch or nullcontext():
        stopped = None
        while stopped is None:
            ns.extend(batch())
            stopped = rule(Samples(tuple(ns)), clock_s() - begun)
    return Samples(tuple(ns), stopped, before, machine(), watch.readings if watch else ())
