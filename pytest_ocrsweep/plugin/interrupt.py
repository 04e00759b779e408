"""SIGTERM, which a CI job sends, stops a run that has something to tell as Ctrl-C does."""

from __future__ import annotations

import signal
import threading


class Stopping:
    """How this process takes SIGTERM, unless somebody else handles it already."""

    def __init__(self) -> None:
        self._ours = False

    def as_interrupt(self) -> None:
        """From now on it raises KeyboardInterrupt in the main thread."""
        if self._ours:
            return
        main = threading.current_thread() is threading.main_thread()
        if main and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
            signal.signal(signal.SIGTERM, signal.default_int_handler)
            self._ours = True

    def not_now(self) -> None:
        """From now on it does nothing: the run ends as it is."""
        if self._ours:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)

    def as_before(self) -> None:
        """From now on it does what it did before."""
        if self._ours:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            self._ours = False
