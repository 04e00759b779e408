"""Looks at the machine from a thread of its own, as a batch of samples can take seconds."""

from __future__ import annotations

from collections.abc import Callable
from threading import Event, Thread
from types import TracebackType
from typing import Generic, TypeVar

R = TypeVar("R")


class Watch(Generic[R]):
    """Reads `glance` every `every_s` from entering to leaving; the first time only after `every_s`.

    So a short round is not disturbed, and what is read is a machine at work.
    """

    def __init__(self, glance: Callable[[], R], every_s: float) -> None:
        self._glance, self._every_s = glance, every_s
        self._readings: list[R] = []
        self._over = Event()
        self._thread = Thread(target=self._look, name="ocrsweep-watch", daemon=True)

    def __enter__(self) -> Watch[R]:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()

    @property
    def readings(self) -> tuple[R, ...]:
        """What was read so far."""
        return tuple(self._readings)

    def _look(self) -> None:
        while not self._over.wait(self._every_s):
            try:
                self._readings.append(self._glance())
            except Exception:  # a GPU that is lost: the samples say so themselves
                return
