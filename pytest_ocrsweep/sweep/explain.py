"""A timed point's lines, and which of them account for a slower time; torch is loaded when a point is profiled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..baselines import gate
from ..baselines.blame import Cause, Clocks, blame
from ..baselines.measurement import Measurement
from ..baselines.moved import Moved
from ..baselines.point_profile import PointProfile
from ..baselines.recorded_time import RecordedTime
from ..errors import MeasureError
from .options import Slowdown

if TYPE_CHECKING:
    from ..model.analytic import Model
    from ..model.geometry import Workload
    from ..vendor_model.slowed import Delay
    from ..vendor_model.timing import Vendor


@dataclass(frozen=True, slots=True)
class Measured:
    """What one point took, what the gate decided, and why what is recorded was no baseline for it."""

    measurement: Measurement
    decision: gate.Decision
    incomparable: list[str]
    causes: list[Cause] | None = None  # of a change since the recorded profile; None if it was not looked for
    unprofiled: str | None = None  # why its lines are not known, although they were to be

    @property
    def blamed(self) -> list[str]:
        """What accounts for a slower time, a line each."""
        return said(self.causes, self.unprofiled)

    def moved(self, recorded: RecordedTime | None, accept: str) -> tuple[Moved, ...]:
        """The time beside the recorded one, with what grew; `accept` is the command that records it."""
        if recorded is None:
            return ()
        old, new, causes = round(recorded.baseline.time_ns), self.measurement.device_ns.median, self.causes or ()
        by, margin = self.decision.change, self.decision.margin
        return (Moved("device_ns", old, new, by, margin, tuple(map(str, causes)), accept),)


def fails(decision: gate.Decision, stored: RecordedTime | None) -> bool:
    """Whether a point failed whose lines are recorded."""
    return decision.outcome is gate.Outcome.FAIL and stored is not None and stored.profile is not None


def measured(vendor: Vendor, model: Model, stage: str, work: Workload, attention: str) -> PointProfile:
    """The point's lines. Raises MeasureError for kernels that are no lines."""
    from ..vendor_model.line_profile import profile_point

    return PointProfile.measured(profile_point(vendor, model, stage, work, attention))


def causes(
    now: PointProfile, decision: gate.Decision, stored: RecordedTime | None, sm_clock_mhz: int | None
) -> list[Cause] | None:
    """What grew since the recorded profile; None if there is none to compare with."""
    if stored is None or stored.profile is None or decision.margin is None:
        return None
    return blame(stored.profile, now, decision.margin, Clocks(stored.baseline.observed.sm_clock_mhz, sm_clock_mhz))


def said(found: Sequence[Cause] | None, unprofiled: str | None) -> list[str]:
    """The causes of a failure, a line each."""
    if unprofiled:
        return [f"its lines are not known: {unprofiled}"]
    if found is None:
        return []
    if not found:
        return ["no component stands out: all lines grew alike, or the growth is gone"]
    return ["what grew, in one call or a decode's last step:", *(f"  {cause}" for cause in found)]


def delay(slowdown: Slowdown, stored: RecordedTime | None) -> Delay | None:
    """The self-test's delay of one component. Raises MeasureError where its time is not recorded."""
    if not slowdown.component:
        return None
    from ..vendor_model.slowed import Delay

    times = stored.profile.components if stored and stored.profile else {}
    if slowdown.component not in times:
        what = f"--ocrsweep-slowdown: the point has no recorded time of {slowdown.component};"
        known = f"recorded are {', '.join(times)}" if times else "record it: --ocrsweep-update --ocrsweep-profile"
        raise MeasureError(what, hint=known)
    return Delay(slowdown.component, round(times[slowdown.component].time_ns * slowdown.percent / 100))
