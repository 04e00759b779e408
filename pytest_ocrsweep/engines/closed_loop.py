"""So many calls at once until all are done, each over connections that are watched; the first error ends them all."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

from ..errors import EngineError
from .endpoint import ConnectionWatch, Cut

LOOK_S = 0.1  # how often connections are looked at

Result = TypeVar("Result")


class ClosedLoop(Generic[Result]):
    """Each call takes the watch that its connection is under."""

    def __init__(self, where: str, calls: Iterable[Callable[[ConnectionWatch], Result]], limit_s: float) -> None:
        self._where = where
        self._waiting = deque(calls)
        self._watch = ConnectionWatch(limit_s)
        self._results: list[Result] = []
        self._error: BaseException | None = None

    def run(self, concurrency: int) -> tuple[Result, ...]:
        """What the calls gave, in the order of their ends. Raises EngineError, which has what was done before."""
        count = min(concurrency, len(self._waiting))
        threads = [threading.Thread(target=self._work, daemon=True) for _ in range(count)]
        try:
            for thread in threads:
                thread.start()
            while alive := [thread for thread in threads if thread.is_alive()]:
                alive[0].join(LOOK_S)
                self._watch.cut_late()
        finally:  # also at Ctrl-C
            self._stop()
            for thread in threads:
                if thread.ident is not None:
                    thread.join()
        if isinstance(self._error, EngineError):
            self._error.requests = tuple(self._results)
        if self._error is not None:
            raise self._error
        return tuple(self._results)

    def _work(self) -> None:
        while (call := self._next()) is not None:
            try:
                self._results.append(call(self._watch))
            except Cut as cut:
                if cut.late:
                    what = f"{self._where}: took more than {self._watch.limit_s:g} s over one request;"
                    self._fail(EngineError(what, "give it more time, or a smaller load"))
            except BaseException as error:
                self._fail(error)

    def _next(self) -> Callable[[ConnectionWatch], Result] | None:
        try:
            return self._waiting.popleft()
        except IndexError:
            return None

    def _fail(self, error: BaseException) -> None:
        self._error = self._error or error
        self._stop()

    def _stop(self) -> None:
        self._waiting.clear()
        self._watch.stop()
