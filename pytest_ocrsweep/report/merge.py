"""Separate runs of one sweep as one: their reports, and what they recorded. Other runs are refused."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..baselines import counted, timed
from ..baselines.counted import PointKey, Recorded
from ..baselines.measurement import Environment
from ..baselines.recorded_time import RecordedTime, TimedProcess, comparable
from ..baselines.result import PointResult
from ..baselines.sweep_report import WORKLOAD, Report, SweepEnvironment
from ..errors import BaselineError, ReportError

Part = tuple[str, Report]  # its name, for messages

ALIKE = ("dtype", "weights", "git_revision", "attention_implementation", "experts_implementation")
ON = ("host", "gpu", "driver", "torch", "transformers", "weights")
REMEDY = "merge runs of one project, revision, model and workload"


def merged(parts: Sequence[Part]) -> Report:
    """One report with the points of all. Raises ReportError, which names the two that do not belong together."""
    (first, report), *others = parts
    for name, other in others:
        pairs = [("model", report.model, other.model)]
        pairs += [(field, getattr(report.workload, field), getattr(other.workload, field)) for field in WORKLOAD]
        pairs += [(field, getattr(report.environment, field), getattr(other.environment, field)) for field in ALIKE]
        for field, a, b in pairs:
            if a != b and (field != "weights" or None not in (a, b)):  # a part that measured nothing knows no weights
                raise ReportError(f"{first} and {name} differ in {field}, {a} and {b};", REMEDY)
    found: dict[tuple[object, ...], str] = {}
    for name, part in parts:
        for point in part.points:
            if point.key in found:
                raise ReportError(f"{point} is in {found[point.key]} and in {name};", "leave it out of one of them")
            found[point.key] = name
    points: Iterable[PointResult] = (point for _, part in parts for point in part.points)
    return Report.of(report.model, report.workload, _environment([part.environment for _, part in parts]), points)


def _environment(parts: Sequence[SweepEnvironment]) -> SweepEnvironment:
    """What all hosts share, and each host."""
    each = [on for part in parts for on in part.hosts or (Environment(**{name: getattr(part, name) for name in ON}),)]
    hosts = {(on.host, on.gpu): on for on in each if on.gpu is not None}
    measured = [hosts[key] for key in sorted(hosts, key=str)]
    if len(measured) < 2:
        return next((part for part in parts if part.gpu is not None), parts[0])
    values = {name: {getattr(on, name) for on in measured} for name in ON}
    shared: dict[str, Any] = {name: one.pop() if len(one) == 1 else None for name, one in values.items()}
    several = tuple(replace(on, dtype=parts[0].dtype) for on in measured)
    return replace(parts[0], **shared, hosts=several, absent=frozenset())


def record(folders: Sequence[Path], into: Path) -> Iterator[Recorded]:
    """What each folder of baselines records, added to those `into` another, file by file.

    Raises BaselineError where counted numbers differ, before that file is written, and OSError.
    """
    for folder in folders:
        if not folder.is_dir():
            raise BaselineError(f"{folder} is not a folder;", "give the folders of baselines that the runs recorded")
        for model in sorted(path for path in folder.iterdir() if path.is_dir()):
            for file in sorted(model.glob("*.json")):
                yield _counted(file, model.name, into)
            for gpu in timed.gpu_folders(folder, model.name):
                for file in sorted((model / "timed" / gpu).glob("*.json")):
                    yield _timed(file, model.name, gpu, into)


def _counted(file: Path, model: str, into: Path) -> Recorded:
    stage = file.stem
    new, path = counted.read(file, model, stage), counted.file_of(into, model, stage)
    for key, numbers in counted.read(path, model, stage).items():
        if key in new and (changes := counted.compare(numbers, new[key])):
            point = f"{stage} {key.work.grid} {key.attention}"
            raise BaselineError(f"{point} is not the same in {path} and {file}: {changes[0]};", REMEDY)
    return counted.record(path, model, stage, new)


def _timed(file: Path, model: str, gpu: str, into: Path) -> Recorded:
    """Process by process, the oldest first; one that is there already is not added twice."""
    stage, path = file.stem, timed.file_of(into, model, gpu, file.stem)
    new, there = timed.read(file, model, gpu, stage), timed.read(path, model, gpu, stage)
    queues = {key: list(_processes(key, time, there.get(key))) for key, time in new.items()}
    done = Recorded(path, 0, 0, 0, 0)
    while any(queues.values()):
        batch = {key: (queue.pop(0), True) for key, queue in queues.items() if queue}
        step = timed.record(path, model, gpu, stage, batch)
        done = Recorded(path, done.added + step.added, done.changed + step.changed, done.same + step.same, 0)
    return done


def _processes(key: PointKey, time: RecordedTime, there: RecordedTime | None) -> Iterator[TimedProcess]:
    known = list(zip(there.baseline.processes, there.environments, strict=True)) if there else []
    for process, on in zip(time.baseline.processes, time.environments, strict=True):
        found = TimedProcess(
            time.clock, time.experts, time.baseline.observed, time.wall_median_ns, process, on, time.attained
        )
        if there and not comparable(there, found):
            raise BaselineError(
                f"{key.work.grid} {key.attention}: its times are of other work or another clock;", REMEDY
            )
        if (process, on) not in known:
            yield found
