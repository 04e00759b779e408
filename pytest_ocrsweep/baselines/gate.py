"""Samples against a baseline of several processes: one verdict, by the noise recorded with that baseline.

The next process's median is predicted from the recorded ones (Student's t); their spread is moderated by the
noise expected beforehand, because that of three or four values is itself too uncertain to lean on:

    margin = max(FLOOR, t(df) * spread * sqrt(1 / judged + 1 / recorded)),  df = EXPECTED_WEIGHT + recorded - 1

It depends on the baseline alone, never on the samples judged: noisy samples cannot widen their own margin.

Two levels: what all points of a family share on this machine (shared.py) is judged by its own limit, and a point by
what remains. Both can fail, so that a slowdown of a whole stage is never lost by subtracting it.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from . import power_cap, sampling
from .attribution import UNSEEN, Observed, attribute
from .evidence import ACCEPT, EXPECTED_NOISE, Baseline, Process
from .sampling import ROUNDS_AGREE, Samples, agreeing
from .shared import ALONE, Shared
from .students_t import student

FLOOR = 0.01
"""No margin is smaller: separate processes are promised to agree within 1 %, and a baseline recorded
within minutes of one another has not seen another day, temperature or card."""

CHANCE = 0.0005
"""That an unchanged point exceeds its margin: 20 runs of 12 unchanged points may not be red."""

CAP = 0.03
"""What the gate is to see: a run says which points have a wider margin, and so cannot see this much."""

BAND = 0.5
"""One round within half a margin of the margin decides nothing: measure again."""

ROUNDS = 3
"""At most so many rounds or processes; the last one's decision is final."""

CONFIRMED = 2
"""A faster or a first time needs so many rounds that agree: an odd moment of the driver must not be recorded."""

MIN_SAMPLES = 5
"""With fewer, quartiles are not quartiles."""


class Outcome(StrEnum):
    """What a point's samples came to; only PASS and IMPROVED say the point is no slower."""

    PASS = "pass"
    FAIL = "fail"
    AMBIGUOUS = "ambiguous"  # measure again
    IMPROVED = "improved"
    NO_BASELINE = "no baseline"
    NO_SAMPLE = "no acceptable sample"


@dataclass(frozen=True, slots=True)
class Decision:
    """An outcome in words and numbers; `change` and `margin` are ratios (0.03 is 3 %), None if not known."""

    outcome: Outcome
    message: str
    rounds: tuple[Samples, ...]
    change: float | None = None
    margin: float | None = None
    again: bool = False  # another round may settle it
    shared: Shared | None = None  # what all points of the family share of the change, where that is known
    apart: bool = False  # each round was taken in a process of its own


def margin(
    baseline: Baseline, expected: float = EXPECTED_NOISE, *, shared: Shared = ALONE, processes: int = 1
) -> float:
    """How much slower than the baseline, as a ratio, the mean of so many unchanged processes may be found to be."""
    noise = baseline.noise(expected)
    error = math.hypot(noise.of_mean(processes), shared.error)
    return max(FLOOR, student(CHANCE, noise.df) * error)


def agrees(baseline: Baseline, process: Process, expected: float = EXPECTED_NOISE) -> bool:
    """Whether another process's median lies within the margin, to either side; its samples are not there to judge.

    One in another state of the power cap agrees with nothing.
    """
    same = power_cap.same_state(baseline.power_cap, process.power_cap)
    return same and abs(process.median_ns / baseline.time_ns - 1) <= margin(baseline, expected)


