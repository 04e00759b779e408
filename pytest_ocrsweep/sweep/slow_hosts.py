"""Points that an engine's host was slow for, as only later loads of the run show."""

from __future__ import annotations

from collections.abc import Iterable

from ..baselines.result import PointResult
from ..model.geometry import CropGrid

Key = tuple[str, CropGrid, str]  # stage, grid, attention


def slow(points: Iterable[PointResult]) -> dict[Key, str]:
    """Each point whose time is no sample by the fastest speed the run knew of its host, and a line that says so."""
    known = [
        (each.key, each.vendor.host, each.vendor.host_speed)
        for each in points
        if each.vendor and each.vendor.host_speed and not each.verdict.failed
    ]
    fastest: dict[str | None, int] = {}
    for _, host, speed in known:
        fastest[host] = min(fastest.get(host, speed.fastest_ns), speed.fastest_ns)
    found = {key: speed.too_slow_for(fastest[host]) for key, host, speed in known}
    name = {key: " ".join(map(str, key)) for key in found}
    then = "update it again on a quiet host"
    return {key: f"{name[key]} is not recorded: {why}: {then}" for key, why in found.items() if why}
