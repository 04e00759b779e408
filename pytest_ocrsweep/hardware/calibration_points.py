"""The points that a calibration measures: those that it fits, and those by which it is judged."""

from __future__ import annotations

from ..model.geometry import CropGrid, Workload
from .profile import Point


def _point(stage: str, grid: str, attention: str, **sizes: int | str) -> Point:
    return Point(stage, attention, Workload(CropGrid.parse(grid), **sizes))  # type: ignore[arg-type]


# Every pattern of kernels in small and in large, with as few points as that takes.
FITTED = (
    _point("vision", "1x1", "flash"),
    _point("vision", "1x1", "flash", resolution="tiny"),
    _point("vision", "1x1", "eager"),
    _point("vision", "2x3", "flash"),
    _point("prefill", "1x1", "flash"),
    _point("prefill", "1x1", "eager"),
    _point("prefill", "2x3", "flash"),
    _point("prefill", "2x3", "flash", prompt_tokens=4000),
    _point("decode", "1x1", "flash"),
    _point("decode", "2x3", "eager"),
    _point("decode", "2x3", "flash", prompt_tokens=4000),
    _point("decode", "2x3", "flash", batch=8),
    _point("decode", "2x3", "flash", batch=64),
)
# As different from those as users' points are: between them, and beyond.
JUDGED = (
    _point("vision", "3x3", "flash"),
    _point("vision", "1x2", "eager", batch=2),
    _point("vision", "1x1", "flash", resolution="large"),
    _point("vision", "1x1", "flash", batch=8, resolution="tiny"),
    _point("prefill", "1x2", "flash"),
    _point("prefill", "3x3", "eager"),
    _point("prefill", "2x3", "flash", batch=4),
    _point("prefill", "2x3", "flash", prompt_tokens=7000),
    _point("prefill", "1x1", "flash", resolution="small"),
    _point("prefill", "1x2", "eager", prompt_tokens=1500),
    _point("decode", "3x3", "flash"),
    _point("decode", "1x2", "eager"),
    _point("decode", "2x3", "eager", batch=8),
    _point("decode", "2x3", "flash", batch=2),
    _point("decode", "2x3", "flash", batch=32),
    _point("decode", "2x3", "flash", prompt_tokens=7000),
)
