"""A report's JSON as rows of sweep.sqlite, and back."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from ..baselines.json_layout import Json
from ..baselines.result import COSTS, NAMES
from .sqlite_schema import CLOCKED, NULLABLE, POINT, RUN

OF_A_RUN = ("points", "components", "samples")
Flat = dict[tuple[str, ...], Any]  # a document's values by their paths


def append(db: sqlite3.Connection, document: Json, digest: str) -> int:
    """Add a document as a run, and give its number. Raises sqlite3.Error, also where rows of no run have it."""
    points = document["points"]
    values, more = _columns(RUN, _flat({name: value for name, value in document.items() if name != "points"}))
    now = datetime.now(UTC).isoformat(timespec="seconds")
    names = ("written_utc", "sha256", *RUN, "more")
    run = db.execute(_insert("runs", names), (now, digest, *values, more)).lastrowid
    assert run is not None
    if any(db.execute(f"SELECT 1 FROM {table} WHERE run = ? LIMIT 1", (run,)).fetchone() for table in OF_A_RUN):
        raise sqlite3.IntegrityError(f"rows of no run have the number {run}")  # they would become this run's
    rows, components, samples = [], [], []
    for point in points:
        at, flat = (run, *(point[name] for name in NAMES)), _flat(point)
        for position, part in enumerate(point["components"]):
            components.append((*at, part, position, *(flat.pop(("components", part, name)) for name in COSTS)))
        for clocked in CLOCKED:
            taken = flat.pop(("vendor", clocked, "samples"), ())
            samples += [(*at, clocked, position, time_ns) for position, time_ns in enumerate(taken)]
        for absent in (("components",), *NULLABLE):  # left only where it holds nothing
            flat.pop(absent, None)
        values, more = _columns(POINT, flat)
        rows.append((run, *values, more))
    db.executemany(_insert("points", ("run", *POINT, "more")), rows)
    db.executemany(_insert("components", ("run", *NAMES, "part", "position", *COSTS)), components)
    db.executemany(_insert("samples", ("run", *NAMES, "clocked", "position", "time_ns")), samples)
    return run


def document(db: sqlite3.Connection, run: int) -> Json:
    """The document of a run. Raises KeyError, ValueError where the tables do not fit together."""

    def rows(table: str, *columns: str, order: str) -> sqlite3.Cursor:
        return db.execute(f"SELECT {', '.join(columns)} FROM {table} WHERE run = ? ORDER BY {order}", (run,))

    (about,) = rows("runs", *RUN, "more", order="run")
    points: dict[tuple[str, ...], Flat] = {}
    for values in rows("points", *POINT, "more", order="rowid"):
        columns, flat = dict(zip(POINT, values, strict=False)), _paths(POINT, values)
        flat["components",] = {}
        for clocked in CLOCKED:
            flat["vendor", clocked, "samples"] = []
        for part, column in NULLABLE.items():
            if columns[column] is None:
                flat = {**{path: value for path, value in flat.items() if path[: len(part)] != part}, part: None}
        points[tuple(columns[name] for name in NAMES)] = flat
    for *at, part, tensor, vector, read_bytes, written in rows("components", *NAMES, "part", *COSTS, order="position"):
        flat = points[tuple(at)]
        flat.pop(("components",), None)
        for name, number in zip(COSTS, (tensor, vector, read_bytes, written), strict=True):
            flat["components", part, name] = number
    for *at, clocked, time_ns in rows("samples", *NAMES, "clocked", "time_ns", order="position"):
        points[tuple(at)]["vendor", clocked, "samples"].append(time_ns)
    return {**_nested(_paths(RUN, about)), "points": [_nested(flat) for flat in points.values()]}


def _columns(paths: Mapping[str, tuple[str, ...]], flat: Flat) -> tuple[list[object], str]:
    """The values that have a column, NULL where there are none, and the others as JSON."""
    values = [flat.pop(path, None) for path in paths.values()]
    return values, json.dumps(_nested(flat))


def _paths(paths: Mapping[str, tuple[str, ...]], values: Sequence[Any]) -> Flat:
    """Back from the columns and the JSON after them."""
    more = json.loads(values[-1])
    if not isinstance(more, dict):
        raise ValueError(f"more is not a JSON object: {more!r:.80}")
    return {**dict(zip(paths.values(), values, strict=False)), **_flat(more)}


def _flat(tree: Mapping[str, object], at: tuple[str, ...] = ()) -> Flat:
    """Every value that is no object, or an empty one, by its path."""
    found: Flat = {}
    for name, value in tree.items():
        found |= _flat(value, (*at, name)) if isinstance(value, dict) and value else {(*at, name): value}
    return found


def _nested(flat: Flat) -> Json:
    tree: Json = {}
    for path, value in flat.items():
        branch = tree
        for name in path[:-1]:
            branch = branch.setdefault(name, {})
        branch[path[-1]] = value
    return tree


def _insert(table: str, columns: Iterable[str]) -> str:
    names = list(columns)
    return f"INSERT INTO {table} ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})"
