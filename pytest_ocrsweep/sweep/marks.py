"""Which worktrees `ocrsweep gate` has, as a locked file for each in git's own folder: what a killed one left is known.

The kernel frees the lock of a process that dies, and the file stays. It lies in git's folder, and not with the
worktree, because the temporary folder may be another one tomorrow, or in another container.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

PREFIX = "ocrsweep-gate-"  # of a temporary folder, and of the worktree in it
MARKS = "ocrsweep-gates"
MOST_BYTES = 4096


@contextmanager
def marked(git: Path, worktree: Path) -> Iterator[None]:
    """The worktree has a locked mark in the block; where the file system locks nothing, it has none."""
    path = git / MARKS / worktree.name
    lock = FileLock(path, preserve_lock_file=True, on_acquired=lambda to: _sign(to, worktree))
    try:
        path.parent.mkdir(exist_ok=True)
        lock.acquire(timeout=1)
    except (OSError, NotImplementedError):  # a Timeout is an OSError
        yield
        return
    try:
        yield
    finally:
        _drop(path, lock)


def _sign(descriptor: int, worktree: Path) -> None:
    os.write(descriptor, os.fsencode(worktree))


@contextmanager
def left(git: Path) -> Iterator[list[Path]]:
    """The worktrees of gates that died; their marks go at the end of the block."""
    marks = [(path, lock) for path in _files(git / MARKS) if (lock := _taken(path))]
    try:
        yield [worktree for path, _ in marks if (worktree := _signed(path))]
    finally:
        for path, lock in marks:
            _drop(path, lock)


def _files(folder: Path) -> list[Path]:
    with suppress(OSError):
        return sorted(path for path in folder.iterdir() if path.is_file() and not path.is_symlink())
    return []


def _taken(path: Path) -> FileLock | None:
    lock = FileLock(path, preserve_lock_file=True)
    with suppress(Timeout, OSError, NotImplementedError):
        lock.acquire(blocking=False)
        return lock
    return None


def _signed(mark: Path) -> Path | None:
    """The worktree of a mark: one of ours, of the same name, in a temporary folder of that name."""
    try:
        with mark.open("rb") as file:
            worktree = Path(os.fsdecode(file.read(MOST_BYTES)))
    except OSError:
        return None
    ours = mark.name.startswith(PREFIX) and worktree.is_absolute()
    return worktree if ours and worktree.name == worktree.parent.name == mark.name else None


def _drop(path: Path, lock: FileLock) -> None:
    with suppress(OSError):
        path.unlink()  # before the release: a process that waits for the lock sees that the file is gone
    with suppress(OSError):
        lock.release()
    with suppress(OSError):  # others are in it
        path.parent.rmdir()
