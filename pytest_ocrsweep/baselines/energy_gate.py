"""A point's energy against that of its recorded processes: the gate's rule for times, with a floor of its own."""

from __future__ import annotations

from dataclasses import replace

from . import gate
from .energy import EnergyResult
from .evidence import Baseline
from .gate import Outcome

FLOOR = 0.02
"""No margin is smaller: a warm board draws more power than a cold one at the same clock."""

EXPECTED_NOISE = 0.004
"""Sigma expected between processes: the goal, all of five within 2 %, is a range of about two sigma to each side."""


def margin(recorded: Baseline) -> float:
    """How much more than these processes' energies an unchanged process may be found to use, a ratio."""
    return max(FLOOR, gate.margin(recorded, EXPECTED_NOISE))


def judge(found: EnergyResult, recorded: Baseline | None) -> EnergyResult:
    """The energy with its outcome against the recorded processes; `recorded` is None if none compares with it."""
    if found.mj is None:
        return found
    then = recorded.energy if recorded else None
    if then is None:
        return replace(found, outcome=Outcome.NO_BASELINE.value)
    change, limit = found.mj / then.time_ns - 1, margin(then)
    outcome = Outcome.FAIL if change > limit else Outcome.IMPROVED if change < -limit else Outcome.PASS
    return replace(found, outcome=outcome.value, change=change, margin=limit)


def fails(found: EnergyResult | None, recorded: Baseline | None) -> bool:
    """Whether more was used than an unchanged process may use."""
    return found is not None and judge(found, recorded).outcome == Outcome.FAIL
