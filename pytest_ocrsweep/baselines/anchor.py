"""How a point's recorded time changes: a process that disagrees moves nothing until two more agree with it, and what
moved little by little is seen beside the anchor, the point's first accepted processes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import combinations
from typing import NamedTuple

from . import gate
from .evidence import EXPECTED_NOISE, expected_noise
from .measurement import Measurement
from .power_cap import same_state
from .recorded_time import KEPT, Anchor, RecordedTime, Taken, TimedProcess, comparable, recorded, usual_noise

AGREEING = 3
"""Processes that must lie together, away from the recorded ones, before a point moves: an odd state of the driver or
the card lasts for a process, seldom for three."""

DRIFT_LIMIT = 0.03
"""A point that is slower than its anchor by more fails until somebody accepts it by name; a ratio."""


class Became(StrEnum):
    """What became of a process."""

    FIRST = "first"
    AGREES = "agrees"
    DISAGREES = "disagrees"
    MOVED = "moved"
    ACCEPTED = "accepted"  # not a process: somebody made the latest ones the anchor


class Step(NamedTuple):
    """A point after an update, and what became of the process; `change` is from what was recorded, if that compares."""

    stored: RecordedTime
    became: Became
    change: float | None = None

    def about(self, point: str) -> str | None:
        """What a person should know of it; None if there is nothing to do."""
        change = f"{100 * (self.change or 0):+.1f} %"
        if self.became is Became.DISAGREES:
            kept = len(self.stored.pending)
            if kept == 1:
                return f"{point}: {change} is kept, 1 of {AGREEING} that must agree; run the update again"
            return (
                f"{point}: {change} is kept, as {kept} processes that disagree with the recorded ones; "
                f"{AGREEING} of them must agree; run the update again"
            )
        if self.became is Became.MOVED and self.change is not None:
            return f"{point} moved by {change}: {AGREEING} processes agree"
        return None


def update(
    stored: RecordedTime | None,
    timed: TimedProcess,
    date: str,
    *,
    agrees: bool | None = None,
    expected: float = EXPECTED_NOISE,
) -> Step:
    """The point with one process more. `agrees` is what the gate found; None if it did not judge."""
    new = timed.taken
    if stored is None or not comparable(stored, timed):
        became = Became.FIRST if stored is None else Became.MOVED
        return Step(recorded((new,), timed, Anchor((new,), date)), became)
    if gate.agrees(stored.baseline, new.process, expected) if agrees is None else agrees:
        anchor = _grown(stored.anchored, new, expected)
        return Step(recorded((*stored.taken, new), timed, anchor, stored.profile), Became.AGREES)
    change = new.process.median_ns / stored.baseline.time_ns - 1
    together = _together(stored.pending, new, gate.margin(stored.baseline, expected))
    if together is None:
        return Step(replace(stored, pending=(*stored.pending, new)[-KEPT:]), Became.DISAGREES, change)
    # A faster point is held to its new time: else it could lose all that it gained before anybody heard of it. One in
    # another state of the power cap compares with no time of the old one.
    alike = same_state(stored.baseline.power_cap, new.process.power_cap)
    anchor = stored.anchored if alike and change >= 0 else Anchor(together, date)
    return Step(recorded(together, timed, anchor), Became.MOVED, change)


def _grown(anchor: Anchor, new: Taken, expected: float) -> Anchor:
    """The anchor with the process in it, if there is room and they agree."""
    if len(anchor.taken) >= KEPT or not gate.agrees(anchor.baseline, new.process, expected):
        return anchor
    return replace(anchor, taken=(*anchor.taken, new))


def _together(pending: tuple[Taken, ...], new: Taken, margin: float) -> tuple[Taken, ...] | None:
    """The process and those pending that lie within a margin of one another; None if they are too few."""
    alike = [each for each in pending if same_state(each.process.power_cap, new.process.power_cap)]
    for others in combinations(alike, AGREEING - 1):
        medians = [each.process.median_ns for each in (*others, new)]
        if max(medians) <= min(medians) * (1 + margin):
            return (*others, new)
    return None


def accept(stored: RecordedTime, date: str) -> RecordedTime:
    """The point with its latest processes as its anchor: those that lie within the least margin of the very latest.

    Processes on the way of a drift would make an anchor whose margin hides the next one.
    """
    latest = stored.taken[-1].process.median_ns
    near = tuple(each for each in stored.taken if abs(each.process.median_ns / latest - 1) <= gate.FLOOR)
    return replace(stored, anchor=Anchor(near, date), pending=())


@dataclass(frozen=True, slots=True)
class Drift:
    """How far a time is from the point's anchor; `change` and `margin` are ratios."""

    change: float
    margin: float
    processes: int
    since: str | None

    @property
    def is_seen(self) -> bool:
        """Whether it is more than the noise between processes, to either side."""
        return abs(self.change) > self.margin

    def exceeds(self, limit: float) -> bool:
        """Whether the time is slower than a limit allows; noise alone exceeds none."""
        return self.change > max(limit, self.margin)

    def __str__(self) -> str:
        return f"drifted {self.since_then}"

    @property
    def since_then(self) -> str:
        """How far, since when, and beside what."""
        since = self.since[:10] if self.since else "its first recorded times"
        processes = "1 process" if self.processes == 1 else f"{self.processes} processes"
        anchor = f"anchor of {processes}, margin {100 * self.margin:.1f} %"
        return f"{100 * self.change:+.1f} % since {since} ({anchor})"


def noise_of(times: Iterable[RecordedTime]) -> float:
    """The noise to expect between processes, by the anchors: a stage that drifts as a whole would hide itself in the
    spread of its latest times.
    """
    recorded = list(times)
    return expected_noise((each.anchored.baseline for each in recorded), usual_noise(recorded))


def drift_of(stored: RecordedTime | None, found: Measurement, expected: float) -> Drift | None:
    """How far a time is from its point's anchor; None unless it agrees with the latest recorded ones."""
    if stored is None or found.gate.outcome != gate.Outcome.PASS:
        return None
    return drift(stored, found.device_ns.median, expected, shared=found.gate.of_machine)


def drift(stored: RecordedTime, median_ns: float, expected: float = EXPECTED_NOISE, *, shared: float = 0.0) -> Drift:
    """A time beside the point's anchor, by the margin that the gate would allow there.

    `shared` is what the machine adds to all points of a run beside their latest times: the gate judges that by itself.
    """
    anchor = stored.anchored
    baseline = anchor.baseline
    change = median_ns / (1 + shared) / baseline.time_ns - 1
    return Drift(change, gate.margin(baseline, expected), len(anchor.taken), anchor.since)
