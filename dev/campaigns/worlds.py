"""The gate's own rule in made-up worlds: how often an unchanged point or run is red, and a slower one green.

    python dev/campaigns/worlds.py                              10,000 judgements and 1,000 runs a row
    python dev/campaigns/worlds.py --judgements 500 --runs 30   what CI runs

Every world is a sum of relative parts: the machine's offset, which all points of a family share; the process's, which
all its rounds share; and the noise of single samples. The gate sees no more than it does on a GPU: samples and
baselines. A run judges 138 points: six families of 23, all on one machine. Bounds that a row must keep stand in `rows`;
the exit code is 1 if one does not.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

from bounds import Bounded

from pytest_ocrsweep.baselines import gate
from pytest_ocrsweep.baselines.evidence import Baseline, Process, expected_noise
from pytest_ocrsweep.baselines.gate import Outcome
from pytest_ocrsweep.baselines.sampling import Samples
from pytest_ocrsweep.baselines.settle import settle
from pytest_ocrsweep.baselines.shared import ALONE, MOST, Shared

POINTS = 23  # of a family: the grids of up to nine crops
FAMILIES = 6  # of a run: three stages in both attentions
SAMPLES = 30
NS = 20_000_000


@dataclass(frozen=True, slots=True)
class World(Bounded):
    """Standard deviations as ratios; `slower` is what happened to one point since the record, `all_slower` to all."""

    name: str
    between: float = 0.0025  # processes of one machine
    within: float = 0.0015  # samples of one process
    apart: float = 0.0  # this machine and the recorded one
    tails: int | None = None  # degrees of freedom of a process's noise; None for a normal distribution
    recorded: int = 5  # processes, all on one machine
    bad: float = 0.0  # one of them was slower by this
    bad_quartile: float = 0.0  # or its upper quartile was
    slower: float = 0.0
    all_slower: float = 0.0
    half: float = 0.0  # every second point; a negative one got faster
    graded: float = 0.0  # the longest point, and the others by their rank
    fresh: bool = True  # whether what is close is measured in new processes

    @property
    def slower_by(self) -> str:
        """What happened to the code, in words."""
        if self.graded:
            return f"0 to {self.graded:.1%}"
        if self.half:
            return f"every second {self.half:.1%}"
        return f"all {self.all_slower:.1%}" if self.all_slower else f"{self.slower:.1%}" if self.slower else "-"

    @property
    def counted(self) -> str:
        """What the share of red is of."""
        return "points" if max(self.slower, self.all_slower, self.half, self.graded) > 0 else "runs"

    def red(self, judgements: int, runs: int) -> float:
        """The share that fails: of points that are slower, or of unchanged runs, those with any red point.

        A point counts where it fails by itself if it alone is slower, and as one of all if all are.
        """
        rng = random.Random(f"{self.name}, {self.slower_by}")
        uneven = self.half or self.graded
        told = failed if uneven else failed_with_all if self.all_slower else failed_alone
        if self.counted == "runs":
            return sum(any(map(told, self.run(rng))) for _ in range(runs)) / runs
        # points of one machine share its offset: few of each, and so more machines
        each = [index for index in range(0, POINTS, 5) if not uneven or self._code(index) > 0.025]
        families = -(-judgements // len(each))
        found = [decision for _ in range(families) for decision in self.family(rng, self._offset(rng), each)]
        return sum(map(told, found)) / len(found)

    def machines_red(self, runs: int) -> float:
        """The share of runs in which the gate calls a family slower as a whole."""
        rng = random.Random(f"{self.name}, {self.slower_by}")
        return sum(any(map(failed_with_all, self.run(rng))) for _ in range(runs)) / runs

    def run(self, rng: random.Random) -> Iterator[gate.Decision]:
        """Decisions on all points of a run, recorded on one machine and judged on another."""
        offset = self._offset(rng)
        for _ in range(FAMILIES):
            yield from self.family(rng, offset)

    def family(
        self, rng: random.Random, offset: float, judged: Sequence[int] = range(POINTS)
    ) -> Iterator[gate.Decision]:
        """Decisions on these of a family's points; of a world where one point is slower, each of them in its turn."""
        baselines = [self._baseline(rng) for _ in range(POINTS)]
        expected = expected_noise(baselines)
        speeds = [(1 + offset) * (1 + self._code(index)) for index in range(POINTS)]
        looked_at = [round(step * (POINTS - 1) / (MOST - 1)) for step in range(MOST)]
        taken = {index: self._samples(rng, self._process(rng) * speeds[index]) for index in looked_at}
        changes = {index: each.quartiles[1] / baselines[index].time_ns - 1 for index, each in taken.items()}
        noise = statistics.median(baselines[index].noise(expected).of_mean() for index in looked_at)
        for index in judged:
            # it may be one that tells the offset
            moved = [change + self.slower * (looked == index) for looked, change in changes.items()]
            shared = Shared.of(moved, noise)
            yield self._settled(rng, baselines[index], speeds[index] * (1 + self.slower), expected, shared)

    def _code(self, index: int) -> float:
        """How much slower the code is at a point since the record, beside `slower`."""
        return self.all_slower + self.half * (index % 2 == 0) + self.graded * index / (POINTS - 1)

    def _offset(self, rng: random.Random) -> float:
        return rng.gauss(0, self.apart)

    def _baseline(self, rng: random.Random) -> Baseline:
        processes = [Process.of(self._samples(rng, self._process(rng))) for _ in range(self.recorded)]
        last = processes[-1]
        slow, wide = 1 + self.bad, 1 + self.bad + self.bad_quartile
        processes[-1] = Process(last.median_ns * slow, last.q1_ns * slow, last.q3_ns * wide, last.samples)
        return Baseline(tuple(processes))

    def _settled(
        self, rng: random.Random, baseline: Baseline, speed: float, expected: float, shared: Shared
    ) -> gate.Decision:
        here = partial(self._samples, rng, self._process(rng) * speed)
        fresh = (lambda: self._samples(rng, self._process(rng) * speed)) if self.fresh else lambda: None
        return settle(baseline, here, fresh=fresh, expected=expected, shared=shared)

    def _process(self, rng: random.Random) -> float:
        """A process's speed: of a median of 1, with heavy tails if the world has them."""
        noise = rng.gauss(0, self.between)
        if self.tails:
            chi2 = sum(rng.gauss(0, 1) ** 2 for _ in range(self.tails))
            noise *= (self.tails / chi2) ** 0.5
        return 1 + noise

    def _samples(self, rng: random.Random, process: float) -> Samples:
        return Samples(tuple(round(NS * process * (1 + rng.gauss(0, self.within))) for _ in range(SAMPLES)))