def judge(
    baseline: Baseline | None,
    rounds: Sequence[Samples],
    now: Observed = UNSEEN,
    *,
    cap: int = ROUNDS,
    expected: float = EXPECTED_NOISE,
    shared: Shared = ALONE,
    apart: bool = False,
) -> Decision:
    """The decision on the acceptable rounds, pooled, or each a process of its own if they were taken `apart`.

    FAIL is slower than the margin with disjoint quartiles: the pooled q1 above the recorded q3. What
    `cap` rounds leave unresolved passes: the baseline only moves when somebody accepts it, so a real slowdown
    is there again in every later run, while a gate that is red without cause gets switched off. Beyond the
    whole band, 1 + BAND margins, or between several processes, overlapping quartiles excuse nothing any more.
    """
    kept = tuple(rounds)
    last = len(kept) >= cap
    good = tuple(r for r in kept if not r.objections) if apart else agreeing(kept)
    taken = sum(len(r.ns) for r in good)
    if taken < MIN_SAMPLES:
        return Decision(Outcome.NO_SAMPLE, _no_sample(kept, taken), kept, again=not last)
    if baseline is None:
        return Decision(Outcome.NO_BASELINE, f"no baseline: record this time with {ACCEPT}", kept)
    if other := other_state(baseline, kept):
        return Decision(Outcome.NO_BASELINE, f"no baseline: {other}: record this time with {ACCEPT}", kept)
    q1, median, q3 = _quartiles(good, apart)
    change = median / baseline.time_ns - 1
    own, gain = ((1 + change) / (1 + share) - 1 for share in (shared.excuses, shared.explains))
    limit = margin(baseline, expected, shared=shared, processes=len(good) if apart else 1)
    between = apart and len(good) > 1  # processes tell more than the quartiles of their samples
    disjoint = between or q1 > baseline.q3_ns * (1 + shared.excuses)
    text = f"time {change * 100:+.1f} %, {_shares(shared, change)}margin {limit * 100:.1f} %"

    def decided(outcome: Outcome, message: str) -> Decision:
        again = outcome is Outcome.AMBIGUOUS
        return Decision(outcome, message, kept, change, limit, again, shared if shared.points else None, apart)

    sure = limit * (1 if last else 1 + BAND)
    if (own > sure and disjoint) or (last and own > limit * (1 + BAND)):
        why = attribute(_observed(baseline), _observed_now(now, median, good), limit)
        room = f"{_shares(shared, change)}margin {limit * 100:.1f} %, {'processes' if apart else 'rounds'} {len(kept)}"
        return decided(Outcome.FAIL, f"slower than its baseline: {why} ({room}); if meant, accept with {ACCEPT}")
    if own > limit * (1 - BAND) and not last:
        return decided(Outcome.AMBIGUOUS, f"{text}: too close to tell after {len(kept)} of {cap} rounds")
    if shared.takes_part(change):
        return decided(Outcome.FAIL, f"{text}: {_as_a_whole(shared, own)}; if meant, accept with {ACCEPT}")
    by_itself = gain < -limit and (between or q3 < baseline.q1_ns * (1 + shared.explains))
    with_all = shared.offset < -shared.limit and change < shared.offset / 2 and (between or q3 < baseline.q1_ns)
    if by_itself or with_all:
        return decided(Outcome.IMPROVED, f"{text}: faster than its baseline: accept with {ACCEPT}")
    if own > limit:
        return decided(Outcome.PASS, f"{text}: quartiles still overlap the baseline's: not proven slower")
    return decided(Outcome.PASS, text)


def other_state(baseline: Baseline, rounds: Sequence[Samples]) -> str | None:
    """In words, that the rounds ran in another state of the power cap than the recorded processes, if they did."""
    return power_cap.changed(baseline.power_cap, sampling.under_load(agreeing(rounds)))


def _observed(baseline: Baseline) -> Observed:
    """What was seen along with the recorded time; under the power cap with the mean clock of its processes."""
    seen, cap = replace(baseline.observed, time_ns=baseline.time_ns), baseline.power_cap
    return replace(seen, sm_clock_mhz=cap.sm_clock_mhz, power_capped=True) if cap else seen


def _observed_now(now: Observed, median: float, rounds: Sequence[Samples]) -> Observed:
    clock = now.sm_clock_mhz or sampling.sm_clock_mhz(rounds)
    return replace(now, time_ns=median, sm_clock_mhz=clock, power_capped=sampling.power_cap(rounds) is not None)


def _quartiles(rounds: Sequence[Samples], apart: bool) -> tuple[float, float, float]:
    """q1, median and q3: of all samples, or the mean of each process's."""
    if not apart:
        return Samples(tuple(ns for r in rounds for ns in r.ns)).quartiles
    q1, median, q3 = (statistics.fmean(each) for each in zip(*(r.quartiles for r in rounds), strict=True))
    return q1, median, q3


def _shares(shared: Shared, change: float) -> str:
    """The offset beside a point's change: a part of it, or, if no machine explains it, what the others did."""
    if not shared.points:
        return ""
    offset = f"{shared.offset * 100:+.1f} %"
    is_part = shared.of_machine == shared.offset or change / shared.offset > 0.5
    return f"of which {offset} in all points, " if is_part else f"{offset} in the middle of all points, "


def _as_a_whole(shared: Shared, own: float) -> str:
    """What fails a point that is as slow as all others."""
    return (
        f"all points together are {shared.offset * 100:.1f} % slower than recorded (median of {shared.points} points, "
        f"limit {shared.limit * 100:.1f} %), this one {own * 100:+.1f} % beside them: "
        "look at the machine, the driver, or code that all of them run"
    )


def _no_sample(rounds: tuple[Samples, ...], acceptable: int) -> str:
    good = [r for r in rounds if not r.objections]
    if len(good) > 1 and not acceptable:
        *most, last = (f"{r.quartiles[1] / 1e6:,.3f}" for r in good)
        apart = f"no two of {len(good)} rounds agree within {100 * ROUNDS_AGREE:g} %, they took {', '.join(most)} and"
        return refused(f"{apart} {last} ms", rounds)
    taken = sum(len(r.ns) for r in rounds)
    counts = f"{acceptable} of {taken} samples acceptable, {MIN_SAMPLES} needed"
    return refused(counts if sampling.objections(rounds) else f"{counts}: too few were taken", rounds)


def refused(why: str, rounds: tuple[Samples, ...]) -> str:
    """With what the machine showed, and what to do; an engine's rounds say how fast their host was, and no GPU's."""
    reasons = ", ".join(sampling.objections(rounds))
    of_engine = any(reading.host_ns for r in rounds for reading in r.readings)
    where = "quiet host" if of_engine else "free, cool GPU"
    return f"no acceptable sample: {why}{f': {reasons}' if reasons else ''}: measure again on a {where}"
