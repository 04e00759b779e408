"""The part of a verdict that is about a point's energy."""

from __future__ import annotations

from pathlib import Path

from ..baselines.gate import Outcome
from ..baselines.moved import Moved
from ..baselines.recorded_time import RecordedTime
from ..baselines.verdict import Verdict
from .explain import Measured
from .parts import PASSED, Part
from .session import Sweep
from .time_parts import Subject


def energy_part(sweep: Sweep, priced: Subject, measured: Measured, recorded: RecordedTime | None, file: Path) -> Part:
    """A point that uses more than its recorded processes, beyond their margin, fails; also if it is as fast."""
    found, accept = measured.measurement.energy, sweep.options.accepting(file)
    if sweep.options.update or found is None or found.outcome != Outcome.FAIL or recorded is None:
        return PASSED
    then = recorded.baseline.energy
    assert then
    assert found.mj
    assert found.change
    assert found.margin
    much = f"energy {100 * found.change:+.1f} % (margin {100 * found.margin:.1f} %)"
    both = f"{then.time_ns / 1000:,.3f} -> {found.mj / 1000:,.3f} J"
    moved = Moved("energy_mj", round(then.time_ns), round(found.mj), found.change, found.margin, (), accept)
    what = f"{priced} on {measured.measurement.gpu}: {much}: {both}; if meant, accept it:\n{accept}"
    return Part(Verdict.FAIL, what, short=much, moved=(moved,))
