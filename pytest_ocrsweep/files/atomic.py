"""A file that is written here is the old one or the new one, never half of one, and its writers take turns."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

WAIT_S = 60  # for another process that writes the file

# What lies beside a file while it is written, and after its writer was killed: `.sweep.json.ocrsweep-draft`. Beside it,
# as os.replace cannot cross file systems, and other hosts and users see a lock there too.
DRAFT, LOCK = ".ocrsweep-draft", ".ocrsweep-lock"

REMEDIES = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EFBIG), "free some space there"),
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), "make the folder writable"),
    **dict.fromkeys((errno.EISDIR, errno.ENOTDIR), "move away what stands in its place"),
}


def remedy(error: OSError) -> str:
    """What to do about a file that could not be written."""
    return REMEDIES.get(error.errno or 0, "see to it")


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
    with alone(path), _draft(path) as file:
        yield file


@contextmanager
def alone(path: Path, wait_s: float = WAIT_S) -> Iterator[None]:
    """The one process that may read, change and `replace` the file `path`, in a folder that is made.

    Raises OSError, which names `path`, also where another process keeps it for longer than `wait_s`. The kernel frees
    the lock of a process that dies.
    """
    from filelock import FileLock, Timeout

    made = [folder for folder in path.parents if not folder.exists()]
    lock = _beside(path, LOCK)
    try:
        with _naming(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            held = FileLock(lock, timeout=wait_s)
            try:
                held.acquire()
            except Timeout:
                what = f"another process has been writing it for {wait_s:g} s"
                raise TimeoutError(errno.ETIMEDOUT, what, str(path)) from None
        try:
            yield
        finally:
            with suppress(OSError):
                lock.unlink()  # while it is held: who waits for it sees that it went, and starts over
            held.release()
    finally:
        for folder in made:
            with suppress(OSError):
                folder.rmdir()  # only if nothing came to be in it


def replace(path: Path, text: str) -> None:
    """What `write` does, for who is `alone` with the file already."""
    with _draft(path) as file:
        file.write_bytes(text.encode("utf-8"))


def tidy(folder: Path) -> None:
    """Remove what writers that were killed left in `folder`; a file that is being written is left to its writer."""
    left = [path for suffix in (DRAFT, LOCK) for path in folder.glob(f".*{suffix}")]
    for name in {path.name.removeprefix(".").removesuffix(path.suffix) for path in left}:
        with suppress(OSError), alone(folder / name, wait_s=0):
            _beside(folder / name, DRAFT).unlink(missing_ok=True)


@contextmanager
def _draft(path: Path) -> Iterator[Path]:
    file = _beside(path, DRAFT)
    with _naming(path):
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        try:
            file.write_bytes(b"")  # or something of a killed writer's could be left in it
            yield file
            with file.open("rb+") as written:
                os.fsync(written.fileno())
            os.replace(file, path)
        finally:
            with suppress(OSError):
                file.unlink()


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """An OSError in the block is one of `path`."""
    try:
        yield
    except OSError as error:
        # what mkdir says of a file that is in a folder's place
        number = errno.ENOTDIR if isinstance(error, FileExistsError) else error.errno
        told = error.strerror if number == error.errno else None
        text = str(error) if number is None else told or os.strerror(number)
        raise OSError(number, text, str(path)) from None


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(f".{path.name}{suffix}")
