"""What is recorded of a point's time: its processes, those of them that lie together, and the noise between them."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property

from . import power_cap, sampling
from .attribution import UNSEEN, Observed
from .energy import Energy
from .power_cap import CAPPED_NOISE, PowerCap
from .sampling import Samples

EXPECTED_NOISE = 0.0025
"""Sigma expected between processes: CUDA-graph medians of four ranged over 0.1-0.7 %, about two sigma."""

EXPECTED_WEIGHT = 6
"""The expectation's degrees of freedom: three to five processes can correct it, not overturn it."""

OUTLYING = 0.02
"""A process that lies further from the others' middle, as a ratio, is no evidence of the point: two machines of one
GPU's name differ by 0.8 to 1.2 %, a process in an odd state of the driver or the card by 5 % and more."""

ACCEPT = "--ocrsweep-update"


@dataclass(frozen=True, slots=True)
class Process:
    """The samples of one recorded process in short; times in ns."""

    median_ns: float
    q1_ns: float
    q3_ns: float
    samples: int
    power_cap: PowerCap | None = field(default=None, kw_only=True)
    energy: Energy | None = field(default=None, kw_only=True)

    @classmethod
    def of(cls, samples: Samples) -> Process:
        """What a baseline keeps of `samples`."""
        q1, median, q3 = samples.quartiles
        return cls(median, q1, q3, len(samples.ns), power_cap=sampling.power_cap([samples]))

    @property
    def scatter(self) -> float:
        """Standard deviation of a sample over the median, from the quartiles as of a normal distribution."""
        return (self.q3_ns - self.q1_ns) / 1.349 / self.median_ns

    @property
    def median_error(self) -> float:
        """Standard error of the median over the median."""
        return 1.2533 * self.scatter / math.sqrt(self.samples)


@dataclass(frozen=True, slots=True)
class Noise:
    """Sigma between processes as a ratio, its degrees of freedom, and how many processes were recorded."""

    sigma: float
    df: int
    recorded: int

    def of_mean(self, processes: int = 1) -> float:
        """By how much the mean of so many more processes differs from the recorded time, a standard deviation."""
        return self.sigma * math.sqrt(1 / processes + 1 / self.recorded)


@dataclass(frozen=True)
class Baseline:
    """One point's recorded processes, and what was seen along with them."""

    processes: tuple[Process, ...]
    observed: Observed = UNSEEN

    def __post_init__(self) -> None:
        if not self.processes:
            raise ValueError(f"Baseline: no process recorded: record at least one with {ACCEPT}")

    @cached_property
    def typical(self) -> tuple[Process, ...]:
        """The processes within OUTLYING of their middle; all of them where those are no majority, or where two are all.

        A single process in an odd state must neither move the time nor widen the margin.
        """
        middle = statistics.median(p.median_ns for p in self.processes)
        near = tuple(p for p in self.processes if abs(p.median_ns / middle - 1) <= OUTLYING)
        return near if 2 * len(near) > len(self.processes) > 2 else self.processes

    @property
    def outlying(self) -> tuple[Process, ...]:
        """The processes that are not typical."""
        return tuple(p for p in self.processes if p not in self.typical)

    @cached_property
    def time_ns(self) -> float:
        """Mean of the typical processes' medians, ns."""
        return statistics.fmean(p.median_ns for p in self.typical)

    @property
    def q1_ns(self) -> float:
        """The middle of the typical processes' lower quartiles."""
        return statistics.median(p.q1_ns for p in self.typical)

    @property
    def q3_ns(self) -> float:
        """The middle of the typical processes' upper quartiles."""
        return statistics.median(p.q3_ns for p in self.typical)

    @property
    def power_cap(self) -> PowerCap | None:
        """How the typical processes ran under the power cap."""
        return power_cap.over(p.power_cap for p in self.typical)

    @property
    def energy(self) -> Baseline | None:
        """The processes with their energies, mJ, in place of their times; None where no energy is known."""
        known = [(each.energy.mj, each.samples) for each in self.processes if each.energy]
        return Baseline(tuple(Process(mj, mj, mj, samples) for mj, samples in known)) if known else None

    @cached_property
    def spread(self) -> float | None:
        """Standard deviation of the typical processes' medians over their mean; None for a single process."""
        typical = self.typical
        if len(typical) == 1:
            return None
        return statistics.stdev(p.median_ns for p in typical) / self.time_ns

    def noise(self, expected: float) -> Noise:
        """Between processes as they were recorded, moderated by what is expected, and more under the power cap.

        It depends on the record alone, never on samples that are judged: they cannot widen their own margin.
        """
        typical = self.typical
        count, expected = len(typical), max(expected, CAPPED_NOISE) if self.power_cap else expected
        seen = (count - 1) * (self.spread or 0.0) ** 2
        df = EXPECTED_WEIGHT + count - 1
        between = math.sqrt((EXPECTED_WEIGHT * expected**2 + seen) / df)
        # Medians that happen to agree better than their own samples allow were lucky.
        within = statistics.median(p.median_error for p in typical)
        return Noise(max(between, within), df, count)


def expected_noise(baselines: Iterable[Baseline], usual: float = EXPECTED_NOISE) -> float:
    """The noise to expect of points recorded together: the median of their spreads, at least the `usual`.

    A machine noisier than the one EXPECTED_NOISE comes from shows in all of its points, though not in each.
    """
    spreads = [b.spread for b in baselines if b.spread is not None]
    return max(usual, statistics.median(spreads)) if spreads else usual
