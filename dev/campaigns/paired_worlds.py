"""Pairs of unchanged and of slower code in made-up worlds, judged by the gate's own function: how often it is right.

    python dev/campaigns/paired_worlds.py              1,000 unchanged runs of 138 points a row, 10,000 slower ones
    python dev/campaigns/paired_worlds.py --slower 500 sooner

A time is a sum of relative parts: what its process does to all points of a stage and attention, and the point's own
noise between processes. The exit code is 1 if a row does not keep its bound.
"""

from __future__ import annotations

import argparse
import math
import random
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product

from bounds import Bounded

from pytest_ocrsweep.baselines.attribution import Observed
from pytest_ocrsweep.baselines.paired import PairedJudgement, judge
from pytest_ocrsweep.baselines.takes import Key, Run
from pytest_ocrsweep.model.geometry import CropGrid

GRIDS = tuple(CropGrid(rows, columns) for rows in range(1, 10) for columns in range(1, 10) if rows * columns <= 9)
POINTS = tuple(product(("vision", "prefill", "decode"), GRIDS, ("eager", "flash")))
WHOLE = ("decode", "flash")  # what gets slower as a whole
NS = 20e6


@dataclass(frozen=True, slots=True)
class PairedWorld(Bounded):
    """Standard deviations as ratios. `red` is what a run is looked at for: any, the slowed point, the slowed stage."""

    name: str
    processes: int = 3
    between: float = 0.0025
    shared: float = 0.0005  # what a process does to all points
    uneven: float = 0.0  # how far the points' own noises differ: the standard deviation of their logarithms
    odd: float = 0.0  # the last process of head is slower by this, at all points
    point: float = 0.0  # one point of head is slower
    whole: float = 0.0  # all points of WHOLE are
    points: tuple[Key, ...] = POINTS

    @property
    def slower(self) -> str:
        if self.point:
            return f"one point {self.point:+.2%}"
        return f"decode flash {self.whole:+.2%}" if self.whole else "-"

    def red(self, runs: int, seed: int = 0) -> float:
        """The share of runs that are red, by the point or stage that got slower if one did."""
        return sum(self._is_red(*each) for each in self.judgements(runs, seed)) / runs

    def judgements(self, runs: int, seed: int = 0) -> Iterator[tuple[PairedJudgement, Key]]:
        """Each with the point that got slower, if one did."""
        rng = random.Random(f"{self.name} {self.slower} {seed}")
        for _ in range(runs):
            slowed = rng.choice(self.points)
            noise = {key: self.between * math.exp(self.uneven * rng.gauss(0, 1)) for key in self.points}
            base = [self._run(rng, noise, {}, 0.0) for _ in range(self.processes)]
            slower = dict.fromkeys([slowed], self.point) | {k: self.whole for k in self.points if self.whole and _in(k)}
            odd = [0.0] * (self.processes - 1) + [self.odd]
            head = [self._run(rng, noise, slower, each) for each in odd]
            yield judge(base, head), slowed

    def _is_red(self, judgement: PairedJudgement, slowed: Key) -> bool:
        if self.point:
            return any(each.key == slowed for each in judgement.slower)
        if self.whole:
            return any((each.stage, each.attention) == WHOLE for each in judgement.slower_as_a_whole)
        return judgement.red

    def _run(self, rng: random.Random, noise: dict[Key, float], slower: dict[Key, float], odd: float) -> Run:
        shared = {(stage, attention): rng.gauss(odd, self.shared) for stage, _, attention in self.points}

        def ns(key: Key) -> float:
            return NS * (1 + slower.get(key, 0.0)) * (1 + shared[key[0], key[2]] + rng.gauss(0, noise[key]))

        return Run({key: Observed(time_ns=ns(key)) for key in self.points})


def _in(key: Key) -> bool:
    return (key[0], key[2]) == WHOLE


QUIET = PairedWorld("3 + 3 processes, 0.25 % between them")
SHARED = replace(QUIET, name="the same, of which 0.2 % is all points'", between=0.0015, shared=0.002)
AS_RECORDED = PairedWorld("3 + 3, as an H200 was: 0.06 %, uneven", between=0.0006, uneven=0.7)
UNEVEN = replace(QUIET, name="3 + 3, 0.25 %, points a little uneven", uneven=0.2)
ODD = replace(QUIET, name="one process of head 5 % slow at all points", odd=0.05)
TWO = replace(QUIET, name="2 + 2 processes, 0.25 %", processes=2)
FIVE = replace(QUIET, name="5 + 5 processes, 0.25 %", processes=5)
NOISY = replace(QUIET, name="3 + 3 processes, 0.8 %", between=0.008)
FEW = replace(QUIET, name="3 + 3 processes, 12 points", points=tuple(k for k in POINTS if k[1] in GRIDS[:4])[1::2])


def rows() -> list[PairedWorld]:
    """Each world unchanged and slower, with what it must keep."""
    return [
        replace(QUIET, most_red=0.005),
        replace(QUIET, point=0.015, least_red=0.99),
        replace(QUIET, whole=0.015, least_red=0.99),
        replace(QUIET, whole=0.0075),
        replace(SHARED, most_red=0.005),
        replace(SHARED, point=0.015, least_red=0.99),
        replace(SHARED, whole=0.015),
        replace(UNEVEN, most_red=0.015),
        replace(AS_RECORDED, most_red=0.005),
        replace(AS_RECORDED, point=0.01),
        replace(ODD, most_red=0.005),
        replace(ODD, point=0.02, least_red=0.95),
        replace(TWO, most_red=0.005),
        replace(TWO, point=0.02),
        replace(FIVE, most_red=0.005),
        replace(FIVE, point=0.015, least_red=0.99),
        replace(NOISY, most_red=0.005),
        replace(NOISY, point=0.03),
        replace(FEW, most_red=0.005),
        replace(FEW, point=0.02, least_red=0.95),
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=1000, help="a row of unchanged code (default: 1,000)")
    parser.add_argument("--slower", type=int, default=10_000, help="a row with slower code (default: 10,000)")
    options = parser.parse_args(arguments)
    print("| world | slower | red | bound |\n|---|---|--:|--:|")
    kept = True
    for world in rows():
        runs = options.runs if world.most_red < 1 else options.slower
        red = world.red(runs)
        kept &= world.keeps(red)
        print(f"| {world.name} | {world.slower} | {red:.2%} | {world.judged(red)} |", flush=True)
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
