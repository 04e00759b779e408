"""Parts of a point's verdict, each on one thing that was compared."""

from __future__ import annotations

from typing import NamedTuple

from ..baselines import gate
from ..baselines.anchor import Drift
from ..baselines.measurement import GateResult
from ..baselines.moved import Moved
from ..baselines.verdict import Verdict


class Part(NamedTuple):
    """A verdict on a point's counted numbers or on its time; `failure` or `skip` says why it did not pass."""

    verdict: Verdict
    failure: str | None = None
    skip: str | None = None
    moved: tuple[Moved, ...] = ()


PASSED = Part(Verdict.PASS)


def attained_part(point: str, then: float | None, now: float | None, judged: GateResult, *, less_work: bool) -> Part:
    """The attained fraction against the recorded one, by the margin of the time, of which it is the reciprocal.

    It is named beside a time that failed, and fails by itself if there is `less_work` than was timed, the floor fell,
    and the time did not follow. Of the same work a floor falls only by another definition of it, or another sheet.
    """
    if then is None or now is None or judged.margin is None or judged.change is None:
        return PASSED
    slower = judged.outcome == gate.Outcome.FAIL
    lower_floor = less_work and now * (1 + judged.change) < then * (1 - judged.margin)
    if now >= then * (1 - judged.margin) or not (slower or lower_floor):
        return PASSED
    why = "the time grew" if slower else "the floor fell, and the time did not follow"
    return Part(Verdict.FAIL, f"{point}: attained fraction fell from {then:.3f} to {now:.3f}: {why}")


def drift_part(point: str, drift: Drift, limit: float, command: str, time_ns: int) -> Part:
    """A failure if the time, `time_ns` now, has drifted beyond the limit; `command` accepts it."""
    if not drift.exceeds(limit):
        return PASSED
    what = f"{point} {drift}: more than ocrsweep_drift={100 * limit:g}"
    anchor_ns = round(time_ns / (1 + drift.change))
    moved = Moved("device_ns", anchor_ns, time_ns, drift.change, drift.margin, (str(drift),), command)
    return Part(Verdict.FAIL, f"{what}; if that is meant, accept it by name:\n{command}", moved=(moved,))


def margin_part(point: str, margin: float | None) -> Part | None:
    """A failure if the margin is wider than what the gate is to see; None if it is not."""
    if margin is None or margin <= gate.CAP:
        return None
    what = f"{point}: a time {100 * gate.CAP:g} % slower cannot be seen: the margin is {100 * margin:.1f} %"
    return Part(Verdict.FAIL, f"{what}, and ocrsweep_wide_margin=fail; record it again on a quiet machine, three times")
