"""What others wrote: a file is read whole only if it is one and of a size to believe, and JSON says a thing once."""

from __future__ import annotations

import errno
import json
import os
import re
import stat
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

if TYPE_CHECKING:
    import sqlite3

SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")  # JSON may write a character in two halves, or one of them
MOST = 10**100  # a number beyond is none of hardware, and a float could not hold what is made of it
MOST_BYTES = 1 << 28  # a document of our own stays far below; ten times as much memory is what reading it takes


def opened(path: Path) -> BinaryIO:
    """A regular file, to read: a pipe may never begin, a device never end. Raises OSError."""
    mode = os.stat(path).st_mode
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):  # of a folder `open` tells better
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    return path.open("rb")


def read(path: Path, most: int = MOST_BYTES) -> bytes:
    """All bytes of a regular file. Raises OSError, also above `most` bytes, which are not read."""
    with opened(path) as file:
        size = os.fstat(file.fileno()).st_size
        content = b"" if size > most else file.read(most + 1)
    if max(size, len(content)) > most:
        raise OSError(errno.EFBIG, f"it has more than {most:,} bytes", str(path))
    return content


def parse(text: str | bytes, constant: Callable[[str], Any] | None = None) -> Any:
    """JSON in UTF-8, without repeated keys; `constant` is given NaN and Infinity. Raises ValueError, RecursionError."""
    if isinstance(text, bytes):
        text = text.decode("utf-8")
    found = json.loads(text, object_pairs_hook=_no_twice, parse_constant=constant)
    if SURROGATE.search(text):
        try:
            json.dumps(found, ensure_ascii=False).encode("utf-8")
        except UnicodeEncodeError:
            raise ValueError("half a character, which no file can hold, is in its text") from None
    return found


def has_tables(database: sqlite3.Connection, script: str) -> bool:
    """Whether the tables of a database are those that `script` makes; others may stand beside them.

    In the place of a table there can be a view that never ends, in that of a column something to compute: SQLite runs
    what a file says.
    """
    from sqlite3 import connect  # loads SQLite, which few need

    with closing(connect(":memory:")) as fresh:
        fresh.executescript(script)
        wanted, found = _schema(fresh), _schema(database)
    return wanted.items() <= found.items() and not any(kind == "trigger" for kind, _ in found)


def _schema(database: sqlite3.Connection) -> dict[tuple[str, str], str]:
    """The SQL of each object, without comments."""
    objects = database.execute("SELECT type, name, sql FROM sqlite_master")
    return {(kind, name): " ".join(re.sub("--.*", "", sql or "").split()) for kind, name, sql in objects}


def _no_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError(f"a key is given twice in {json.dumps(found)[:80]}")
    return found
