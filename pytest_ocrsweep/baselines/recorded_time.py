"""A recorded time: the processes that it was measured in, what they ran on, and what may be compared with it."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import NamedTuple

from ..files.text import quoted
from .attribution import Observed
from .energy import EnergyResult
from .evidence import EXPECTED_NOISE, Baseline, Process, expected_noise
from .measurement import ENVIRONMENT, Environment, Measurement, TimeSummary
from .point_profile import PointProfile

CPU_TIME = "cpu-time"  # of calls that only the host runs
ENGINE = "engine"  # the wall clock of an engine's client
STARTED = "engine.start"
CLOCKS = ("cuda-graph", "profiler", "host", CPU_TIME, ENGINE)

# What is not recorded, and so absent from a report of what is.
QUARTILES = frozenset({"min", "q1", "q3", "samples"})
OF_A_RUN = frozenset({"token_ns", "stopped", "rounds", "objections", "power_w", "power_cap", "gate", "host_speed"})

LONGEST_NS = 24 * 3600 * 10**9
"""No call of a stage takes a day: a longer time would only switch the gate off."""

ENGINE_NOISE = 0.01
"""Sigma expected between starts of an engine, whose times are its client's wall clock: the host is in them."""

KEPT = 5
"""Processes that a point's evidence holds at most: the gate's margin gains little from more."""


@dataclass(frozen=True, slots=True)
class TimedProcess:
    """What one run found for a point."""

    clock: str
    experts: str | None
    observed: Observed
    wall_median_ns: int | None
    process: Process
    environment: Environment
    attained: float | None = None  # the fraction of the time that the device's floor explains
    profile: PointProfile | None = None

    def __post_init__(self) -> None:
        known_clock(self.clock)
        ordered(_whole_ns(self.process))

    @property
    def taken(self) -> Taken:
        """The process in whole ns, as baselines hold it."""
        return Taken(_whole_ns(self.process), self.environment)

    @classmethod
    def of(cls, found: Measurement, environment: Environment, attained: float | None) -> TimedProcess:
        """A measurement as baselines hold it."""
        wall = found.wall_ns.median if found.wall_ns else None
        clock, rounded = known_clock(found.clock), None if attained is None else round(attained, 6)
        return cls(clock, found.experts, found.observed, wall, found.process, environment, rounded, found.profile)


class Taken(NamedTuple):
    """A process, and what it ran on."""

    process: Process
    environment: Environment

    @property
    def anywhere(self) -> Taken:
        """The same without the card, which a journal does not know."""
        return self._replace(environment=replace(self.environment, gpu_uuid=None))


@dataclass(frozen=True, slots=True)
class Anchor:
    """A point's first accepted processes, beside which drift is seen; `since` is their date, None if it is unknown."""

    taken: tuple[Taken, ...]
    since: str | None = None

    @property
    def baseline(self) -> Baseline:
        return Baseline(tuple(process for process, _ in self.taken))


@dataclass(frozen=True, slots=True)
class RecordedTime:
    """A recorded point: its processes, oldest first, each with its environment; all else is of the latest.

    `pending` are later processes that disagree with them, and have moved nothing yet.
    """

    baseline: Baseline
    clock: str
    experts: str | None
    wall_median_ns: int | None
    environments: tuple[Environment, ...]
    attained: float | None
    profile: PointProfile | None = None  # of the latest process that was profiled
    anchor: Anchor | None = None  # earlier versions did not record it
    pending: tuple[Taken, ...] = ()

    @property
    def taken(self) -> tuple[Taken, ...]:
        """The processes, each with its environment."""
        return tuple(map(Taken, self.baseline.processes, self.environments))

    @property
    def anchored(self) -> Anchor:
        """Its anchor; of a file without one, what it records."""
        return self.anchor or Anchor(self.taken)

    def holds(self, timed: TimedProcess) -> bool:
        """Whether that very process is recorded already."""
        return timed.taken.anywhere in [each.anywhere for each in (*self.taken, *self.pending)]

    @property
    def measurement(self) -> Measurement:
        """What was measured, over all recorded processes; samples are not kept."""
        processes, seen, latest = self.baseline.processes, self.baseline.observed, self.environments[-1]
        q1, q3 = min(each.q1_ns for each in processes), max(each.q3_ns for each in processes)
        median = round(self.baseline.time_ns)
        device = TimeSummary(median, None, round(q1), round(q3), absent=frozenset({"min", "samples"}))
        wall = None if self.wall_median_ns is None else TimeSummary(self.wall_median_ns, absent=QUARTILES)
        profile, energy = self.profile, self._energy
        unknown = {"profile": profile, "energy": energy}
        return Measurement(
            device_ns=device,
            wall_ns=wall,
            tensor_flops=seen.tensor_flops,
            peak_bytes=seen.peak_bytes,
            host=latest.host,
            gpu=latest.gpu,
            clock=self.clock,
            experts=self.experts,
            kernels=seen.kernels,
            sm_clock_mhz=seen.sm_clock_mhz,
            profile=profile,
            energy=energy,
            absent=OF_A_RUN | {name for name, value in unknown.items() if value is None},
        )

    @property
    def _energy(self) -> EnergyResult | None:
        if (energy := self.baseline.energy) is None:
            return None
        idle_w = [each.energy.idle_w for each in self.baseline.processes if each.energy][-1]
        return EnergyResult(round(energy.time_ns, 3), idle_w=idle_w)


