"""A long command that is stopped, by Ctrl-C or a signal, leaves nothing behind."""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

Handler = Callable[[int, FrameType | None], Any] | int | None
TERMINATED = 128  # and the signal's number, as shells have it
ENDING = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]


PR_SET_PDEATHSIG = 1  # Linux's <sys/prctl.h>


def die_with_parent(parent: int | None = None) -> None:
    """Let Linux kill this process when the one that started it dies, even by SIGKILL; elsewhere it lives on.

    A parent of another number has died already.
    """
    if sys.platform == "linux":
        with suppress(AttributeError, OSError):
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if parent is not None and os.getppid() != parent:
            sys.exit("its parent is gone")


@contextmanager
def stopped_by_signals() -> Iterator[None]:
    """A signal that ends processes leaves the block as Ctrl-C does, by an exception."""

    def stop(number: int, _: FrameType | None) -> NoReturn:
        raise SystemExit(TERMINATED + number)

    before = {number: signal.signal(number, stop) for number in ENDING}
    try:
        yield
    finally:
        _restore(before)


@contextmanager
def undisturbed() -> Iterator[None]:
    """What is cleaned up in the block is cleaned up to its end, whatever somebody presses."""
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, *ENDING)}
    try:
        yield
    finally:
        _restore(before)


def _restore(before: Mapping[int, Handler]) -> None:
    for number, handler in before.items():
        signal.signal(number, handler)


@contextmanager
def temporary_folder(prefix: str) -> Iterator[Path]:
    """A new folder, by its real path; it goes at the end."""
    folder = Path(tempfile.mkdtemp(prefix=prefix)).resolve()
    try:
        yield folder
    finally:
        with undisturbed():
            shutil.rmtree(folder, ignore_errors=True)
