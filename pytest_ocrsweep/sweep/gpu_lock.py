"""One measurement at a time on each GPU, however many pytest processes share the host."""

from __future__ import annotations

import getpass
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

PATIENCE_S = 10.0
"""For a process to end that has measured. One that stays, a person's session, may be waited for in vain."""


@contextmanager
def gpu_lock(name: str, waiting: Callable[[str], object]) -> Iterator[None]:
    """Hold the lock of a device: a GPU's UUID, or "cpu". Where another process holds it, `waiting` is told once.

    The kernel drops the lock of a process that dies; the file stays, and says nothing unless it is locked.
    """
    user = os.getuid() if hasattr(os, "getuid") else getpass.getuser()
    path = Path(tempfile.gettempdir(), f"pytest-ocrsweep-{user}-{name}.lock")
    before: list[str] = []  # who held it

    def sign(descriptor: int) -> None:
        before.append(os.read(descriptor, 20).decode(errors="replace"))
        os.lseek(descriptor, 0, os.SEEK_SET)
        os.ftruncate(descriptor, 0)
        os.write(descriptor, str(os.getpid()).encode())

    # Kept, the file names the same lock to all; it also bars a fallback that would outlive a dead process.
    lock = FileLock(path, mode=0o600, preserve_lock_file=True, on_acquired=sign)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        waiting(f"waiting for {name}: {_holder(path)} measures on it and holds {path}")
        lock.acquire()
        _await_end(before[-1])
    try:
        yield
    finally:
        lock.release()


def _holder(path: Path) -> str:
    try:
        return f"process {int(path.read_text())}"
    except (OSError, ValueError):  # not signed yet; or Windows, where a locked file cannot be read
        return "another process"


def _await_end(holder: str) -> None:
    """Waits until a process that let the lock go has ended: its context on the GPU lives until then."""
    end = time.monotonic() + PATIENCE_S
    while os.name == "posix" and time.monotonic() < end:  # elsewhere signal 0 is not a question
        try:
            os.kill(int(holder), 0)
        except (ValueError, OSError):
            return
        time.sleep(0.02)
