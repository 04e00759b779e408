"""A point's energy against that of its recorded processes: the gate's rule for times, with a floor of its own."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from . import gate
from .energy import EnergyResult
from .evidence import Baseline, Process
from .gate import Outcome

FLOOR = 0.02
"""No margin is smaller: a warm board draws more power than a cold one at the same clock."""

EXPECTED_NOISE = 0.004
"""Sigma expected between processes: the goal, all of five within 2 %, is a range of about two sigma to each side."""


def baseline(processes: Iterable[Process]) -> Baseline | None:
    """Energies of processes as the gate takes times; None where none is known."""
    known = tuple(
        Process(each.energy.mj, each.energy.mj, each.energy.mj, each.samples) for each in processes if each.energy
    )
    return Baseline(known) if known else None


def margin(recorded: Baseline) -> float:
    """How much more than these an unchanged process may be found to use, a ratio."""
    return max(FLOOR, gate.margin(recorded, EXPECTED_NOISE))


def judge(found: EnergyResult, processes: Iterable[Process]) -> EnergyResult:
    """The energy beside that of the recorded processes that it compares with."""
    if found.mj is None:
        return found
    recorded = baseline(processes)
    if recorded is None:
        return replace(found, outcome=Outcome.NO_BASELINE.value)
    change, limit = found.mj / recorded.time_ns - 1, margin(recorded)
    outcome = Outcome.FAIL if change > limit else Outcome.IMPROVED if change < -limit else Outcome.PASS
    return replace(found, outcome=outcome.value, change=change, margin=limit)
