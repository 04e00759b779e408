"""Times as recorded: a JSON file for each model, GPU and stage, every recorded process with its provenance."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path

from ..errors import BaselineError
from ..files import atomic
from . import anchor, history
from .anchor import Became, Drift
from .counted import SCHEMA, Document, render
from .gpu_folder import gpu_folder as gpu_folder
from .history import Entry, History
from .measurement import Environment
from .own import CALL, FOLDER
from .point_key import PointKey, rows
from .recorded_file import Recorded
from .recorded_time import RecordedTime, TimedProcess, expected_of
from .timed_rows import (
    FIELDS,
    OPTIONAL,
    about_environment,
    environments_of,
    read_environment,
    stored_time,
    values,
)

TimedPoints = dict[PointKey, RecordedTime]


def gpu_folders(folder: Path, model: str) -> list[str]:
    """The GPUs, as folders, of which any times of `model` are recorded."""
    return sorted(path.name for path in (folder / model / "timed").glob("*") if path.is_dir())


def own_names(folder: Path, model: str) -> list[str]:
    """The names of code of the user's own of which any times are recorded, beside those of `model`."""
    return sorted(path.parent.name for path in (folder / model / FOLDER).glob("*/timed") if path.is_dir())


def file_of(folder: Path, model: str, gpu: str, stage: str) -> Path:
    """Where the times of `model` at `stage` on `gpu`, a gpu_folder, are recorded."""
    return folder / model / "timed" / gpu / f"{stage}.json"


def check_histories(folder: Path, model: str) -> None:
    """Raises BaselineError for a history that an update could not add to."""
    for path in sorted((folder / model / "timed").glob("*/*.history.jsonl")):
        history.read(path)


def read(path: Path, model: str, gpu: str, stage: str) -> TimedPoints:
    """The recorded points; none without a file. Raises BaselineError for a file that cannot be trusted."""
    return _load(path, model, gpu, stage)[0]


def read_all(folder: Path, model: str, stages: Iterable[str]) -> dict[tuple[str, str], TimedPoints]:
    """All recorded times of `model`, by GPU's folder and stage. Raises BaselineError for a damaged file."""
    files = [(gpu, stage) for gpu in gpu_folders(folder, model) for stage in stages]
    return {(gpu, stage): read(file_of(folder, model, gpu, stage), model, gpu, stage) for gpu, stage in files}


def record(
    path: Path,
    model: str,
    gpu: str,
    stage: str,
    found: Mapping[PointKey, tuple[TimedProcess, bool | None]],
    date: str | None = None,
) -> Recorded:
    """Merge what a run found into the file; other points stay. Raises BaselineError, OSError.

    The bool says that the gate did not find the point moved, None that it did not judge: `anchor.update` has the rules.
    Each process is a line of the history too, and is there before the file changes: nothing is lost between the two.
    Several processes may record at once.
    """
    date = date or history.now()
    with atomic.locked(path):
        old, known = _load(path, model, gpu, stage)
        past = history.read(history.file_of(path))
        noise = expected_of(old.values())
        steps = {
            key: anchor.update(old.get(key), timed, date, agrees=agrees, expected=noise)
            for key, (timed, agrees) in found.items()
        }
        if found:
            entries = [
                history.entry(key, timed, date, steps[key].became)
                for key, (timed, _) in found.items()
                if not _only_in_history(past, key, timed, old.get(key))
            ]
            history.append(history.file_of(path), past, entries)
            merged = {**old, **{key: step.stored for key, step in steps.items()}}
            atomic.replace(path, dump(model, gpu, stage, merged, known))
    became = Counter(step.became for step in steps.values())
    lines = [step.about(f"{stage} {key}".rstrip()) for key, step in steps.items()]
    return Recorded(
        path,
        added=became[Became.FIRST],
        changed=became[Became.MOVED],
        same=became[Became.AGREES],
        removed=0,
        kept=became[Became.DISAGREES],
        lines=(*_about_torn(past, path), *filter(None, lines)),
    )


