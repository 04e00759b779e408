"""What moved since the baselines, of the points of a report and of code of the user's own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ..baselines.moved import Moved
from ..baselines.own import OwnKey
from ..baselines.sweep_report import Report
from ..baselines.verdict import FAILED
from ..model.geometry import CropGrid


@dataclass(frozen=True, slots=True)
class PointMoved:
    """A number of a point, or of code of the user's `own`, that is not what its baseline says."""

    stage: str
    grid: CropGrid | None  # of a call that has none, as of its attention
    attention: str | None
    verdict: str
    moved: Moved
    own: str | None = None  # the name of the user's own code

    def __str__(self) -> str:
        if self.own is None:
            return f"{self.stage} {self.grid} {self.attention}"
        return str(OwnKey(self.own, self.stage, self.grid, self.attention))

    @property
    def fails(self) -> bool:
        """Whether it is why a run is red."""
        return self.verdict in FAILED


def of_report(report: Report) -> tuple[PointMoved, ...]:
    """What fails first, the largest change first."""
    return tuple(sorted(_all(report), key=lambda each: (not each.fails, -_size(each.moved))))


def _all(report: Report) -> Iterator[PointMoved]:
    for point in report.points:
        for each in point.moved:
            yield PointMoved(point.stage, point.grid, point.attention, point.verdict.value, each)
    for own in report.own:
        for each in own.moved:
            yield PointMoved(own.stage, own.grid, own.attention, own.verdict.value, each, own.name)


def _size(moved: Moved) -> float:
    return float("inf") if moved.change is None else abs(moved.change)
