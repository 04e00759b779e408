"""Which points of a run agree with their latest times, and are away from their first ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..baselines import anchor, timed
from ..baselines.anchor import Drift
from ..baselines.counted import PointKey
from ..baselines.measurement import Measurement
from ..baselines.result import order

if TYPE_CHECKING:
    from .results import Results
    from .session import Sweep


def drifts(results: Results) -> dict[str, Drift]:
    """How far, by the point's name, beyond what noise explains."""
    found = dict[str, Drift]()
    for point in sorted(results.points.values(), key=order):
        if vendor := point.vendor:
            drift = drift_of(results.sweep, point.stage, results.key(point), vendor)
            if drift and drift.is_seen:
                found[str(point)] = drift
    return found


def drift_of(sweep: Sweep, stage: str, key: PointKey, found: Measurement) -> Drift | None:
    """How far a time is from its point's anchor; None unless it agrees with the latest recorded ones."""
    gpu = str(found.gpu)
    times, where = sweep.timed_of(stage, gpu), (timed.gpu_folder(gpu), stage)
    if where not in sweep.anchor_noise:
        sweep.anchor_noise[where] = anchor.noise_of(times.values())
    return anchor.drift_of(times.get(key), found, sweep.anchor_noise[where])