def failed(decision: gate.Decision) -> bool:
    """Whether a point failed for whatever reason."""
    return decision.outcome is Outcome.FAIL


def failed_with_all(decision: gate.Decision) -> bool:
    """Whether a point failed while its family is slower as a whole."""
    shared = decision.shared or ALONE
    return failed(decision) and shared.offset > shared.limit


def failed_alone(decision: gate.Decision) -> bool:
    """Whether a point failed by what it does not share."""
    assert decision.change is not None
    assert decision.margin is not None
    return failed(decision) and (decision.shared or ALONE).without(decision.change) > decision.margin


QUIET = World("one machine, 5 processes")
FEW = World("one machine, 3 processes", recorded=3)
ROUNDS = World("one machine, 5 processes, no new ones", fresh=False)
NOISY = World("one noisy machine (0.8 %), 5 processes", between=0.008)
TAILS = World("one machine, heavy tails", tails=3)
APART = World("machines 0.6 % apart, recorded on one", apart=0.006)
BAD = World("one of five processes was 5 % slow", bad=0.05)
WIDE = World("one upper quartile was 3 % off", bad_quartile=0.03)


def rows() -> list[World]:
    """Each world unchanged and slower, with what it must keep."""
    return [
        replace(QUIET, most_red=0.005),
        replace(QUIET, slower=0.02, least_red=0.99),
        replace(QUIET, slower=0.03, least_red=0.999),
        replace(QUIET, half=0.03, least_red=0.99),
        replace(QUIET, half=-0.03, most_red=0.005),
        replace(QUIET, graded=0.06, least_red=0.99),
        replace(FEW, most_red=0.005),
        replace(FEW, slower=0.03, least_red=0.99),
        replace(ROUNDS, most_red=0.05),
        replace(ROUNDS, slower=0.02, least_red=0.9),
        replace(NOISY, most_red=0.05),
        replace(NOISY, slower=0.03),
        replace(TAILS, most_red=0.3),
        replace(TAILS, slower=0.03),
        replace(APART, most_red=0.01),
        replace(APART, slower=0.02, least_red=0.99),
        replace(APART, all_slower=0.03, least_red=0.99),
        replace(BAD, most_red=0.005),
        replace(BAD, slower=0.03, least_red=0.95),
        replace(WIDE, most_red=0.005),
        replace(WIDE, slower=0.02, least_red=0.95),
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--judgements", type=int, default=10_000, help="of slower points, a row (default: 10,000)")
    parser.add_argument("--runs", type=int, default=1_000, help="of 138 points, an unchanged row (default: 1,000)")
    options = parser.parse_args(arguments)
    print("| world | slower by | red | of | bound |\n|---|--:|--:|---|--:|")
    kept = True
    for world in rows():
        red = world.red(options.judgements, options.runs)
        kept &= world.keeps(red)
        print(f"| {world.name} | {world.slower_by} | {red:.2%} | {world.counted} | {world.judged(red)} |", flush=True)
    told = APART.machines_red(options.runs)
    print(f"\nof unchanged runs on machines 0.6 % apart, {told:.1%} say that a family is slower as a whole")
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