def _only_in_history(past: History, key: PointKey, timed: TimedProcess, stored: RecordedTime | None) -> bool:
    """Whether a run was killed that had added this very process to the history, and not yet to the file.

    It need not be the last one there: entries are in the order of their dates, and a clock may have been ahead.
    """
    is_there = any(entry.taken.anywhere == timed.taken.anywhere for entry in past.of(key))
    return is_there and not (stored and stored.holds(timed))


def _about_torn(past: History, path: Path) -> list[str]:
    name = history.file_of(path)
    return [f"{name}: its last line was torn, and is left out: a writer was killed"] if past.torn else []


def change(
    path: Path,
    model: str,
    gpu: str,
    stage: str,
    changed: Callable[[TimedPoints], TimedPoints],
    entries: Collection[Entry] = (),
) -> TimedPoints:
    """Write the points that `changed` makes of the file's, beside its others; gives what was there before.

    `entries` join the history, as far as it does not have them. Raises BaselineError, OSError.
    """
    with atomic.locked(path):
        old, known = _load(path, model, gpu, stage)
        past = history.read(history.file_of(path))
        new = {**old, **changed(old)}
        there = set(past.entries)
        history.append(history.file_of(path), past, [entry for entry in entries if entry not in there])
        if new != old:
            atomic.replace(path, dump(model, gpu, stage, new, known))
    return old


def accept(path: Path, model: str, gpu: str, stage: str, key: PointKey, by: str, date: str | None = None) -> Drift:
    """Make the point's latest processes its anchor; gives how far they were from the old one.

    Raises BaselineError, also for a point that is not recorded; OSError.
    """
    date = date or history.now()
    with atomic.locked(path):
        old, known = _load(path, model, gpu, stage)
        if key not in old:
            what = f"{path}: no time of {f'{stage} {key}'.rstrip()} is recorded;"
            raise BaselineError(what, "`ocrsweep history` lists the points")
        past, stored = history.read(history.file_of(path)), old[key]
        noise = anchor.noise_of(old.values())
        history.append(history.file_of(path), past, [history.acceptance(key, stored, date, by)])
        atomic.replace(path, dump(model, gpu, stage, {**old, key: anchor.accept(stored, date)}, known))
    return anchor.drift(stored, stored.baseline.time_ns, noise)


def remove(path: Path, model: str, gpu: str, stage: str, keys: Collection[PointKey]) -> Recorded:
    """Take the points of these keys out of the file. Raises BaselineError, OSError."""
    with atomic.locked(path):
        old, known = _load(path, model, gpu, stage)
        left = {key: time for key, time in old.items() if key not in keys}
        atomic.replace(path, dump(model, gpu, stage, left, known))
    return Recorded(path, 0, 0, len(left), len(old) - len(left))


def dump(model: str, gpu: str, stage: str, points: TimedPoints, known: Iterable[Environment] = ()) -> str:
    """The file's text; environments keep the order of `known`, so that a line changes only with its point."""
    used = [environment for stored in points.values() for environment in environments_of(stored)]
    environments: list[Environment] = []
    for environment in (*known, *used):
        if environment in used and environment not in environments:
            environments.append(environment)
    lines = {key: values(stored, environments) for key, stored in points.items()}
    listed = [about_environment(environment) for environment in environments]
    return render(_about(model, gpu, stage), environments=listed, points=rows(lines))


def _about(model: str, gpu: str, stage: str) -> dict[str, object]:
    return {"schema": SCHEMA, "model": model, "gpu": gpu, "stage": stage}


def _load(path: Path, model: str, gpu: str, stage: str) -> tuple[TimedPoints, list[Environment]]:
    document = Document.load(path, _about(model, gpu, stage), "environments", "points")
    environments: list[Environment] = []

    def take(raw: object) -> None:
        environment = read_environment(raw)
        if environment in environments:
            raise ValueError("it is given twice")
        environments.append(environment)

    document.each("environments", take)
    points = document.points(FIELDS, lambda raw: stored_time(raw, environments), OPTIONAL, calls=stage == CALL)
    return points, environments
