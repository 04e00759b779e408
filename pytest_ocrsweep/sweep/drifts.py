"""Which points of a run agree with their latest times, and are away from their first ones."""

from __future__ import annotations

from ..baselines import anchor
from ..baselines.anchor import Drift
from ..baselines.gate import Outcome
from ..baselines.result import order
from .results import Results


def drifts(results: Results) -> dict[str, Drift]:
    """How far, by the point's name, beyond what noise explains."""
    sweep, found = results.sweep, dict[str, Drift]()
    for point in sorted(results.points.values(), key=order):
        vendor = point.vendor
        times = sweep.timed_of(point.stage, str(vendor.gpu)) if vendor else {}
        known = times.get(results.key(point))
        if vendor and known and vendor.gate.outcome == Outcome.PASS:
            noise, shared = anchor.noise_of(times.values()), vendor.gate.shared
            found[str(point)] = anchor.drift(known, vendor.device_ns.median, noise, shared=shared)
    return {point: drift for point, drift in found.items() if drift.is_seen}
