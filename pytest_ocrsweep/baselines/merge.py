"""Baselines that separate runs recorded are merged into a folder, as if one run had recorded them all there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TypeVar

from ..errors import BaselineError
from ..model.stages import STAGES
from . import counted, gate, history, serving_merge, timed
from .anchor import AGREEING
from .counted import PointKey
from .evidence import Baseline
from .history import Entry
from .journal import SUFFIX
from .own import CALL, FOLDER
from .recorded_file import Recorded
from .recorded_time import KEPT, RecordedTime, Taken, expected_of, incomparable
from .timed import TimedPoints

T = TypeVar("T")
REMEDY = "merge runs of one project, into the folder of baselines that all of them began with"


def merge(sources: Sequence[Path], folder: Path) -> list[Recorded]:
    """Add to `folder` what each source has otherwise than `folder`; other points stay, as in an update.

    Nothing is written if sources contradict each other. Raises BaselineError, which names both; OSError.
    """
    writes: list[Callable[[], Recorded]] = []
    for model in _models(sources):
        for stage in STAGES:
            writes += _counted(sources, folder, model, stage)
            for gpu in sorted({gpu for source in sources for gpu in timed.gpu_folders(source, model)}):
                writes += _timed(sources, folder, model, gpu, stage)
        for name in sorted({name for source in sources for name in timed.own_names(source, model)}):
            own = f"{model}/{FOLDER}/{name}"
            for gpu in sorted({gpu for source in sources for gpu in timed.gpu_folders(source, own)}):
                for stage in (*STAGES, CALL):
                    writes += _timed(sources, folder, own, gpu, stage)
        writes += serving_merge.writes(sources, folder, model)
    return [write() for write in writes]


def journals(sources: Sequence[Path]) -> list[Path]:
    """Where killed runs left times that no file of baselines has."""
    return sorted(path for source in sources for path in source.glob(f"*/timed/*/.*{SUFFIX}"))


def _models(sources: Sequence[Path]) -> list[str]:
    models = {source: _stages_of(source) | serving_merge.models(source) for source in sources}
    first = sources[0]
    for source, names in models.items():
        if not names:
            raise BaselineError(f"{source}: no baselines are recorded there;", "give a folder such as baselines")
        if not names & models[first]:
            other, own = (", ".join(sorted(models[each])) for each in (first, source))
            raise BaselineError(f"the model is {other} in {first}, but {own} in {source}:", REMEDY)
    return sorted(set().union(*models.values()))


def _stages_of(source: Path) -> set[str]:
    counted_models = {path.parent.name for stage in STAGES for path in source.glob(f"*/{stage}.json")}
    return counted_models | {path.parents[2].name for path in source.glob(f"*/{FOLDER}/*/timed")}


def _counted(sources: Sequence[Path], folder: Path, model: str, stage: str) -> list[Callable[[], Recorded]]:
    path = counted.file_of(folder, model, stage)
    there = {source: counted.read(counted.file_of(source, model, stage), model, stage) for source in sources}
    found = _changes(stage, there, counted.read(path, model, stage), _equal)
    return [partial(counted.record, path, model, stage, found)] if found else []


def _equal(old: dict[str, int], new: dict[str, int]) -> dict[str, int]:
    if different := [f"{name} {old[name]:,} and {new[name]:,}" for name in old if old[name] != new[name]]:
        raise ValueError(", ".join(different))
    return new


def _timed(sources: Sequence[Path], folder: Path, model: str, gpu: str, stage: str) -> list[Callable[[], Recorded]]:
    path = timed.file_of(folder, model, gpu, stage)
    there = {source: timed.read(timed.file_of(source, model, gpu, stage), model, gpu, stage) for source in sources}
    noise = expected_of(stored for points in there.values() for stored in points.values())
    found = _changes(stage, there, timed.read(path, model, gpu, stage), partial(_united, noise))
    past = [history.read(history.file_of(timed.file_of(source, model, gpu, stage))) for source in sources]
    entries = list(dict.fromkeys(entry for each in past for entry in each.entries))
    return [partial(_record, path, model, gpu, stage, found, noise, entries)] if found else []


def _changes(
    stage: str, there: Mapping[Path, Mapping[PointKey, T]], old: Mapping[PointKey, T], join: Callable[[T, T], T]
) -> dict[PointKey, T]:
    """The sources' points. What a run left as it is in the folder gives way to what another run recorded."""
    found: dict[PointKey, T] = {}
    recorded_by: dict[PointKey, Path] = {}
    for source, points in there.items():
        for key, value in points.items():
            if value == old.get(key):
                found.setdefault(key, value)
                continue
            try:
                found[key] = join(found[key], value) if key in recorded_by else value
            except ValueError as why:
                point = f"{stage} {key}".rstrip()
                raise BaselineError(f"{point}: {recorded_by[key]} and {source} have {why}:", REMEDY) from None
            recorded_by.setdefault(key, source)
    return found


def _record(
    path: Path, model: str, gpu: str, stage: str, found: TimedPoints, noise: float, entries: list[Entry]
) -> Recorded:
    """Times that agree with the recorded ones join their evidence; the others take their place, if they are of other
    work or three processes, and are kept beside them if they are fewer.
    """
    anew, kept = [], []

    def changed(old: TimedPoints) -> TimedPoints:
        return {key: joined(key, old[key]) if key in old else found[key] for key in found}

    def joined(key: PointKey, stored: RecordedTime) -> RecordedTime:
        try:
            return _united(noise, stored, found[key])
        except ValueError:
            new = found[key]
            if not _otherwise(stored, new) and len(new.taken) < AGREEING:
                kept.append(key)
                return replace(stored, pending=_both(stored.pending, new.taken)[-KEPT:])
            anew.append(key)
            return new

    old = timed.change(path, model, gpu, stage, changed, entries)
    added = len(found.keys() - old.keys())
    same = len(found) - added - len(anew) - len(kept)
    return Recorded(path, added, len(anew), same, removed=0, kept=len(kept))


def _otherwise(old: RecordedTime, new: RecordedTime) -> list[str]:
    """Why the times of two folders are not of the same work; empty if they are."""
    different = incomparable(old, new.clock, new.experts, new.environments[-1])
    flops = [each.baseline.observed.tensor_flops for each in (old, new)]
    if flops[0] != flops[1]:
        different.append(f"tensor_flops {flops[0]} -> {flops[1]}")
    return different


def _united(noise: float, old: RecordedTime, new: RecordedTime) -> RecordedTime:
    """The evidence of both, a process that both have once. Raises ValueError, with what contradicts."""
    different = _otherwise(old, new)
    before, now = old.baseline.time_ns, new.baseline.time_ns
    margin = max(gate.margin(each.baseline, noise) for each in (old, new))
    if abs(now / before - 1) > margin:
        different.append(f"time {before:,.0f} ns -> {now:,.0f} ns, margin {100 * margin:.1f} %")
    if different:
        raise ValueError(", ".join(different))
    kept = _both(old.taken, new.taken)[-KEPT:]
    processes, environments = zip(*kept, strict=True)
    return replace(
        new,
        baseline=Baseline(processes, new.baseline.observed),
        environments=environments,
        anchor=old.anchor or new.anchor,
        pending=_both(old.pending, new.pending)[-KEPT:],
    )


def _both(old: tuple[Taken, ...], new: tuple[Taken, ...]) -> tuple[Taken, ...]:
    """All processes, one that both have once."""
    more = Counter(new) - Counter(old)
    added = []
    for taken in new:
        if more[taken]:
            more[taken] -= 1
            added.append(taken)
    return (*old, *added)
