"""Times as recorded: a JSON file for each model, GPU and stage, every recorded process with its provenance."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path

from ..errors import BaselineError
from ..files import atomic
from ..files.text import quoted
from .attribution import Observed
from .counted import SCHEMA, Document, PointKey, Recorded, exactly, render, rows, whole
from .evidence import Baseline, Process
from .json_layout import Json
from .measurement import ENVIRONMENT, Environment
from .point_profile import compact
from .power_cap import POWER_CAPPED, recorded
from .recorded_time import KEPT, RecordedTime, TimedProcess, comparable, joined, known_clock, ordered

TIMES = ("median_ns", "q1_ns", "q3_ns")
SEEN = ("tensor_flops", "kernels", "peak_bytes", "sm_clock_mhz")
FIELDS = ("clock", "experts", *SEEN, "wall_median_ns", "attained", "processes")
OPTIONAL = ("profile",)  # earlier versions did not record it, nor does a run that profiles nothing

TimedPoints = dict[PointKey, RecordedTime]


def gpu_folder(name: str | None) -> str:
    """The folder of a GPU's times, `nvidia-h200` for `NVIDIA H200`; `cpu` where there is no GPU."""
    if name is None:
        return "cpu"
    folder = re.sub(r"[^a-z0-9.]+", "-", name.lower()).strip("-.")
    if not folder:
        raise BaselineError(f"a GPU's name needs a letter or a digit to be a folder, got {quoted(name)}")
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


def record(
    path: Path, model: str, gpu: str, stage: str, found: Mapping[PointKey, tuple[TimedProcess, bool]]
) -> Recorded:
    """Merge what a run found into the file; other points stay. Raises BaselineError, OSError.

    The bool says that the gate did not find the point moved: then the process joins the point's evidence
    (counted as `same`). Where it moved, or is not comparable any more, the point starts anew (`changed`). Several
    processes may record at once.
    """
    with atomic.locked(path):
        old, known = _load(path, model, gpu, stage)
        agreeing = {
            key: old[key]
            for key, (timed, agrees) in found.items()
            if agrees and key in old and comparable(old[key], timed)
        }
        merged = {**old, **{key: joined(agreeing.get(key), timed) for key, (timed, _) in found.items()}}
        if found:
            atomic.replace(path, dump(model, gpu, stage, merged, known))
    added = len(found.keys() - old.keys())
    return Recorded(path, added, len(found) - added - len(agreeing), len(agreeing), removed=0)


def change(path: Path, model: str, gpu: str, stage: str, changed: Callable[[TimedPoints], TimedPoints]) -> TimedPoints:
    """Write the points that `changed` makes of the file's, beside its others; gives what was there before.

    Raises BaselineError, OSError.
    """
    with atomic.locked(path):
        old, known = _load(path, model, gpu, stage)
        new = {**old, **changed(old)}
        if new != old:
            atomic.replace(path, dump(model, gpu, stage, new, known))
    return old


def remove(path: Path, model: str, gpu: str, stage: str, keys: Collection[PointKey]) -> Recorded:
    """Take the points of these keys out of the file. Raises BaselineError, OSError."""
    with atomic.locked(path):
        old, known = _load(path, model, gpu, stage)
        left = {key: time for key, time in old.items() if key not in keys}
        atomic.replace(path, dump(model, gpu, stage, left, known))
    return Recorded(path, 0, 0, len(left), len(old) - len(left))


def dump(model: str, gpu: str, stage: str, points: TimedPoints, known: Iterable[Environment] = ()) -> str:
    """The file's text; environments keep the order of `known`, so that a line changes only with its point."""
    used = [environment for stored in points.values() for environment in stored.environments]
    environments: list[Environment] = []
    for environment in (*known, *used):
        if environment in used and environment not in environments:
            environments.append(environment)
    values = {key: _values(stored, environments) for key, stored in points.items()}
    listed = [{name: getattr(environment, name) for name in ENVIRONMENT} for environment in environments]
    return render(_about(model, gpu, stage), environments=listed, points=rows(values))


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
    return document.points(FIELDS, lambda raw: _stored(raw, environments), OPTIONAL), environments


def _values(stored: RecordedTime, environments: list[Environment]) -> dict[str, object]:
    """A point as the file holds it, without its key."""
    seen = {name: getattr(stored.baseline.observed, name) for name in SEEN}
    processes = [
        {
            **{name: getattr(process, name) for name in (*TIMES, "samples")},
            "environment": environments.index(environment),
            **({"power_cap": POWER_CAPPED.write(process.power_cap)} if process.power_cap else {}),
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
        **({"profile": stored.profile.compact()} if stored.profile else {}),
    }


def _stored(raw: Json, environments: list[Environment]) -> RecordedTime:
    if not isinstance(raw["processes"], list) or not 1 <= len(raw["processes"]) <= KEPT:
        raise ValueError(f"processes must be a list of 1 to {KEPT}")
    processes = [_process(process, len(environments)) for process in raw["processes"]]
    seen = (None if raw[name] is None else whole(raw, name) for name in SEEN)
    return RecordedTime(
        Baseline(tuple(process for process, _ in processes), Observed(None, *seen)),  # in the order of its fields
        known_clock(raw["clock"]),
        _text(raw, "experts"),
        None if raw["wall_median_ns"] is None else whole(raw, "wall_median_ns", least=1),
        tuple(environments[index] for _, index in processes),
        _attained(raw["attained"]),
        compact(raw["profile"]),
    )


def _attained(value: object) -> float | None:
    if value is not None and not (isinstance(value, float) and 0 < value <= 1):
        raise ValueError(f"attained must be null or a fraction above 0, got {quoted(value)}")
    return value


def _process(raw: object, environments: int) -> tuple[Process, int]:
    capped = ("power_cap",) if isinstance(raw, dict) and "power_cap" in raw else ()
    fields = exactly(raw, (*TIMES, "samples", "environment", *capped))
    times = (whole(fields, name, least=1) for name in (*TIMES, "samples"))
    process = ordered(Process(*times, power_cap=recorded(fields["power_cap"]) if capped else None))
    index = whole(fields, "environment")
    if index >= environments:
        raise ValueError(f"environment {index} is not there: the file has {environments}, counted from 0")
    return process, index


def _environment(raw: object) -> Environment:
    fields = exactly({"host": None, **raw} if isinstance(raw, dict) else raw, ENVIRONMENT)  # once it was not recorded
    return Environment(*(_text(fields, name) for name in ENVIRONMENT))


def _text(raw: Json, name: str) -> str | None:
    value = raw[name]
    if value is not None and not isinstance(value, str):
        raise ValueError(f"{name} must be text or null, got {quoted(value)}")
    return value
