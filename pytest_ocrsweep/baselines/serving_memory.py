"""How a recorded serving point changes: as a recorded time does (`anchor`), with whole runs in place of processes.

A run that disagrees moves nothing until two more agree with it, or somebody accepts it. If three disagree with the
recorded runs and with one another, that is noise, and all of them are evidence of it. What moved little by little is
seen beside the anchor, the point's first accepted runs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from .anchor import AGREEING, Became
from .recorded_time import KEPT
from .serving import ServingKey, ServingRun
from .serving_gate import Judged, ServingNoise, ServingVerdict, agree, judge, percent, together
from .serving_metrics import SERVING_METRICS

DRIFT_LIMIT = 0.05
"""A metric that is worse than the anchor's by more, and by more than the margin, fails until somebody accepts it."""

NOISY = f"{AGREEING} runs disagree with the recorded ones and with one another: runs are further apart than they seemed"

COMPARED = ("dtype", "weights")  # of a run's provenance: other work, if both are known and differ


@dataclass(frozen=True, slots=True)
class RecordedServing:
    """A recorded point: its runs, oldest first, its first accepted ones, and later ones that disagree."""

    runs: tuple[ServingRun, ...]
    anchor: tuple[ServingRun, ...]
    pending: tuple[ServingRun, ...] = ()

    def holds(self, run: ServingRun) -> bool:
        """Whether that very run is recorded already: a file may be imported twice."""
        return any(same(run, other) for other in (*self.runs, *self.anchor, *self.pending))


ServingPoints = Mapping[ServingKey, RecordedServing]


class ServingStep(NamedTuple):
    """A point after an update, and what became of the run; None if it was there already."""

    stored: RecordedServing
    became: Became | None
    why: str = ""

    def about(self, point: str) -> str | None:
        """What a person should know of it; None if there is nothing to do."""
        if self.became is Became.DISAGREES:
            count = f"{len(self.stored.pending)} of {AGREEING} that must agree"
            return f"{point}: {self.why} is kept beside the recorded runs, {count}; --accept takes it at once"
        if self.became is Became.MOVED:
            return f"{point} moved: {self.why}"
        return f"{point}: this run is recorded already" if self.became is None else None


def same(run: ServingRun, other: ServingRun) -> bool:
    """Whether two runs are one: what was measured is equal to the last digit."""
    return (run.metrics, run.requests, run.date) == (other.metrics, other.requests, other.date)


def noise_of(points: ServingPoints) -> ServingNoise:
    """The noise between the recorded runs of a file."""
    return ServingNoise({key: stored.runs for key, stored in points.items()})


def update(
    key: ServingKey, stored: RecordedServing | None, run: ServingRun, noise: ServingNoise, *, is_new: bool = False
) -> ServingStep:
    """The point with one run more; `noise` is that of its file. Runs that come together to a new point all count."""
    if stored is None:
        return ServingStep(RecordedServing((run,), (run,)), Became.FIRST)
    if stored.holds(run):
        return ServingStep(stored, None)
    if other := incomparable(stored.runs, run):
        return ServingStep(RecordedServing((run,), (run,)), Became.MOVED, ", ".join(other))
    if is_new or agree(key, run, noise):
        anchor = (*stored.anchor, run)[:KEPT] if is_new else _grown(key, stored.anchor, run, noise)
        return ServingStep(RecordedServing((*stored.runs, run)[-KEPT:], anchor), Became.AGREES)
    pending = (*stored.pending, run)
    if len(pending) < AGREEING:
        return ServingStep(replace(stored, pending=pending), Became.DISAGREES, _furthest(judge(key, [run], noise)))
    if together(key, pending, noise):
        moved = RecordedServing(pending, stored.anchor if _is_worse(key, pending, noise) else pending)
        return ServingStep(moved, Became.MOVED, f"{AGREEING} runs agree")
    noisy = (*stored.runs, *pending)[-KEPT:]
    return ServingStep(RecordedServing(noisy, noisy), Became.MOVED, f"{NOISY}, and all count from now on")


def _grown(
    key: ServingKey, anchor: tuple[ServingRun, ...], run: ServingRun, noise: ServingNoise
) -> tuple[ServingRun, ...]:
    """The anchor with the run in it, if there is room and they agree."""
    room = len(anchor) < KEPT and agree(key, run, beside(key, anchor, noise))
    return (*anchor, run) if room else anchor


def beside(key: ServingKey, anchor: Sequence[ServingRun], noise: ServingNoise) -> ServingNoise:
    """The same file's noise, with the anchor in place of the point's latest runs."""
    return ServingNoise({**noise.points, key: anchor})


def _is_worse(key: ServingKey, runs: Sequence[ServingRun], noise: ServingNoise) -> bool:
    """Whether runs that moved a point made a metric worse: then its old anchor stays, and the drift is seen."""
    return any(each.verdict is ServingVerdict.FAIL for each in judge(key, runs, noise))


def _furthest(judged: Sequence[Judged]) -> str:
    """The change that is the largest beside its margin."""
    each = max((each for each in judged if each.margin), key=lambda each: abs(each.change or 0) / (each.margin or 1))
    return f"{SERVING_METRICS[each.metric].heading} {percent(each.change or 0)}"


def drifts(key: ServingKey, stored: RecordedServing, noise: ServingNoise) -> list[Judged]:
    """The metrics of which the recorded runs are worse than the anchor, by more than DRIFT_LIMIT and the margin."""
    found = judge(key, stored.runs, beside(key, stored.anchor, noise))
    limits = [(each, max(DRIFT_LIMIT, each.margin or 1)) for each in found]
    return [each for each, limit in limits if SERVING_METRICS[each.metric].loss(each.change or 0) > limit]


def incomparable(recorded: Sequence[ServingRun], run: ServingRun) -> list[str]:
    """Why a run is of other work than the recorded ones, then and now; empty if it is not."""
    then, now = recorded[-1].provenance, run.provenance
    pairs = [(name, getattr(then, name), getattr(now, name)) for name in COMPARED]
    return [f"{name} {old} -> {new}" for name, old, new in pairs if old and new and old != new]


def differences(recorded: Sequence[ServingRun], run: ServingRun) -> list[str]:
    """What no recorded run has in its provenance, then and now; what is not known differs from nothing."""
    said = []
    for name in ("tool", "tool_version", "engine_version", "served_model", "driver"):
        then = [old for old in dict.fromkeys(getattr(each.provenance, name) for each in recorded) if old]
        now = getattr(run.provenance, name)
        if now and then and now not in then:
            said.append(f"{name} {', '.join(then)} -> {now}")
    return said
