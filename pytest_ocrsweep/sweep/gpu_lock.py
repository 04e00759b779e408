"""One measurement at a time on each GPU, however many pytest processes share the host."""

from __future__ import annotations

import getpass
import os
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import quote_from_bytes

from filelock import FileLock, Timeout

from ..errors import MeasureError

PATIENCE_S = 10.0
"""How long to wait for the end of a process that has measured; an interactive session may never end."""

LONGEST = 200  # characters of a lock's name; a file's may have 255 bytes


@contextmanager
def gpu_lock(name: str, waiting: Callable[[str], object], patience_s: float = PATIENCE_S) -> Iterator[None]:
    """Hold the lock of a device: a GPU's UUID, or "cpu". If another process holds it, `waiting` gets one line.

    The kernel drops the lock of a process that dies. The file stays; it means nothing unless it is locked. Raises
    MeasureError if something else stands at the lock's place.
    """
    user = os.getuid() if hasattr(os, "getuid") else getpass.getuser()
    folder = Path(tempfile.gettempdir(), f"pytest-ocrsweep-{user}")
    try:
        path = _own_folder(folder) / f"{_as_file(name)}.lock"
        lock, holders = _lock(path)
        try:
            lock.acquire(blocking=False)
        except Timeout:
            waiting(f"waiting for {name}: {_holder(path)} measures on it and holds {path}")
            lock.acquire()
            _await_end(holders[-1], patience_s)
    except OSError as error:
        what = f"{folder / _as_file(name)}.lock: the lock of {name} cannot be taken ({error.strerror or error});"
        raise MeasureError(what, f"remove {folder}, or set TMPDIR to a folder of your own") from None
    try:
        yield
    finally:
        lock.release()


def _as_file(name: str) -> str:
    """A part of a GPU may be named `MIG-GPU-8f3a/1/0`, and whatever else an environment says it is."""
    return quote_from_bytes(os.fsencode(name), safe="")[:LONGEST]


def _own_folder(folder: Path) -> Path:
    """A folder that only this user may change: anybody may put a link or pipe into the temporary folder itself."""
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode):
        raise NotADirectoryError(0, f"{folder} is not a folder")
    if os.name == "posix" and status.st_uid != os.getuid():
        raise PermissionError(0, f"{folder} belongs to user {status.st_uid}")
    if os.name == "posix" and status.st_mode & 0o022:
        raise PermissionError(0, f"other users may write to {folder}")
    return folder


def _lock(path: Path) -> tuple[FileLock, list[str]]:
    """The lock, and a list whose last item is the process that held it before, once it is taken."""
    holders: list[str] = []

    def sign(descriptor: int) -> None:
        holders.append(os.read(descriptor, 20).decode(errors="replace"))
        os.lseek(descriptor, 0, os.SEEK_SET)
        os.ftruncate(descriptor, 0)
        os.write(descriptor, str(os.getpid()).encode())

    if os.path.lexists(path) and not stat.S_ISREG(path.lstat().st_mode):
        raise OSError(0, "it is not a regular file")
    # The file is kept, so that all processes lock the same file, and filelock cannot fall back to a lock that would
    # outlive a dead process.
    return FileLock(path, mode=0o600, preserve_lock_file=True, on_acquired=sign), holders


def _holder(path: Path) -> str:
    try:
        return f"process {int(path.read_text())}"
    except (OSError, ValueError):  # not signed yet; or Windows, where a locked file cannot be read
        return "another process"


def _await_end(holder: str, patience_s: float) -> None:
    """Wait for the end of the process that released the lock: until then its context stays on the GPU."""
    end = time.monotonic() + patience_s
    while os.name == "posix" and time.monotonic() < end:  # on Windows signal 0 is Ctrl+C
        try:
            os.kill(int(holder), 0)
        except (ValueError, OSError):
            return
        time.sleep(0.02)
