"""Counted numbers as recorded: a JSON file for each model and stage, read strictly, written atomically."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from . import atomic
from .geometry import CropGrid, Workload
from .metrics import COUNTED, METRICS
from .stages import ATTENTION

SCHEMA = 1
WORKLOAD = ("prompt_tokens", "new_tokens", "batch", "resolution")
KEYS = (*WORKLOAD, "grid", "attention", *COUNTED)


class BaselineError(ValueError):
    """One line: which file, where in it, what is wrong, what to do."""


class Key(NamedTuple):
    """What a recorded point is found by, within one model and stage."""

    work: Workload
    attention: str


Points = dict[Key, dict[str, int]]


class Change(NamedTuple):
    """A number that is not what was recorded."""

    metric: str
    old: int
    new: int

    def __str__(self) -> str:
        difference = self.new - self.old
        percent = f"{100 * difference / self.old:+.4g} %" if self.old else "from 0"
        return (
            f"{self.metric}: old {self.old:,}, new {self.new:,} {METRICS[self.metric].unit}, "
            f"difference {difference:+,} ({percent})"
        )


@dataclass(frozen=True, slots=True)
class Recorded:
    """What an update did to one file."""

    path: Path
    added: int
    changed: int
    same: int
    removed: int


def file_of(folder: Path, model: str, stage: str) -> Path:
    """Where the points of `model` at `stage` are recorded."""
    return folder / model / f"{stage}.json"


def compare(old: Mapping[str, int], new: Mapping[str, int]) -> list[Change]:
    """Every number that differs at all."""
    return [Change(name, old[name], new[name]) for name in COUNTED if old[name] != new[name]]


def read(path: Path, model: str, stage: str) -> Points:
    """The recorded points; none without a file. Raises BaselineError for a file that cannot be trusted."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise _damaged(path, None, f"it cannot be read ({error})") from None
    try:
        document = json.loads(text, object_pairs_hook=_no_twice)
    except json.JSONDecodeError as error:
        raise _damaged(path, error.lineno, f"it is not JSON ({error.msg})") from None
    except (ValueError, RecursionError) as error:
        raise _damaged(path, None, str(error)) from None
    if not isinstance(document, dict) or document.keys() != {"schema", "model", "stage", "points"}:
        raise _damaged(path, None, "it must hold schema, model, stage and points, and nothing else")
    for name, wanted in (("schema", SCHEMA), ("model", model), ("stage", stage)):
        if document[name] != wanted or type(document[name]) is not type(wanted):
            raise _damaged(path, None, f"its {name} is {document[name]!r}, not {wanted!r}")
    if not isinstance(document["points"], list):
        raise _damaged(path, None, "its points are not a list")

    points: Points = {}
    for index, raw in enumerate(document["points"]):
        try:
            key, numbers = _point(raw)
            if key in points:
                raise ValueError(f"{key.work.grid} {key.attention} is recorded twice for one workload")
        except ValueError as error:
            raise _damaged(path, _line(text, index), f"point {index + 1}: {error}") from None
        points[key] = numbers
    return points


def record(path: Path, model: str, stage: str, found: Points, unused: Iterable[Key] = ()) -> Recorded:
    """Merge `found` into the file; other points stay, those in `unused` go. Raises BaselineError, OSError."""
    old = read(path, model, stage)
    gone = old.keys() & set(unused) - found.keys()
    merged = {key: numbers for key, numbers in {**old, **found}.items() if key not in gone}
    if merged != old:
        atomic.write(path, dump(model, stage, merged))
    same = sum(old.get(key) == numbers for key, numbers in found.items())
    added = len(found.keys() - old.keys())
    return Recorded(path, added, len(found) - added - same, same, len(gone))


def dump(model: str, stage: str, points: Points) -> str:
    """The file's text: sorted, one point a line, so that a diff reads as what changed."""
    rows = []
    for work, attention in sorted(points, key=_order):
        workload = {name: getattr(work, name) for name in WORKLOAD}
        point = {**workload, "grid": str(work.grid), "attention": attention, **points[Key(work, attention)]}
        rows.append("    " + json.dumps(point))
    head = "".join(
        f"  {json.dumps(name)}: {json.dumps(value)},\n"
        for name, value in (("schema", SCHEMA), ("model", model), ("stage", stage))
    )
    return "{\n" + head + '  "points": [\n' + ",\n".join(rows) + "\n  ]\n}\n"


def _order(key: Key) -> tuple[Any, ...]:
    return (*(getattr(key.work, name) for name in WORKLOAD), key.work.grid, key.attention)


def _point(raw: object) -> tuple[Key, dict[str, int]]:
    if not isinstance(raw, dict) or raw.keys() != set(KEYS):
        odd = sorted(raw.keys() ^ set(KEYS)) if isinstance(raw, dict) else [type(raw).__name__]
        raise ValueError(f"it must hold {', '.join(KEYS)}, and nothing else (see {', '.join(odd)})")
    for name in COUNTED:
        if type(raw[name]) is not int or raw[name] < 0:
            raise ValueError(f"{name} must be a whole number, got {raw[name]!r}")
    if raw["attention"] not in ATTENTION:
        raise ValueError(f"attention must be one of {', '.join(ATTENTION)}, got {raw['attention']!r}")
    if not isinstance(raw["grid"], str) or not isinstance(raw["resolution"], str):
        raise ValueError("grid and resolution must be text")
    work = Workload(CropGrid.parse(raw["grid"]), *(raw[name] for name in WORKLOAD))
    return Key(work, raw["attention"]), {name: raw[name] for name in COUNTED}


def _no_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError(f"a key is given twice in {json.dumps(found)[:80]}")
    return found


def _line(text: str, index: int) -> int | None:
    """The line of the point at `index`, as long as every point begins a line of its own, as we write them."""
    starts = [n for n, line in enumerate(text.splitlines(), 1) if line.lstrip().startswith('{"')]
    return starts[index] if index < len(starts) else None


def _damaged(path: Path, line: int | None, what: str) -> BaselineError:
    where = f"{path}:{line}" if line else str(path)
    return BaselineError(
        f"damaged baseline {where}: {what}; restore it (git checkout -- {path}), "
        "or delete it and run again with --ocrsweep-update"
    )
