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
"""How long to wait for the end of a process that has measured; an interactive session may never end."""


@contextmanager
def gpu_lock(name: str, waiting: Callable[[str], object]) -> Iterator[None]:
    """Hold the lock of a device: a GPU's UUID, or "cpu". If another process holds it, `waiting` gets one line.

    The kernel drops the lock of a process that dies. The file stays; it means nothing unless it is locked.
    """
    user = os.getuid() if hasattr(os, "getuid") else getpass.getuser()
    path = Path(tempfile.gettempdir(), f"pytest-ocrsweep-{user}-{name}.lock")
    holders: list[str] = []  # the last is the process that held it before

    def sign(descriptor: int) -> None:
        holders.append(os.read(descriptor, 20).decode(errors="replace"))
        os.lseek(descriptor, 0, os.SEEK_SET)
        os.ftruncate(descriptor, 0)
        os.write(descriptor, str(os.getpid()).encode())

    # The file is kept, so that all processes lock the same file, and filelock cannot fall back to a lock that would
    # outlive a dead process.
    lock = FileLock(path, mode=0o600, preserve_lock_file=True, on_acquired=sign)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        waiting(f"waiting for {name}: {_holder(path)} measures on it and holds {path}")
        lock.acquire()
        _await_end(holders[-1])
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
    """Wait for the end of the process that released the lock: until then its context stays on the GPU."""
    end = time.monotonic() + PATIENCE_S
    while os.name == "posix" and time.monotonic() < end:  # on Windows signal 0 is Ctrl+C
        try:
            os.kill(int(holder), 0)
        except (ValueError, OSError):
            return
        time.sleep(0.02)
