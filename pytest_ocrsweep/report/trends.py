"""Earlier runs of a sweep in its sweep.sqlite: how each point's time went, and since when it is what it is."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..baselines.moved import Moved
from ..baselines.result import COSTS, NAMES, Costs, PointResult
from ..baselines.sweep_report import WORKLOAD, Report
from ..errors import ReportError
from . import sqlite
from .comparison import parts_of

MOST_RUNS, MOST_NUMBERS = 30, 60_000  # of a page: the latest runs, and all points in all of them
NOISE = 0.02  # a ratio: what a measured time moves by if its run knows no margin of the gate
METRICS = {"device_ns": "device_median_ns", "estimate_ns": "estimate_ns", "floor_ns": "floor_ns"}  # the best first


@dataclass(frozen=True, slots=True)
class PastRun:
    """An earlier run of the same model and workload on the same device, or this one, which is the last."""

    run: int
    written_utc: str
    git_revision: str | None


@dataclass(frozen=True, slots=True)
class Trend:
    """A point's numbers in the runs, None where a run lacks it; `since` is the place of the run where it last moved."""

    metric: str
    values: tuple[int | None, ...]
    since: int | None


@dataclass(frozen=True, slots=True)
class Trends:
    """The runs, oldest first, and the trend of each point by its name."""

    runs: tuple[PastRun, ...] = ()
    of: dict[str, Trend] | None = None

    def __getitem__(self, point: str) -> Trend | None:
        return (self.of or {}).get(point)


def trends(path: Path, report: Report) -> Trends:
    """What a database has of the sweep of this report. Raises ReportError."""
    if not report.points:
        return Trends()
    most = max(2, min(MOST_RUNS, MOST_NUMBERS // len(report.points)))
    with sqlite.reading(path) as db:
        same = " AND ".join(f"{name} = ?" for name in ("model", *WORKLOAD))
        values = (report.model, *(getattr(report.workload, name) for name in WORKLOAD))
        gpus = {point.vendor.gpu for point in report.points if point.vendor} or {None}
        measured = "NULL" if None in gpus else "NOT NULL"
        on = f"(SELECT max(vendor_gpu) FROM points WHERE points.run = runs.run) IS {measured}"
        query = f"SELECT run, written_utc, git_revision FROM runs WHERE {same} AND {on} ORDER BY run DESC LIMIT ?"
        runs = [PastRun(*row) for row in db.execute(query, (*values, most))][::-1]
        if len(runs) < 2:
            return Trends()
        places = {each.run: at for at, each in enumerate(runs)}
        columns = ", ".join((*NAMES, *METRICS.values(), "gate_margin_ratio", "vendor_gpu", "floor_device"))
        rows = db.execute(f"SELECT run, {columns} FROM points WHERE run >= ?", (runs[0].run,)).fetchall()
    wanted = {str(point): point for point in report.points}
    numbers: dict[str, list[tuple[int | None, ...]]] = {}
    margins: dict[str, float] = {}
    for run, stage, grid, attention, *times, margin, gpu, device in rows:
        point = wanted.get(name := f"{stage} {grid} {attention}")
        if point is None or run not in places or not _same_device(point, gpu, device):
            continue
        numbers.setdefault(name, [(None,) * len(METRICS)] * len(runs))[places[run]] = tuple(times)
        margins[name] = NOISE if margin is None else margin
    found = {name: trend for name, of in numbers.items() if (trend := _trend(of, margins[name]))}
    return Trends(tuple(runs), found)


def _same_device(point: PointResult, gpu: str | None, device: str | None) -> bool:
    if point.vendor:
        return bool(gpu == point.vendor.gpu)
    return gpu is None and device == (point.floor.device if point.floor else None)


def _trend(numbers: Sequence[tuple[int | None, ...]], margin: float) -> Trend | None:
    """The best number that the last run has, in all of them."""
    for place, metric in enumerate(METRICS):
        values = tuple(of[place] for of in numbers)
        if values[-1] is not None:
            return Trend(metric, values, _since(values, margin if metric == "device_ns" else 0.0))
    return None


def _since(values: Sequence[int | None], margin: float) -> int | None:
    """Where the last value's level begins; None if all runs are of one level."""
    last = values[-1] or 0
    at_level = len(values) - 1
    for at in range(len(values) - 2, -1, -1):
        value = values[at]
        if value is None:
            continue
        if abs(value - last) > margin * max(value, 1):
            return at_level
        at_level = at
    return None


def explained(report: Report, path: Path) -> Report:
    """The report with the components of each counted number that moved, by the latest run that had the old number.

    Baselines hold no components; a run that the database has does. Raises ReportError.
    """
    unknown = [p for p in report.points if any(each.metric in COSTS and not each.causes for each in p.moved)]
    if not unknown or not path.is_file():
        return report
    with sqlite.reading(path) as db:
        found = {
            point.key: replace(point, moved=tuple(_explained(db, report, point, each) for each in point.moved))
            for point in unknown
        }
    return replace(report, points=tuple(found.get(point.key, point) for point in report.points))


def _explained(db: sqlite3.Connection, report: Report, point: PointResult, moved: Moved) -> Moved:
    if moved.metric not in COSTS or moved.causes:
        return moved
    at = (point.stage, str(point.grid), point.attention)
    same = " AND ".join(f"runs.{name} = ?" for name in ("model", *WORKLOAD))
    values = (report.model, *(getattr(report.workload, name) for name in WORKLOAD))
    query = (
        f"SELECT max(run) FROM points JOIN runs USING (run) WHERE stage = ? AND grid = ? AND attention = ? AND {same}"
    )
    (run,) = db.execute(f"{query} AND points.{moved.metric} = ?", (*at, *values, moved.old)).fetchone()
    if run is None:
        return moved
    columns = ", ".join(("part", *COSTS))
    rows = db.execute(
        f"SELECT {columns} FROM components WHERE run = ? AND stage = ? AND grid = ? AND attention = ?", (run, *at)
    )
    then = {part: Costs(*costs) for part, *costs in rows}
    why = parts_of(moved.metric, then, point.components)
    return replace(moved, causes=(f"{why}, since run {run} of {path_name(db)}",)) if why else moved


def path_name(db: sqlite3.Connection) -> str:
    """The file's own name."""
    (_, _, file), *_ = db.execute("PRAGMA database_list").fetchall()
    return Path(file).name or "sweep.sqlite"


def read(path: Path, report: Report) -> Trends:
    """The trends, or none where the database cannot be read: then writing to it says why."""
    try:
        return trends(path, report)
    except ReportError:
        return Trends()
