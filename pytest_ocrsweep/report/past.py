"""A point over time: its recorded processes, oldest first, with the places where it moved and stayed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from ..baselines import anchor, history, timed
from ..baselines.anchor import Became, Drift
from ..baselines.counted import PointKey
from ..baselines.history import Entry, History
from ..baselines.json_layout import Json
from ..baselines.recorded_time import RecordedTime, Taken
from ..baselines.sweep_report import PastTime, Report
from .recorded import Source

BLOCKS = "▁▂▃▄▅▆▇█"
LEAST_RANGE = 0.02  # of a time: a plot of noise alone stays low
PLOTTED = 54  # processes, to fit into 80 columns beside the axis


@dataclass(frozen=True, slots=True)
class Past:
    """One process, or that somebody accepted the point's times; `date` and `became` are None if they are unknown."""

    taken: Taken
    date: str | None = None
    became: Became | None = None
    by: str | None = None
    moved: bool = False  # here the time moved, and stayed

    @property
    def median_ns(self) -> int:
        return round(self.taken.process.median_ns)


@dataclass(frozen=True, slots=True)
class PointHistory:
    """A recorded point and how it came to be; `drift` is that of its latest times, all together."""

    stage: str
    key: PointKey
    stored: RecordedTime
    drift: Drift
    past: tuple[Past, ...]

    def change(self, past: Past) -> float:
        """A process beside the anchor, as a ratio."""
        return past.median_ns / self.stored.anchored.baseline.time_ns - 1

    def past_time(self, past: Past) -> PastTime:
        """A process as a report has it."""
        host, became = past.taken.environment.host, past.became and past.became.value
        return PastTime(past.date, host, past.median_ns, self.change(past), became, past.moved)

    @property
    def processes(self) -> list[Past]:
        return [each for each in self.past if each.became is not Became.ACCEPTED]


def of_stage(source: Source, stage: str) -> dict[PointKey, PointHistory]:
    """Every recorded point of a stage. Raises BaselineError."""
    file = timed.file_of(source.folder, source.model, source.gpu, stage)
    times, known = timed.read(file, source.model, source.gpu, stage), history.read(history.file_of(file))
    noise = anchor.noise_of(times.values())
    return {key: _point(stage, key, stored, known, noise) for key, stored in times.items()}


def histories(report: Report, folder: Path) -> dict[str, tuple[PastTime, ...]]:
    """What is recorded below `folder` of a report's measured points, for those with a history. Raises BaselineError."""
    read = cache(lambda gpu, stage: of_stage(Source(folder, report.model, gpu), stage))
    found = {}
    for point in report.points:
        if point.vendor:
            key = PointKey(report.workload.on(point.grid), point.attention)
            known = read(timed.gpu_folder(point.vendor.gpu), point.stage).get(key)
            if known and any(each.date for each in known.past):
                found[str(point)] = tuple(map(known.past_time, known.processes))
    return found


def _point(stage: str, key: PointKey, stored: RecordedTime, known: History, noise: float) -> PointHistory:
    entries = known.of(key)
    past = [*_undated(stored, entries), *(Past(each.taken, each.date, each.became, each.by) for each in entries)]
    drift = anchor.drift(stored, stored.baseline.time_ns, noise)
    return PointHistory(stage, key, stored, drift, _marked(past))


def _undated(stored: RecordedTime, entries: Sequence[Entry]) -> list[Past]:
    """Processes that were recorded before there was a history."""
    dated = {each.taken.anywhere for each in entries}
    recorded = dict.fromkeys([*stored.anchored.taken, *stored.taken, *stored.pending])
    return [Past(taken) for taken in recorded if taken.anywhere not in dated]


def _marked(past: Sequence[Past]) -> tuple[Past, ...]:
    """The same, with the places where the time moved."""
    processes = [at for at, each in enumerate(past) if each.became is not Became.ACCEPTED]
    moved = {processes[at] for at in history.changes([past[at].taken.process for at in processes])}
    return tuple(Past(each.taken, each.date, each.became, each.by, at in moved) for at, each in enumerate(past))


def plot(medians: Sequence[int]) -> str:
    """The latest medians as blocks, with the range that they span."""
    latest = medians[-PLOTTED:]
    low, high = min(latest), max(latest)
    span = max(high - low, LEAST_RANGE * low)
    blocks = "".join(BLOCKS[min(len(BLOCKS) - 1, int((ns - low) / span * len(BLOCKS)))] for ns in latest)
    return f"{blocks}  {low / 1e6:.3f} to {high / 1e6:.3f} ms"


def to_json(point: PointHistory) -> Json:
    """A point in base units."""
    return {
        "stage": point.stage,
        "grid": str(point.key.work.grid) if point.key.attention else None,
        "attention": point.key.attention or None,
        "anchor": {
            "since": point.drift.since,
            "processes": point.drift.processes,
            "median_ns": round(point.stored.anchored.baseline.time_ns),
            "margin": point.drift.margin,
        },
        "latest_ns": round(point.stored.baseline.time_ns),
        "drift": point.drift.change,
        "pending": len(point.stored.pending),
        "processes": [_process(point, each) for each in point.past],
    }


def _process(point: PointHistory, past: Past) -> Json:
    environment = past.taken.environment
    return {
        "date": past.date,
        "host": environment.host,
        "gpu_uuid": environment.gpu_uuid,
        "git_revision": environment.git_revision,
        "median_ns": past.median_ns,
        "change": point.change(past),
        "became": past.became,
        "by": past.by,
        "moved": past.moved,
    }
