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
    # A lock without the kernel's help would outlive its process: better none at all than that one.
    lock = FileLock(path, mode=0o600, fallback_to_soft=False, preserve_lock_file=True, on_acquired=_sign)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        waiting(f"waiting for {name}: process {path.read_text() or 'unknown'} measures on it and holds {path}")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _sign(descriptor: int) -> None:
    """Say who holds it."""
    os.truncate(descriptor, 0)
    os.write(descriptor, str(os.getpid()).encode())
