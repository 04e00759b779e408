"""A file that is written here is the old one or the new one, never half of one."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


def write(path: Path, text: str) -> None:
    """Replace `path` by `text` once all of it is on the disk; folders are made as needed. Raises OSError."""
    write_bytes(path, text.encode("utf-8"))


def write_bytes(path: Path, content: bytes) -> None:
    """The same of bytes."""
    with draft(path) as file:
        file.write_bytes(content)


@contextmanager
def draft(path: Path) -> Iterator[Path]:
    """A file to write in the block, which replaces `path` at its end; nothing is left of it where the block fails.

    An OSError from here names `path`, whichever file it was of and whoever wrote to it.
    """
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    file = path.with_name(f".{path.name}.{os.getpid()}")  # beside it: os.replace cannot cross file systems
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
        yield file
        with file.open("rb+") as written:
            os.fsync(written.fileno())
        os.replace(file, path)
    except OSError as error:
        # what mkdir says of a file that is in a folder's place
        number = errno.ENOTDIR if isinstance(error, FileExistsError) else error.errno
        raise OSError(number, os.strerror(number) if number else str(error), str(path)) from None
    finally:
        with suppress(OSError):
            file.unlink()
