"""Atomic, locked writes: a reader sees the old content or the new, never a mixture."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

WAIT_S = 60  # how long a writer waits for another one

# `.sweep.json.ocrsweep-draft` and its lock lie beside `sweep.json` while it is written, and stay if the writer is
# killed. Beside it, because os.replace cannot cross file systems, and because other hosts and users must see the lock.
DRAFT, LOCK = ".ocrsweep-draft", ".ocrsweep-lock"

REMEDIES = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EFBIG), "free some space there"),
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), "make the folder writable"),
    **dict.fromkeys((errno.EISDIR, errno.ENOTDIR), "move away what stands in its place"),
}


def remedy(error: OSError) -> str:
    """What a user can do about a file that could not be written."""
    return REMEDIES.get(error.errno or 0, "see to it")


def write(path: Path, text: str) -> None:
    """Replace the content of `path` by `text` (UTF-8) once all of it is on the disk; makes folders. Raises OSError."""
    write_bytes(path, text.encode("utf-8"))


def write_bytes(path: Path, content: bytes) -> None:
    """Like `write`, for bytes."""
    with draft(path) as file:
        file.write_bytes(content)


@contextmanager
def draft(path: Path) -> Iterator[Path]:
    """A file to write in the block. It replaces `path` at the end, or is removed if the block fails.

    Every OSError names `path`, also one about the draft or the lock, and one that the block raises.
    """
    with locked(path), _draft(path) as file:
        yield file


@contextmanager
def locked(path: Path, wait_s: float = WAIT_S) -> Iterator[None]:
    """Only this process may read, change and `replace` the file `path` in the block; makes its folder.

    Raises OSError, which names `path`, also if another process holds the lock for longer than `wait_s`. The kernel
    frees the lock of a process that dies.
    """
    from filelock import FileLock, Timeout

    new_folders = [folder for folder in path.parents if not folder.exists()]
    lock_file = _beside(path, LOCK)
    try:
        with _naming(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            lock = FileLock(lock_file, timeout=wait_s)
            try:
                lock.acquire()
            except Timeout:
                what = f"another process has been writing it for {wait_s:g} s"
                raise TimeoutError(errno.ETIMEDOUT, what, str(path)) from None
        try:
            yield
        finally:
            with suppress(OSError):
                lock_file.unlink()  # before the release: a waiting process sees that it is gone, and starts over
            lock.release()
    finally:
        for folder in new_folders:
            with suppress(OSError):
                folder.rmdir()  # fails, as it should, if the folder is not empty


def replace(path: Path, text: str) -> None:
    """Like `write`, inside a block that has `locked` the file."""
    with _draft(path) as file:
        file.write_bytes(text.encode("utf-8"))


def remove_leftovers(folder: Path) -> None:
    """Remove drafts and locks that killed writers left in `folder`, but none of a file that is being written."""
    leftovers = [path for suffix in (DRAFT, LOCK) for path in folder.glob(f".*{suffix}")]
    for name in {path.name.removeprefix(".").removesuffix(path.suffix) for path in leftovers}:
        with suppress(OSError), locked(folder / name, wait_s=0):
            _beside(folder / name, DRAFT).unlink(missing_ok=True)


@contextmanager
def _draft(path: Path) -> Iterator[Path]:
    file = _beside(path, DRAFT)
    with _naming(path):
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        try:
            file.write_bytes(b"")  # a killed writer may have left something in it
            yield file
            with file.open("rb+") as written:
                os.fsync(written.fileno())
            os.replace(file, path)
        finally:
            with suppress(OSError):
                file.unlink()


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Turns an OSError in the block into one that names `path`."""
    try:
        yield
    except OSError as error:
        # mkdir raises FileExistsError for a file in a folder's place
        number = errno.ENOTDIR if isinstance(error, FileExistsError) else error.errno
        own_text = error.strerror if number == error.errno else None
        text = str(error) if number is None else own_text or os.strerror(number)
        raise OSError(number, text, str(path)) from None


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(f".{path.name}{suffix}")
