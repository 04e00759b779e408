"""A point that was found, with what the analytic model says beside it: its estimate, and its components."""

from __future__ import annotations

from dataclasses import replace

from ..baselines.result import EstimateResult, PointResult, components
from ..hardware.devices import Device
from ..model.ledger import Ledger
from .session import Sweep


def with_estimate(sweep: Sweep, point: PointResult) -> PointResult:
    """The point with the estimate on the device that its floor is of; without one where nothing is known of it."""
    device = _device(sweep, point.floor.device) if point.floor else None
    if device is None:
        return point
    return replace(point, estimate=EstimateResult.of(_ledger(sweep, point), device))


def taken_apart(sweep: Sweep, point: PointResult) -> PointResult:
    """The same, with its components."""
    return replace(with_estimate(sweep, point), components=components(_ledger(sweep, point)))


def _ledger(sweep: Sweep, point: PointResult) -> Ledger:
    return sweep.model.ledger(point.stage, sweep.settings.workload.on(point.grid), point.attention)


def _device(sweep: Sweep, name: str) -> Device | None:
    """The device of this name: that of the settings, or one of the catalogue."""
    from .config import device_of

    device = sweep.settings.device
    return device if device.name == name else device_of(name)
