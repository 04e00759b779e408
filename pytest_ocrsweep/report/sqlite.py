"""Runs in one SQLite file: typed tables for whoever asks in SQL, from which each run's document can be read back."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from hashlib import sha256
from pathlib import Path

from ..baselines.json_layout import Json
from ..baselines.result_json import REMEDY, from_json, to_json
from ..baselines.sweep_report import Report
from ..errors import ReportError
from ..files import atomic, database
from ..files.text import printable
from .sqlite_rows import append, document
from .sqlite_schema import APPLICATION_ID, SQL, TABLES, VERSION
from .sqlite_upgrade import OLD_SQL, OLD_VERSION, VIEWS, add_views, as_before, upgrade

WAIT_S = 30  # for another process that writes to the file
FEW = 5  # runs that a sentence names
MISFITS = (KeyError, AttributeError, TypeError)  # of rows that do not belong together, or hold what their types forbid
WRITE = "write one with --ocrsweep-report=DIR"


def write(report: Report, path: Path) -> int:
    """Append a run, and give its number; if the file's last run is this report already, that one's.

    It is one transaction: a process that dies leaves the file as it was. Raises ReportError.
    """
    whole = to_json(from_json(to_json(report), f"{path} is not written"), fill=True)
    try:
        digest = _digest(whole)
        with atomic.locked(path):
            try:
                return _write(whole, digest, path)
            finally:
                if path.is_file() and not path.stat().st_size:
                    path.unlink()  # SQLite made it, and there was no room for more
    except ReportError:
        raise
    except sqlite3.Error as error:
        full = getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR)
        raise _unwritten(path, str(error), "free some space there, or " * full + "give another folder") from None
    except OSError as error:
        raise _unwritten(path, str(error.strerror), f"{atomic.remedy(error)}, or give another folder") from None
    except OverflowError:
        raise _unwritten(path, "a number is above 2^63, the most that SQLite holds") from None
    except UnicodeDecodeError as error:  # SQLite's message quotes the damage
        raise _unwritten(path, f"it is damaged: {error}", "move it away") from None
    except (UnicodeEncodeError, RecursionError) as error:
        what = "text that is not Unicode" if isinstance(error, UnicodeEncodeError) else "it is nested too deeply"
        raise _unwritten(path, what) from None
    except (ValueError, *MISFITS):
        raise _unwritten(path, "it is damaged: its tables do not fit together", "move it away") from None


def _write(whole: Json, digest: str, path: Path) -> int:
    with _opened(path, "rwc", writes=True) as db:
        db.execute("BEGIN IMMEDIATE")
        version = _version(db, path)
        if version == OLD_VERSION:
            _upgrade(db, path)
        elif version in VIEWS:
            _trust(db, path, version, TABLES + VIEWS[version])
            add_views(db, version)
        if not _is_ours(db, path):
            _lay_out(db)
            database.trust(db, SQL)
        last = db.execute("SELECT run, sha256 FROM runs ORDER BY run DESC LIMIT 1").fetchone()
        run = int(last[0]) if last and last[1] == digest else append(db, whole, digest)
        try:
            _verified(db, path, run)
        except ReportError:  # a damaged page loses rows without a word
            raise ValueError from None
        db.execute("COMMIT")
        return run


def _unwritten(path: Path, why: str, remedy: str | None = None) -> ReportError:
    what = f"the run cannot be written ({printable(why)}): nothing was changed{';' if remedy else ''}"
    return ReportError(f"{path}: {what}", remedy)


def runs(path: Path) -> list[int]:
    """The number of every run in the file, oldest first. Raises ReportError."""
    with reading(path) as db:
        return _numbers(db)


def read(path: Path, run: int | None = None) -> Report:
    """The report of a run, of the last one by default. Raises ReportError."""
    with reading(path) as db:
        numbers = _numbers(db)
        if not numbers:
            raise ReportError(f"{path}: it holds no run:", WRITE)
        if run is not None and run not in numbers:
            known = ", ".join(map(str, numbers)) if len(numbers) <= FEW else f"{numbers[0]} to {numbers[-1]}"
            raise ReportError(f"{path}: it has no run {run}:", f"choose from {known}")
        return _verified(db, path, numbers[-1] if run is None else run)


def _verified(db: sqlite3.Connection, path: Path, run: int) -> Report:
    """The report of a run. Raises ReportError if it is not the one that was written."""
    report = from_json(document(db, run), f"{path}: run {run}")
    (digest,) = db.execute("SELECT sha256 FROM runs WHERE run = ?", (run,)).fetchone()
    if _digest(to_json(report, fill=True)) != digest:
        raise ReportError(f"{path}: run {run} is not what was written (its sha256 differs);", REMEDY)
    return report


def _numbers(db: sqlite3.Connection) -> list[int]:
    return [number for (number,) in db.execute("SELECT run FROM runs ORDER BY run")]


@contextmanager
def _opened(path: Path, mode: str, writes: bool = False) -> Iterator[sqlite3.Connection]:
    if problem := database.too_old():
        raise ReportError(f"{path}: {problem}")
    with database.opened(path, mode, WAIT_S, writes) as db:
        yield db


@contextmanager
def reading(path: Path) -> Iterator[sqlite3.Connection]:
    if not path.is_file():
        raise ReportError(f"{path}: there is no such file:", WRITE)
    try:
        with _opened(path, "rw") as db:  # after a killed write SQLite must roll its journal back first
            db.execute("BEGIN")  # one state of the file, whoever writes meanwhile
            if _version(db, path) == OLD_VERSION:
                with closing(sqlite3.connect(":memory:", isolation_level=None)) as copy:
                    copy.execute("PRAGMA trusted_schema = OFF")
                    db.backup(copy)  # the file stays as it is until somebody adds a run
                    _upgrade(copy, path)
                    yield copy
            elif not _is_ours(db, path):
                raise ReportError(f"{path}: it holds no run:", WRITE)
            else:
                yield db
    except ReportError:
        raise
    except OSError as error:
        raise ReportError(f"{path}: it cannot be read ({error.strerror}):", "give another file") from None
    except (sqlite3.Error, ValueError) as error:
        raise ReportError(f"{path}: it cannot be read ({printable(str(error))});", REMEDY) from None
    except (*MISFITS, RecursionError):
        raise ReportError(f"{path}: it cannot be read (its tables do not fit together);", REMEDY) from None


def _version(db: sqlite3.Connection, path: Path) -> int | None:
    """The version of our tables; None for an empty file. Raises ReportError for somebody else's."""
    application, version = (db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version"))
    if application != APPLICATION_ID:
        if application or version or db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            raise ReportError(f"{path}: it is a SQLite database, but not one of sweeps:", "give another file")
        return None
    return int(version)


def _is_ours(db: sqlite3.Connection, path: Path) -> bool:
    """Whether the tables are there; False for an empty file. Raises ReportError for somebody else's."""
    version = _version(db, path)
    if version is None:
        return False
    if version in VIEWS:  # nobody reads a view here
        _trust(db, path, version, TABLES + VIEWS[version])
        return True
    if version != VERSION:
        raise ReportError(f"{path}: its tables are of version {version}, but this one uses {VERSION}:", REMEDY)
    _trust(db, path, VERSION, SQL)
    return True


def _trust(db: sqlite3.Connection, path: Path, version: int, sql: str) -> None:
    if difference := database.trust(db, sql):
        raise ReportError(f"{path}: {difference}, so it is not a database of version {version}:", REMEDY)


def _upgrade(db: sqlite3.Connection, path: Path) -> None:
    """Today's tables in place of the old ones; a digest that was right is right of the new document too."""
    _trust(db, path, OLD_VERSION, OLD_SQL)
    upgrade(db, lambda: _lay_out(db))
    for run, digest in db.execute("SELECT run, sha256 FROM runs").fetchall():
        whole = to_json(from_json(document(db, run), f"{path}: run {run}"))
        if _digest(as_before(whole)) == digest:
            db.execute("UPDATE runs SET sha256 = ? WHERE run = ?", (_digest(whole), run))


def _lay_out(db: sqlite3.Connection) -> None:
    for statement in SQL.split(";\n"):
        db.execute(statement)
    db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    db.execute(f"PRAGMA user_version = {VERSION}")


def _digest(document: Mapping[str, object]) -> str:
    return sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()
