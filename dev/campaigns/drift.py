"""Updates that each move a point by little: how soon the record says that it has drifted from its anchor.

    python dev/campaigns/drift.py                  10,000 series of updates
    python dev/campaigns/drift.py --series 300     what CI runs

Each series records five processes of one machine and then updates, each 0.5 % slower than the one before, by the
functions that record on a GPU: `settle` judges, `anchor.update` records, `anchor.drift` compares. The exit code is
1 if a bound is not kept.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Sequence
from functools import partial

from worlds import QUIET

from pytest_ocrsweep.baselines import anchor, gate, sampling
from pytest_ocrsweep.baselines.attribution import UNSEEN
from pytest_ocrsweep.baselines.evidence import Process
from pytest_ocrsweep.baselines.gate import Outcome
from pytest_ocrsweep.baselines.measurement import Environment
from pytest_ocrsweep.baselines.recorded_time import RecordedTime, TimedProcess
from pytest_ocrsweep.baselines.sampling import Samples
from pytest_ocrsweep.baselines.settle import settle

UPDATES, STEP = 10, 0.005
TOLD_BY, LEAST_TOLD = 4, 0.99
MOST_FALSE = 0.005  # of ten updates that changed nothing
DATE = "2026-03-01T12:00:00Z"


def told(rng: random.Random, step: float = STEP, updates: int = UPDATES) -> int | None:
    """The first update that says that the point drifted; None if none of them does."""
    stored: RecordedTime | None = None
    for update in range(1 - QUIET.recorded, updates + 1):
        found = _taken(rng, stored, 1 + step * max(0, update))
        rounds = sampling.agreeing(found.rounds) or found.rounds  # as a run measures
        time = Process.of(Samples(tuple(ns for each in rounds for ns in each.ns)))
        if stored and update > 0 and anchor.drift(stored, time.median_ns).is_seen:
            return update
        timed = TimedProcess("cuda-graph", None, UNSEEN, None, time, Environment())
        agrees = {Outcome.PASS: True, Outcome.NO_BASELINE: None}.get(found.outcome, False)
        stored = anchor.update(stored, timed, DATE, agrees=agrees).stored
    return None


def _taken(rng: random.Random, stored: RecordedTime | None, speed: float) -> gate.Decision:
    """A run of the point, in one process, and in new ones if the gate asks for them."""
    here = partial(QUIET._samples, rng, QUIET._process(rng) * speed)
    return settle(stored and stored.baseline, here, fresh=lambda: QUIET._samples(rng, QUIET._process(rng) * speed))


def share_told(series: int, step: float = STEP, by: int = TOLD_BY) -> float:
    """The share of series in which an update up to `by` says it."""
    rng = random.Random(f"{step} {by}")
    return sum(told(rng, step, by) is not None for _ in range(series)) / series


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--series", type=int, default=10_000, help="of updates (default: 10,000)")
    series = parser.parse_args(arguments).series
    print("| each update | told by update | of series | bound |\n|---|--:|--:|--:|")
    found = {by: share_told(series, by=by) for by in (2, 3, TOLD_BY)}
    for by, share in found.items():
        bound = f"at least {LEAST_TOLD:.0%}" if by == TOLD_BY else "-"
        print(f"| {STEP:+.1%} | {by} | {share:.2%} | {bound} |")
    false = share_told(series, step=0, by=UPDATES)
    print(f"| unchanged | {UPDATES} | {false:.2%} | at most {MOST_FALSE:.1%} |")
    return 0 if found[TOLD_BY] >= LEAST_TOLD and false <= MOST_FALSE else 1


if __name__ == "__main__":
    sys.exit(main())
