"""Serving figures that separate runs recorded are merged as an update merges them, run by run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from . import serving_store
from .recorded_file import Recorded
from .serving import ServingKey, ServingRun

ANY = f"{serving_store.FOLDER}/*/*.json"  # below a model's folder


def models(source: Path) -> set[str]:
    """The models of which serving figures are recorded there."""
    return {path.parents[2].name for path in source.glob(f"*/{ANY}")}


def writes(sources: Sequence[Path], folder: Path, model: str) -> list[Callable[[], Recorded]]:
    """What records, in `folder`, the runs of the sources that it lacks. Raises BaselineError for a damaged file."""
    places = sorted({(path.parent.name, path.stem) for source in sources for path in (source / model).glob(ANY)})
    planned = []
    for gpu, engine in places:
        about = (model, gpu, engine)
        path = serving_store.file_of(folder, *about)
        there = serving_store.read(path, *about)
        runs = [
            (key, run)
            for source in sources
            for key, run in _runs(serving_store.file_of(source, *about), *about)
            if key not in there or not there[key].holds(run)
        ]
        if runs:
            planned.append(partial(serving_store.record, path, *about, runs))
    return list(planned)


def _runs(path: Path, model: str, gpu: str, engine: str) -> list[tuple[ServingKey, ServingRun]]:
    """Every run of a file, the oldest first."""
    points = serving_store.read(path, model, gpu, engine)
    return [(key, run) for key, stored in points.items() for run in (*stored.runs, *stored.pending)]
