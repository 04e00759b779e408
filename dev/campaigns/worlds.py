"""The gate's own rule in made-up worlds: how often an unchanged point is red, and a slower one green.

    python dev/campaigns/worlds.py                    10,000 judgements a cell
    python dev/campaigns/worlds.py --judgements 500   what CI runs

Every world is a sum of relative parts: the machine's offset, which all points of a stage share; the process's, which
all its rounds share; and the noise of single samples. The gate sees no more than it does on a GPU: samples and
baselines. Bounds that a row must keep stand in `rows`; the exit code is 1 if one does not.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from pytest_ocrsweep.baselines import gate
from pytest_ocrsweep.baselines.evidence import Baseline, Process, expected_noise
from pytest_ocrsweep.baselines.gate import Outcome
from pytest_ocrsweep.baselines.sampling import Samples

POINTS = 46  # of a stage: 23 grids in both attentions
SAMPLES = 30
NS = 20_000_000


@dataclass(frozen=True, slots=True)
class World:
    """Standard deviations as ratios; `slower` is what happened to the code since it was recorded."""

    name: str
    between: float = 0.0025  # processes of one machine
    within: float = 0.0015  # samples of one process
    apart: float = 0.0  # machines of one GPU's name
    tails: int | None = None  # degrees of freedom of a process's noise; None for a normal distribution
    recorded: int = 5  # processes, all on one machine
    bad: float = 0.0  # one of them was slower by this
    bad_quartile: float = 0.0  # or its upper quartile was
    slower: float = 0.0
    most_red: float = 1.0  # of judgements
    least_red: float = 0.0

    @property
    def bound(self) -> str:
        """What its share of red judgements must keep, in words."""
        if self.most_red < 1:
            return f"at most {self.most_red:.2%}"
        return f"at least {self.least_red:.1%}" if self.least_red else "-"

    def judgements(self, count: int, seed: int = 0) -> Iterator[gate.Decision]:
        """Decisions on points of stages, each stage recorded on one machine and judged on another."""
        rng = random.Random(f"{self.name} {seed}")
        while count > 0:
            offset = rng.gauss(0, self.apart) - rng.gauss(0, self.apart)
            baselines = [self._baseline(rng) for _ in range(min(POINTS, count))]
            expected = expected_noise(baselines)
            for baseline in baselines:
                yield self._judged(rng, baseline, offset, expected)
            count -= POINTS

    def red(self, count: int) -> float:
        """The share of judgements that fail."""
        return sum(decision.outcome is Outcome.FAIL for decision in self.judgements(count)) / count

    def _baseline(self, rng: random.Random) -> Baseline:
        processes = [Process.of(self._samples(rng, self._process(rng))) for _ in range(self.recorded)]
        last = processes[-1]
        slow, wide = 1 + self.bad, 1 + self.bad + self.bad_quartile
        processes[-1] = Process(last.median_ns * slow, last.q1_ns * slow, last.q3_ns * wide, last.samples)
        return Baseline(tuple(processes))

    def _judged(self, rng: random.Random, baseline: Baseline, offset: float, expected: float) -> gate.Decision:
        process = self._process(rng) * (1 + offset) * (1 + self.slower)
        return gate.settle(baseline, lambda: self._samples(rng, process), expected=expected)

    def _process(self, rng: random.Random) -> float:
        """A process's speed: of a median of 1, with heavy tails if the world has them."""
        noise = rng.gauss(0, self.between)
        if self.tails:
            chi2 = sum(rng.gauss(0, 1) ** 2 for _ in range(self.tails))
            noise *= (self.tails / chi2) ** 0.5
        return 1 + noise

    def _samples(self, rng: random.Random, process: float) -> Samples:
        return Samples(tuple(round(NS * process * (1 + rng.gauss(0, self.within))) for _ in range(SAMPLES)))


QUIET = World("one machine, 5 processes")
FEW = World("one machine, 3 processes", recorded=3)
NOISY = World("one noisy machine (0.8 %), 5 processes", between=0.008)
TAILS = World("one machine, heavy tails", tails=3)
APART = World("machines 0.6 % apart, recorded on one", apart=0.006)
BAD = World("one of five processes was 5 % slow", bad=0.05)
WIDE = World("one upper quartile was 3 % off", bad_quartile=0.03)


def rows() -> list[World]:
    """Each world unchanged and slower, with what it must keep."""
    return [
        replace(QUIET, most_red=0.0005),
        replace(QUIET, slower=0.02, least_red=0.97),
        replace(QUIET, slower=0.03, least_red=0.999),
        replace(FEW, most_red=0.0005),
        replace(FEW, slower=0.03, least_red=0.99),
        replace(NOISY, most_red=0.01),
        replace(NOISY, slower=0.03),
        replace(TAILS, most_red=0.01),
        replace(TAILS, slower=0.03),
        replace(APART),
        replace(APART, slower=0.03, least_red=0.9),
        replace(BAD, most_red=0.0005),
        replace(BAD, slower=0.03, least_red=0.95),
        replace(WIDE, most_red=0.0005),
        replace(WIDE, slower=0.02, least_red=0.95),
    ]


def drifted(steps: int, each: float, rng: random.Random) -> tuple[float, float]:
    """How far a point has moved after so many accepted updates, and its margin then; both as ratios."""
    world, processes = QUIET, list[Process]()
    for step in range(steps + world.recorded):
        moved = 1 + each * max(0, step - world.recorded + 1)
        processes.append(Process.of(world._samples(rng, world._process(rng) * moved)))
    baseline = Baseline(tuple(processes[-5:]))
    return baseline.time_ns / NS - 1, gate.margin(baseline)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--judgements", type=int, default=10_000, help="a cell (default: 10,000)")
    options = parser.parse_args(arguments)
    print("| world | slower by | red | bound |\n|---|--:|--:|--:|")
    kept = True
    for world in rows():
        red = world.red(options.judgements)
        good = world.least_red <= red <= world.most_red
        kept &= good
        print(
            f"| {world.name} | {world.slower:.0%} | {red:.2%} | {world.bound}{'' if good else ': NOT KEPT'} |",
            flush=True,
        )
    moved, margin = drifted(10, 0.005, random.Random(1))
    print(f"\nten accepted updates of +0.5 %: moved by {moved:.1%}, margin {margin:.1%}")
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