def recorded(
    taken: tuple[Taken, ...], timed: TimedProcess, anchor: Anchor, profile: PointProfile | None = None
) -> RecordedTime:
    """A point with these processes, of which `timed` is the latest; `profile` is an earlier one's."""
    processes, environments = zip(*taken[-KEPT:], strict=True)
    return RecordedTime(
        Baseline(processes, timed.observed),
        timed.clock,
        timed.experts,
        timed.wall_median_ns,
        environments,
        timed.attained,
        timed.profile or profile,
        anchor,
    )


def _whole_ns(process: Process) -> Process:
    times = {name: round(getattr(process, name)) for name in ("median_ns", "q1_ns", "q3_ns")}
    return replace(process, **times)


def incomparable(stored: RecordedTime, clock: str, experts: str | None, environment: Environment) -> list[str]:
    """Why a time by this clock, of this work, says nothing beside what is recorded, then and now; empty if it does."""
    then = stored.environments[-1]
    pairs = [("clock", stored.clock, clock), ("experts", stored.experts, experts)]
    pairs += [(name, getattr(then, name), getattr(environment, name)) for name in ("dtype", "weights")]
    pairs += [(STARTED, then.engine_start or "default", environment.engine_start or "default")]
    return [f"{name} {_shown(old)} -> {_shown(new)}" for name, old, new in pairs if old != new]


def comparable(stored: RecordedTime, timed: TimedProcess) -> bool:
    """Whether both are times of the same work by the same clock."""
    same_flops = stored.baseline.observed.tensor_flops == timed.observed.tensor_flops
    return same_flops and not incomparable(stored, timed.clock, timed.experts, timed.environment)


def differences(stored: RecordedTime, environment: Environment) -> list[str]:
    """What no recorded process ran with, then and now.

    Not the revision: a new one is what a run is about. Nor the host: times are those of a GPU's name.
    """
    found = []
    for name in ENVIRONMENT:
        then = dict.fromkeys(getattr(recorded, name) for recorded in stored.environments)
        now = getattr(environment, name)
        if name not in ("git_revision", "host") and now not in then:
            found.append(f"{name} {', '.join(map(_shown, then))} -> {_shown(now)}")
    return found


def ordered(process: Process) -> Process:
    """The process, if its quartiles are in order. Raises ValueError."""
    q1, median, q3 = process.q1_ns, process.median_ns, process.q3_ns
    if not 1 <= q1 <= median <= q3:
        raise ValueError(f"median_ns must lie between q1_ns, at least 1, and q3_ns, got {median} of {q1} to {q3}")
    if q3 > LONGEST_NS:
        raise ValueError(f"q3_ns must be at most a day, {LONGEST_NS}, got {quoted(q3)}")
    return process


def usual_noise(times: Iterable[RecordedTime]) -> float:
    """The noise to expect at least between processes, by the clock of what is recorded.

    A wall clock has its host's moments in it, which pages that follow one another share: however many they are, two
    processes may differ by as much as the pages of one.
    """
    of_engine = [process for each in times if each.clock == ENGINE for process in each.baseline.processes]
    return max(ENGINE_NOISE, statistics.median(each.scatter for each in of_engine)) if of_engine else EXPECTED_NOISE


def expected_of(times: Iterable[RecordedTime]) -> float:
    """The noise to expect between processes of points that are recorded together."""
    recorded = list(times)
    return expected_noise((each.baseline for each in recorded), usual_noise(recorded))


def known_clock(name: object) -> str:
    """The name, if it is one of CLOCKS. Raises ValueError."""
    if not isinstance(name, str) or name not in CLOCKS:
        raise ValueError(f"clock must be one of {', '.join(CLOCKS)}, got {quoted(name)}")
    return name


def _shown(value: str | None) -> str:
    return "unknown" if value is None else value
