"""One measurement at a time on each GPU, however many pytest processes share the host."""

from __future__ import annotations

import getpass
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout


@contextmanager
def gpu_lock(name: str, waiting: Callable[[str], object]) -> Iterator[None]:
    """Hold the lock of a device: a GPU's UUID, or "cpu". Where another process holds it, `waiting` is told once.

    The kernel drops the lock of a process that dies; the file stays, and says nothing unless it is locked.
    """
    user = os.getuid() if hasattr(os, "getuid") else getpass.getuser()
    path = Path(tempfile.gettempdir(), f"pytest-ocrsweep-{user}-{name}.lock")
    # Kept, the file names the same lock to all; it also bars a fallback that would outlive a dead process.
    lock = FileLock(path, mode=0o600, preserve_lock_file=True, on_acquired=_sign)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        waiting(f"waiting for {name}: {_holder(path)} measures on it and holds {path}")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _holder(path: Path) -> str:
    try:
        return f"process {int(path.read_text())}"
    except (OSError, ValueError):  # not signed yet; or Windows, where a locked file cannot be read
        return "another process"


def _sign(descriptor: int) -> None:
    """Say who holds it."""
    os.ftruncate(descriptor, 0)
    os.write(descriptor, str(os.getpid()).encode())
