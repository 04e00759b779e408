"""Times as recorded: a JSON file for each model, GPU and stage, every recorded process with its provenance."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..files import atomic
from ..files.text import quoted
from .counted import Document, Key, Recorded, exactly, render, rows, whole
from .gate import Baseline, Observed, Process

SCHEMA = 1
CLOCKS = ("cuda-graph", "profiler", "host")
ENVIRONMENT = ("host", "gpu", "driver", "torch", "transformers", "dtype", "weights", "git_revision")
SEEN = ("tensor_flops", "kernels", "peak_bytes", "sm_clock_mhz")
FIELDS = ("clock", "experts", *SEEN, "wall_median_ns", "attained", "processes")
TIMES = ("median_ns", "q1_ns", "q3_ns")

KEPT = 5
"""Processes that a point's evidence holds at most: the gate's margin gains little from more."""

Environment = dict[str, str | None]


@dataclass(frozen=True, slots=True)
class Timed:
    """What one run found for a point; `environment` has the fields of ENVIRONMENT, None where unknown."""

    clock: str
    experts: str | None
    observed: Observed
    wall_median_ns: int | None
    process: Process
    environment: Environment
    attained: float | None = None  # the fraction of the time that the device's floor explains

    def __post_init__(self) -> None:
        _clock(self.clock)
        _ordered(_whole_ns(self.process))
        _environment(self.environment)


@dataclass(frozen=True, slots=True)
class Stored:
    """A recorded point: its processes, oldest first, each with its environment; all else is of the latest."""

    baseline: Baseline
    clock: str
    experts: str | None
    wall_median_ns: int | None
    environments: tuple[Environment, ...]
    attained: float | None


TimedPoints = dict[Key, Stored]


def gpu_folder(name: str | None) -> str:
    """The folder of a GPU's times, `nvidia-h200` for `NVIDIA H200`; `cpu` where there is no GPU."""
    if name is None:
        return "cpu"
    folder = re.sub(r"[^a-z0-9.]+", "-", name.lower()).strip("-.")
    if not folder:
        raise ValueError(f"a GPU's name needs a letter or a digit to be a folder, got {name!r}")
    return folder


def gpu_folders(folder: Path, model: str) -> list[str]:
    """The GPUs, as folders, of which any times of `model` are recorded."""
    return sorted(path.name for path in (folder / model / "timed").glob("*") if path.is_dir())


def file_of(folder: Path, model: str, gpu: str, stage: str) -> Path:
    """Where the times of `model` at `stage` on `gpu`, a gpu_folder, are recorded."""
    return folder / model / "timed" / gpu / f"{stage}.json"


def read(path: Path, model: str, gpu: str, stage: str) -> TimedPoints:
    """The recorded points; none without a file. Raises BaselineError for a file that cannot be trusted."""
    return _load(path, model, gpu, stage)[0]


def record(path: Path, model: str, gpu: str, stage: str, found: Mapping[Key, tuple[Timed, bool]]) -> Recorded:
    """Merge what a run found into the file; other points stay. Raises BaselineError, OSError.

    The bool says that the gate did not find the point moved: then the process joins the point's evidence
    (counted as `same`). Where it moved, or is not comparable any more, the point starts anew (`changed`). Several
    processes may record at once.
    """
    with atomic.locked(path):
        old, known = _load(path, model, gpu, stage)
        joined = {
            key: old[key]
            for key, (timed, agrees) in found.items()
            if agrees and key in old and comparable(old[key], timed)
        }
        merged = {**old, **{key: _with(joined.get(key), timed) for key, (timed, _) in found.items()}}
        if found:
            atomic.replace(path, dump(model, gpu, stage, merged, known))
    added = len(found.keys() - old.keys())
    return Recorded(path, added, len(found) - added - len(joined), len(joined), removed=0)


def incomparable(stored: Stored, clock: str, experts: str | None, environment: Mapping[str, str | None]) -> list[str]:
    """Why a time by this clock, of this work, says nothing beside what is recorded, then and now; empty if it does."""
    then = stored.environments[-1]
    pairs = [("clock", stored.clock, clock), ("experts", stored.experts, experts)]
    pairs += [(name, then[name], environment[name]) for name in ("dtype", "weights")]
    return [f"{name} {_shown(old)} -> {_shown(new)}" for name, old, new in pairs if old != new]


def comparable(stored: Stored, timed: Timed) -> bool:
    """Whether both are times of the same work by the same clock."""
    same_flops = stored.baseline.observed.tensor_flops == timed.observed.tensor_flops
    return same_flops and not incomparable(stored, timed.clock, timed.experts, timed.environment)


def differences(stored: Stored, environment: Environment) -> list[str]:
    """What no recorded process ran with, then and now.

    Not the revision: a new one is what a run is about. Nor the host: times are those of a GPU's name.
    """
    told = []
    for name in ENVIRONMENT:
        then = dict.fromkeys(recorded[name] for recorded in stored.environments)
        if name not in ("git_revision", "host") and environment[name] not in then:
            told.append(f"{name} {', '.join(map(_shown, then))} -> {_shown(environment[name])}")
    return told


