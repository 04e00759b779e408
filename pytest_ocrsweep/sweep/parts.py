"""Parts of a point's verdict, each on one thing that was compared."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ..baselines import gate
from ..baselines.anchor import Drift
from ..baselines.blame import Cause
from ..baselines.counted import NumberChange
from ..baselines.gate import Decision
from ..baselines.measurement import GateResult
from ..baselines.metrics import METRICS
from ..baselines.moved import Moved
from ..baselines.verdict import Verdict


class Part(NamedTuple):
    """A verdict on a point's counted numbers or on its time; `failure` or `skip` says why it did not pass.

    `short` is the failure for a line that has little room: it begins with the metric and its change.
    """

    verdict: Verdict
    failure: str | None = None
    skip: str | None = None
    short: str | None = None
    moved: tuple[Moved, ...] = ()


PASSED = Part(Verdict.PASS)
SMALL = 0.0001  # a ratio: 0.01 %


def short_of(parts: Sequence[Part]) -> str:
    """All that failed, for a line that has little room."""
    return "; ".join(part.short or part.failure.split("\n")[0] for part in parts if part.failure)


def short_of_counted(changes: Sequence[NumberChange]) -> str:
    """The first number that changed, and how many more did. A small change is shown as a number, not in percent."""
    first, more = changes[0], len(changes) - 1
    ratio = (first.new - first.old) / first.old if first.old else 0
    change = f"{100 * ratio:+.2f} %" if abs(ratio) >= SMALL else f"{first.new - first.old:+,}"
    how = f"{METRICS[first.metric].word} {change}"
    return f"{how}, and {more} more number{'s' if more > 1 else ''}" if more else how


def short_of_time(decision: Decision, causes: Sequence[Cause] | None) -> str:
    """How much slower, the margin, and what accounts for most of it, as far as that is known."""
    change, shared = decision.change or 0.0, decision.shared
    words = f"time {100 * change:+.1f} % (margin {100 * (decision.margin or 0):.1f} %)"
    if causes:
        ratio = causes[0].ratio
        return f"{words}: {causes[0].name} {'new' if ratio is None else f'{100 * ratio:+.1f} %'}"
    return f"{words}: all points {100 * shared.offset:+.1f} %" if shared and shared.offset > change / 2 else words


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
    short = f"attained fraction {then:.3f} -> {now:.3f}"
    return Part(Verdict.FAIL, f"{point}: attained fraction fell from {then:.3f} to {now:.3f}: {why}", short=short)


def drift_part(point: str, drift: Drift, limit: float, command: str, time_ns: int) -> Part:
    """A failure if the time, `time_ns` now, has drifted beyond the limit; `command` accepts it."""
    if not drift.exceeds(limit):
        return PASSED
    what = f"{point} {drift}: more than ocrsweep_drift={100 * limit:g}"
    anchor_ns = round(time_ns / (1 + drift.change))
    moved = Moved("device_ns", anchor_ns, time_ns, drift.change, drift.margin, (str(drift),), command)
    failure = f"{what}; if that is meant, accept it by name:\n{command}"
    return Part(Verdict.FAIL, failure, short=f"time {drift}", moved=(moved,))


def margin_part(point: str, margin: float | None) -> Part | None:
    """A failure if the margin is wider than what the gate is to see; None if it is not."""
    if margin is None or margin <= gate.CAP:
        return None
    what = f"{point}: a time {100 * gate.CAP:g} % slower cannot be seen: the margin is {100 * margin:.1f} %"
    what += ", and ocrsweep_wide_margin=fail; record it again on a quiet machine, three times"
    return Part(Verdict.FAIL, what, short=f"margin {100 * margin:.1f} %: {100 * gate.CAP:g} % slower cannot be seen")
