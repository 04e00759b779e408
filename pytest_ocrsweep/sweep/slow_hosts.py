"""Points that an engine's host was slow for, as only later loads of the run show."""

from __future__ import annotations

from collections.abc import Iterable

from ..baselines.result import PointResult
from ..model.geometry import CropGrid

Key = tuple[str, CropGrid, str]  # stage, grid, attention


def slow(points: Iterable[PointResult]) -> dict[Key, str]:
    """Each point whose time is no sample by the fastest speed the run knew of its host, and a line that says so."""
    timed = [(each, each.vendor.host, each.vendor.host_speed) for each in points if each.vendor]
    known = [(point, host, speed) for point, host, speed in timed if speed]
    fastest: dict[str | None, int] = {}  # also of points that failed
    for _, host, speed in known:
        fastest[host] = min(fastest.get(host, speed.fastest_ns), speed.fastest_ns)
    found = {point.key: speed.too_slow_for(fastest[host]) for point, host, speed in known if not point.verdict.failed}
    name = {key: " ".join(map(str, key)) for key in found}
    then = "update it again on a quiet host"
    return {key: f"{name[key]} is not recorded: {why}: {then}" for key, why in found.items() if why}
