"""SQLite files that others wrote: nothing that a file's schema says is run unless the schema is ours to the letter.

SQLite runs the SQL of the file that it opens: an index on an expression at an insert, a view or a generated column at a
read, a trigger, a CHECK, a default; and it follows what lies beside the file under the names of its journals.
"""

from __future__ import annotations

import errno
import os
import re
import sqlite3
import stat
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from itertools import count
from pathlib import Path

MAGIC = b"SQLite format 3\0"
OLDEST = (3, 37)  # the first SQLite with STRICT tables
BESIDE = ("-journal", "-wal", "-shm")  # what SQLite opens with a file
NAMES_ANOTHER = bytes.fromhex("d9d505f920a163d7")  # ends a journal that names another file, which SQLite would delete
HASTE = 10, 10_000  # to look at a schema: so many times so many steps of SQLite's machine
GUARDS = {
    "trusted_schema": "OFF",
    "cell_size_check": "ON",  # a damaged page is found before it is used
    "mmap_size": 0,  # a file that shrinks meanwhile is an error, not a crash
    "foreign_keys": "ON",
    "synchronous": "EXTRA",  # the folder too: a loss of power brings no journal back
}
LIMITS = {
    sqlite3.SQLITE_LIMIT_LENGTH: 1 << 26,  # bytes of a value or a row
    sqlite3.SQLITE_LIMIT_SQL_LENGTH: 1 << 16,
    sqlite3.SQLITE_LIMIT_COLUMN: 200,
    sqlite3.SQLITE_LIMIT_EXPR_DEPTH: 100,
    sqlite3.SQLITE_LIMIT_COMPOUND_SELECT: 10,
    sqlite3.SQLITE_LIMIT_FUNCTION_ARG: 10,
    sqlite3.SQLITE_LIMIT_ATTACHED: 0,
    sqlite3.SQLITE_LIMIT_LIKE_PATTERN_LENGTH: 100,
    sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER: 200,
    sqlite3.SQLITE_LIMIT_TRIGGER_DEPTH: 10,  # a foreign key that cascades is one
    sqlite3.SQLITE_LIMIT_WORKER_THREADS: 0,
}


def too_old() -> str | None:
    """What is wrong with Python's SQLite, if it is too old for STRICT tables."""
    if sqlite3.sqlite_version_info >= OLDEST:
        return None
    return f"Python's SQLite is {sqlite3.sqlite_version}: {'.'.join(map(str, OLDEST))} or later is needed"


def application(path: Path) -> int | None:
    """The application_id that the file's header gives; None for what is no SQLite file. Raises OSError."""
    if not path.is_file():
        return None
    with path.open("rb") as file:
        header = file.read(72)
    return int.from_bytes(header[68:72], "big") if header.startswith(MAGIC) else None


@contextmanager
def opened(path: Path, mode: str, wait_s: float = 5, writes: bool = False) -> Iterator[sqlite3.Connection]:
    """A connection with narrow limits, whose transactions are begun and ended by hand; `mode` as in SQLite's URIs.

    Only little may be run in it until `trust` has seen its schema. What is not committed at the end is rolled back.
    Raises OSError, sqlite3.Error.
    """
    _refuse_beside(path)
    uri = f"{path.absolute().as_uri()}?mode={mode}"
    with closing(sqlite3.connect(uri, uri=True, timeout=wait_s, isolation_level=None)) as database:
        for limit, most in LIMITS.items():
            database.setlimit(limit, most)
        steps = count(1)
        database.set_progress_handler(lambda: next(steps) > HASTE[0], HASTE[1])
        for name, value in GUARDS.items():
            database.execute(f"PRAGMA {name} = {value}")
        if not writes:
            database.execute("PRAGMA query_only = ON")
        yield database


def _refuse_beside(path: Path) -> None:
    """Raises OSError where SQLite would wait for a pipe, write to another file, or delete one that a journal names."""
    for file in (path, *(Path(f"{path}{suffix}") for suffix in BESIDE)):
        with suppress(FileNotFoundError):
            status = os.stat(file) if file == path else os.lstat(file)
            if stat.S_ISDIR(status.st_mode) and file == path:
                continue  # SQLite has a message for it
            if not stat.S_ISREG(status.st_mode):
                raise OSError(errno.EINVAL, f"{file.name} is not a regular file", str(path))
            if status.st_nlink > 1 and file != path:  # SQLite writes to it, and so to what another name leads to
                raise OSError(errno.EINVAL, f"{file.name} has another name", str(path))
    with suppress(FileNotFoundError), open(f"{path}-journal", "rb") as journal:
        journal.seek(-min(len(NAMES_ANOTHER), journal.seek(0, os.SEEK_END)), os.SEEK_END)
        if journal.read() == NAMES_ANOTHER:
            raise OSError(errno.EINVAL, f"{path.name}-journal names another file", str(path))


def trust(database: sqlite3.Connection, script: str) -> str | None:
    """Lifts the limit on time if the database has what `script` creates, word for word, and nothing else.

    Else it says what differs.
    """
    with closing(sqlite3.connect(":memory:")) as fresh:
        fresh.executescript(script)
        wanted, actual = _schema(fresh), _schema(database)
    for whose, found in (("missing", wanted - actual), ("not ours", actual - wanted)):
        if found:
            kind, name, *_ = max(found)  # a table before its index
            return f"its {kind} {name!r:.60} is {whose}"
    database.set_progress_handler(None, 0)
    return None


def _schema(database: sqlite3.Connection) -> Counter[tuple[str, ...]]:
    """Type, name, table and SQL without comments of each object."""
    rows = database.execute("SELECT type, name, tbl_name, sql FROM sqlite_master")
    return Counter(
        (str(kind), str(name), str(table), " ".join(re.sub("--.*", "", str(sql or "")).split()))
        for kind, name, table, sql in rows
    )
