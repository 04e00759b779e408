"""Runs in one SQLite file: typed tables for whoever asks in SQL, from which each run's document can be read back."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

from ..baselines.json_layout import Json
from ..baselines.result import COSTS, NAMES
from ..baselines.result_json import REMEDY, from_json, to_json
from ..baselines.sweep_report import Report
from ..errors import ReportError
from ..files import atomic, database
from ..files.text import printable
from .sqlite_schema import APPLICATION_ID, CLOCKED, NULLABLE, POINT, RUN, SQL, VERSION

WAIT_S = 30  # for another process that writes to the file
FEW = 5  # runs that a sentence names
WRITE = "write one with --ocrsweep-report=DIR"

Flat = dict[tuple[str, ...], Any]  # a document's values by their paths


class Run(NamedTuple):
    """A run in the file, in short."""

    run: int
    written_utc: str
    model: str
    gpu: str | None
    git_revision: str | None
    points: int


def write(report: Report, path: Path) -> int:
    """Append a run, and give its number; if the file's last run is this report already, that one's.

    It is one transaction: a process that dies leaves the file as it was. Raises ReportError.
    """
    document = to_json(from_json(to_json(report), f"{path} is not written"), fill=True)
    try:
        digest = _digest(document)
        with atomic.locked(path):
            try:
                return _write(document, digest, path)
            finally:
                if path.is_file() and not path.stat().st_size:
                    path.unlink()  # SQLite made it, and there was no room for more
    except sqlite3.Error as error:
        full = getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR)
        raise _unwritten(path, str(error), "free some space there, or " * full + "give another folder") from None
    except OSError as error:
        raise _unwritten(path, str(error.strerror), f"{atomic.remedy(error)}, or give another folder") from None
    except OverflowError:
        raise _unwritten(path, "a number is above 2^63, the most that SQLite holds") from None
    except (UnicodeEncodeError, RecursionError) as error:
        what = "text that is not Unicode" if isinstance(error, UnicodeEncodeError) else "it is nested too deeply"
        raise _unwritten(path, what) from None


def _write(document: Json, digest: str, path: Path) -> int:
    with _opened(path, "rwc", writes=True) as db:
        db.execute("BEGIN IMMEDIATE")
        if not _is_ours(db, path):
            _lay_out(db)
            database.trust(db, SQL)
        last = db.execute("SELECT run, sha256 FROM runs ORDER BY run DESC LIMIT 1").fetchone()
        run = int(last[0]) if last and last[1] == digest else _append(db, document, digest)
        db.execute("COMMIT")
        return run


def _unwritten(path: Path, why: str, remedy: str | None = None) -> ReportError:
    return ReportError(f"{path}: the run cannot be written ({why}): nothing was changed{';' if remedy else ''}", remedy)


def runs(path: Path) -> list[Run]:
    """Every run of the file, oldest first. Raises ReportError."""
    with _reading(path) as db:
        return [
            Run(*row)
            for row in db.execute(
                "SELECT run, written_utc, model, gpu, git_revision, (SELECT count(*) FROM points "
                "WHERE points.run = runs.run) FROM runs ORDER BY run"
            )
        ]


def read(path: Path, run: int | None = None) -> Report:
    """The report of a run, of the last one by default. Raises ReportError."""
    with _reading(path) as db:
        numbers = [number for (number,) in db.execute("SELECT run FROM runs ORDER BY run")]
        if not numbers:
            raise ReportError(f"{path}: it holds no run:", WRITE)
        if run is not None and run not in numbers:
            told = ", ".join(map(str, numbers[-FEW:])) if len(numbers) <= FEW else f"{numbers[0]} to {numbers[-1]}"
            raise ReportError(f"{path}: it has no run {run}:", f"choose from {told}")
        run = numbers[-1] if run is None else run
        found = _document(db, run)
        (digest,) = db.execute("SELECT sha256 FROM runs WHERE run = ?", (run,)).fetchone()
    report = from_json(found, f"{path}: run {run}")
    if _digest(to_json(report, fill=True)) != digest:
        raise ReportError(f"{path}: run {run} is not what was written (its sha256 differs);", REMEDY)
    return report


@contextmanager
def _opened(path: Path, mode: str, writes: bool = False) -> Iterator[sqlite3.Connection]:
    if problem := database.too_old():
        raise ReportError(f"{path}: {problem}")
    with database.opened(path, mode, WAIT_S, writes) as db:
        yield db


@contextmanager
def _reading(path: Path) -> Iterator[sqlite3.Connection]:
    if not path.is_file():
        raise ReportError(f"{path}: there is no such file:", WRITE)
    try:
        with _opened(path, "rw") as db:  # after a killed write SQLite must roll its journal back first
            db.execute("BEGIN")  # one state of the file, whoever writes meanwhile
            if not _is_ours(db, path):
                raise ReportError(f"{path}: it holds no run:", WRITE)
            yield db
    except ReportError:
        raise
    except OSError as error:
        raise ReportError(f"{path}: it cannot be read ({error.strerror}):", "give another file") from None
    except (sqlite3.Error, ValueError) as error:
        raise ReportError(f"{path}: it cannot be read ({printable(str(error))});", REMEDY) from None
    except (KeyError, AttributeError, RecursionError):
        raise ReportError(f"{path}: it cannot be read (its tables do not fit together);", REMEDY) from None


def _is_ours(db: sqlite3.Connection, path: Path) -> bool:
    """Whether the tables are there; False for an empty file. Raises ReportError for somebody else's."""
    application, version = (db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version"))
    if application != APPLICATION_ID:
        if application or version or db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            raise ReportError(f"{path}: it is a SQLite database, but not one of sweeps:", "give another file")
        return False
    if version != VERSION:
        raise ReportError(f"{path}: its tables are of version {version}, but this one uses {VERSION}:", REMEDY)
    if difference := database.trust(db, SQL):
        raise ReportError(f"{path}: {difference}, so it is not a database of version {VERSION}:", REMEDY)
    return True


def _lay_out(db: sqlite3.Connection) -> None:
    for statement in SQL.split(";\n"):
        db.execute(statement)
    db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    db.execute(f"PRAGMA user_version = {VERSION}")


def _append(db: sqlite3.Connection, document: Json, digest: str) -> int:
    points = document["points"]
    values, more = _columns(RUN, _flat({name: value for name, value in document.items() if name != "points"}))
    now = datetime.now(UTC).isoformat(timespec="seconds")
    names = ("written_utc", "sha256", *RUN, "more")
    run = db.execute(_insert("runs", names), (now, digest, *values, more)).lastrowid
    assert run is not None
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


def _document(db: sqlite3.Connection, run: int) -> Json:
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


def _digest(document: Mapping[str, object]) -> str:
    return sha256(json.dumps(document, sort_keys=True, allow_nan=False).encode()).hexdigest()
