"""Which points of a run agree with their latest times, and are away from their first ones."""

from __future__ import annotations

from ..baselines import anchor
from ..baselines.anchor import Drift
from ..baselines.result import order
from .results import Results


def drifts(results: Results) -> dict[str, Drift]:
    """How far, by the point's name, beyond what noise explains."""
    sweep, found = results.sweep, dict[str, Drift]()
    for point in sorted(results.points.values(), key=order):
        if vendor := point.vendor:
            drift = anchor.drift_of(sweep.timed_of(point.stage, str(vendor.gpu)), results.key(point), vendor)
            if drift and drift.is_seen:
                found[str(point)] = drift
    return found
