"""SIGTERM, which a CI job sends, and SIGHUP, of a terminal that closes, stop a run that has results as Ctrl-C does."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType

Handler = Callable[[int, FrameType | None], object] | int
STOPS = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))


class Stopping:
    """How this process takes those signals, each unless somebody else handles it already."""

    def __init__(self) -> None:
        self._ours: list[signal.Signals] = []

    def as_interrupt(self) -> None:
        """From now on they raise KeyboardInterrupt in the main thread."""
        if self._ours or threading.current_thread() is not threading.main_thread():
            return
        self._ours = [stop for stop in STOPS if signal.getsignal(stop) is signal.SIG_DFL]
        self._set(signal.default_int_handler)

    def not_now(self) -> None:
        """From now on they do nothing: the run ends as it is."""
        self._set(signal.SIG_IGN)

    def as_before(self) -> None:
        """From now on they do what they did before."""
        self._set(signal.SIG_DFL)
        self._ours = []

    def _set(self, handler: Handler) -> None:
        for stop in self._ours:
            signal.signal(stop, handler)
