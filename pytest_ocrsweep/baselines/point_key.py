"""What a recorded point is found by, in Python and in a row of a file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

from ..files.text import quoted
from ..model.attention import ATTENTION
from ..model.geometry import CropGrid, Workload
from .json_layout import Json
from .sweep_report import WORKLOAD


class PointKey(NamedTuple):
    """What a recorded point is found by, within one model and stage.

    A call of the user's own (`call_key`) has neither grid nor attention: null in a file.
    """

    work: Workload
    attention: str

    def __str__(self) -> str:
        return f"{self.work.grid} {self.attention}" if self.attention else ""


NO_ATTENTION = ""


def call_key(work: Workload) -> PointKey:
    """What the time of a call is found by: the workload without its grid, which is always the same here."""
    return PointKey(replace(work, grid=CropGrid(1, 1)), NO_ATTENTION)


def rows(points: Mapping[PointKey, Mapping[str, object]]) -> list[dict[str, object]]:
    """CountedPoints as a file holds them: sorted, each with what it is found by first."""
    return [
        {
            **{name: getattr(key.work, name) for name in WORKLOAD},
            "grid": str(key.work.grid) if key.attention else None,
            "attention": key.attention or None,
            **points[key],
        }
        for key in sorted(points, key=_order)
    ]


def _order(key: PointKey) -> tuple[object, ...]:
    return (*(getattr(key.work, name) for name in WORKLOAD), key.work.grid, key.attention)


def key_of(raw: Json) -> PointKey:
    """What a row is found by. Raises ValueError."""
    if raw["attention"] is None and raw["grid"] is None and isinstance(raw["resolution"], str):
        return call_key(Workload(CropGrid(1, 1), *(raw[name] for name in WORKLOAD)))
    if raw["attention"] not in tuple(ATTENTION):  # not a key of a dict: it may be a list
        raise ValueError(f"attention must be one of {', '.join(ATTENTION)}, got {quoted(raw['attention'])}")
    if not isinstance(raw["grid"], str) or not isinstance(raw["resolution"], str):
        raise ValueError("grid and resolution must be text")
    return PointKey(Workload(CropGrid.parse(raw["grid"]), *(raw[name] for name in WORKLOAD)), raw["attention"])