def dump(model: str, gpu: str, stage: str, points: TimedPoints, known: Iterable[Environment] = ()) -> str:
    """The file's text; environments keep the order of `known`, so that a line changes only with its point."""
    used = [environment for stored in points.values() for environment in stored.environments]
    environments: list[Environment] = []
    for environment in (*known, *used):
        if environment in used and environment not in environments:
            environments.append(environment)
    values = {key: _values(stored, environments) for key, stored in points.items()}
    return render(_about(model, gpu, stage), environments=environments, points=rows(values))


def _about(model: str, gpu: str, stage: str) -> dict[str, object]:
    return {"schema": SCHEMA, "model": model, "gpu": gpu, "stage": stage}


def _load(path: Path, model: str, gpu: str, stage: str) -> tuple[TimedPoints, list[Environment]]:
    document = Document.load(path, _about(model, gpu, stage), "environments", "points")
    environments: list[Environment] = []

    def take(raw: object) -> None:
        environment = _environment(raw)
        if environment in environments:
            raise ValueError("it is given twice")
        environments.append(environment)

    document.each("environments", take)
    return document.points(FIELDS, lambda raw: _stored(raw, environments)), environments


def _with(stored: Stored | None, timed: Timed) -> Stored:
    """The point's evidence with this process as its latest; of this process alone if there was none."""
    processes = (*(stored.baseline.processes if stored else ()), _whole_ns(timed.process))
    environments = (*(stored.environments if stored else ()), timed.environment)
    return Stored(
        Baseline(processes[-KEPT:], timed.observed),
        timed.clock,
        timed.experts,
        timed.wall_median_ns,
        environments[-KEPT:],
        timed.attained,
    )


def _whole_ns(process: Process) -> Process:
    return replace(process, **{name: round(getattr(process, name)) for name in TIMES})


def _values(stored: Stored, environments: list[Environment]) -> dict[str, object]:
    """A point as the file holds it, without its key."""
    seen = {name: getattr(stored.baseline.observed, name) for name in SEEN}
    processes = [
        {
            **{name: getattr(process, name) for name in (*TIMES, "samples")},
            "environment": environments.index(environment),
        }
        for process, environment in zip(stored.baseline.processes, stored.environments, strict=True)
    ]
    return {
        "clock": stored.clock,
        "experts": stored.experts,
        **seen,
        "wall_median_ns": stored.wall_median_ns,
        "attained": stored.attained,
        "processes": processes,
    }


def _stored(raw: Mapping[str, Any], environments: list[Environment]) -> Stored:
    if not isinstance(raw["processes"], list) or not 1 <= len(raw["processes"]) <= KEPT:
        raise ValueError(f"processes must be a list of 1 to {KEPT}")
    processes = [_process(process, len(environments)) for process in raw["processes"]]
    seen = {name: None if raw[name] is None else whole(raw, name) for name in SEEN}
    return Stored(
        Baseline(tuple(process for process, _ in processes), Observed(**seen)),
        _clock(raw["clock"]),
        _text(raw, "experts"),
        None if raw["wall_median_ns"] is None else whole(raw, "wall_median_ns", least=1),
        tuple(environments[index] for _, index in processes),
        _attained(raw["attained"]),
    )


def _attained(value: object) -> float | None:
    if value is not None and not (isinstance(value, float) and 0 < value <= 1):
        raise ValueError(f"attained must be null or a fraction above 0, got {quoted(value)}")
    return value


def _process(raw: object, environments: int) -> tuple[Process, int]:
    fields = exactly(raw, (*TIMES, "samples", "environment"))
    process = _ordered(Process(*(whole(fields, name, least=1) for name in (*TIMES, "samples"))))
    index = whole(fields, "environment")
    if index >= environments:
        raise ValueError(f"environment {index} is not there: the file has {environments}, counted from 0")
    return process, index


def _ordered(process: Process) -> Process:
    q1, median, q3 = process.q1_ns, process.median_ns, process.q3_ns
    if not 1 <= q1 <= median <= q3:
        raise ValueError(f"median_ns must lie between q1_ns, at least 1, and q3_ns, got {median} of {q1} to {q3}")
    return process


def _environment(raw: object) -> Environment:
    fields = exactly({"host": None, **raw} if isinstance(raw, dict) else raw, ENVIRONMENT)  # once it was not recorded
    return {name: _text(fields, name) for name in ENVIRONMENT}


def _text(raw: Mapping[str, Any], name: str) -> str | None:
    value = raw[name]
    if value is not None and not isinstance(value, str):
        raise ValueError(f"{name} must be text or null, got {quoted(value)}")
    return value


def _clock(name: object) -> str:
    if not isinstance(name, str) or name not in CLOCKS:
        raise ValueError(f"clock must be one of {', '.join(CLOCKS)}, got {quoted(name)}")
    return name


def _shown(value: str | None) -> str:
    return "unknown" if value is None else value
