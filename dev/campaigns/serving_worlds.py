"""The gate for wall clocks in made-up worlds: how often an unchanged run is red, and a slower point green.

    python dev/campaigns/serving_worlds.py             1,000 runs a row
    python dev/campaigns/serving_worlds.py --runs 20   what CI runs

A run judges TTFT, TPOT and pages per second of twelve points by the gate's own functions. Each value is the true one
and the noise between runs, normal and independent. If something got slower, it is one metric, and the share is of all
such metrics; if nothing did, the share is of runs with anything red. The exit code is 1 if a bound is not kept.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from bounds import Bounded

from pytest_ocrsweep.baselines.serving import Pages, ServingKey, ServingRun
from pytest_ocrsweep.baselines.serving_gate import ServingNoise, ServingVerdict, judge
from pytest_ocrsweep.baselines.serving_metrics import SERVING_METRICS, Better, Figure

TRUE = {"ttft_ns": 603e6, "tpot_ns": 2.43e6, "pages_per_s": 8.9}
POINTS = [ServingKey(Pages("grid", "3x2"), concurrency, 10, 100) for concurrency in range(1, 13)]


@dataclass(frozen=True, slots=True)
class ServingWorld(Bounded):
    """Noise between runs, a ratio; runs that are recorded and judged of each point; how much worse one metric got."""

    noise: float
    recorded: int
    heads: int = 1
    points: int = len(POINTS)
    worse: float = 0.0

    def red(self, runs: int) -> float:
        """The share of runs with anything red; of metrics that got worse, those that are."""
        rng = random.Random(str(self))
        outcomes = [outcome for _ in range(runs) for outcome in self._run(rng)]
        return sum(outcomes) / len(outcomes)

    def _run(self, rng: random.Random) -> list[bool]:
        points = POINTS[: self.points]
        noise = ServingNoise({key: self._taken(rng, self.recorded) for key in points})
        if not self.worse:
            return [any(failed(key, self._taken(rng, self.heads), noise) for key in points)]
        slower = [(key, name, self._taken(rng, self.heads, name)) for key in points for name in TRUE]
        return [name in failed(key, runs, noise) for key, name, runs in slower]

    def _taken(self, rng: random.Random, count: int, slow: str = "") -> list[ServingRun]:
        return [self._one(rng, slow) for _ in range(count)]

    def _one(self, rng: random.Random, slow: str) -> ServingRun:
        values = {}
        for name, true in TRUE.items():
            worse = self.worse if name == slow else 0.0
            change = worse if SERVING_METRICS[name].better is Better.LOWER else -worse
            values[name] = Figure(true * (1 + change) * (1 + rng.gauss(0, self.noise)))
        return ServingRun(values, 200)


def failed(key: ServingKey, runs: Sequence[ServingRun], noise: ServingNoise) -> set[str]:
    """The metrics that the gate finds worse."""
    return {each.metric for each in judge(key, runs, noise) if each.verdict is ServingVerdict.FAIL}


def rows() -> list[ServingWorld]:
    """What the page shows: unchanged runs, then one metric that is 5 % worse, then a lone point."""
    quiet = [(0.003, 2, 1), (0.003, 3, 1), (0.005, 3, 1), (0.005, 5, 1)]
    loud = [(0.01, 3, 1), (0.01, 5, 1), (0.01, 5, 3), (0.02, 5, 1), (0.02, 5, 3)]
    unchanged = [ServingWorld(*each, most_red=0.05) for each in quiet + loud]
    slower = [ServingWorld(*each, worse=0.05, least_red=0.95) for each in quiet]
    slower += [
        ServingWorld(*each, worse=0.05, least_red=0.95 if each[2] == 3 and each[0] < 0.02 else 0.0) for each in loud
    ]
    lone = [
        ServingWorld(0.005, 5, points=1, most_red=0.01),
        ServingWorld(0.005, 5, points=1, worse=0.05, least_red=0.9),
        ServingWorld(0.05, 2, points=1, most_red=0.1),
    ]
    return [*unchanged, *slower, *lone]


def row(world: ServingWorld, red: float) -> str:
    """A line of the page's table."""
    worse = f"{world.worse:.0%}" if world.worse else "-"
    bound = world.judged(red)
    cells = (f"{world.noise:.1%}", world.points, world.recorded, world.heads, worse, f"{red:.1%}", bound)
    return f"| {' | '.join(map(str, cells))} |"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=1000, help="of each row (default: 1,000)")
    runs = parser.parse_args(arguments).runs
    print("| noise | points | recorded | judged | worse by | red | bound |\n|--:|--:|--:|--:|--:|--:|---|")
    kept = []
    for world in rows():
        red = world.red(runs if not world.worse else max(1, runs // 10))
        kept.append(world.keeps(red))
        print(row(world, red), flush=True)
    return 0 if all(kept) else 1


if __name__ == "__main__":
    sys.exit(main())
