"""Which worker runs which test: each GPU's timed tests go to one worker of its host, all workers share the rest."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from itertools import cycle
from typing import TYPE_CHECKING, Any

import pytest
from xdist.scheduler import LoadScheduling, Scheduling  # type: ignore[import-untyped]  # pytest-xdist ships no types

if TYPE_CHECKING:
    from ..compat import Node
    from .workers import Workers

AHEAD = 2  # a worker starts a test only once it knows the next, or that there is none
LONG_S = 0.1  # a worker whose tests take longer gets no more than it needs


class PointScheduling:
    """pytest-xdist's own load scheduling, which TimedScheduling replaces once a worker is known to have a device."""

    def __init__(self, config: pytest.Config, log: Any, workers: Workers) -> None:
        self._now: Any = LoadScheduling(config, log)
        self._workers = workers
        self._chunk: int | None = config.getoption("maxschedchunk")
        self._begun = False

    def __getattr__(self, name: str) -> Any:
        """All of the Protocol but `schedule` is what the scheduler in use makes of it."""
        return getattr(self._now, name)

    def schedule(self) -> None:
        if not self._begun:
            self._begun = True
            if any(self._workers[node].times for node in self._now.nodes):
                self._now = self._timed()
        self._now.schedule()

    def _timed(self) -> TimedScheduling:
        workers = self._workers
        scheduling = TimedScheduling(
            workers.items, workers.timed, times=lambda node: workers[node].times, chunk=self._chunk
        )
        for node in self._now.nodes:
            scheduling.add_node(node)
            if workers[node].collected is not None:
                scheduling.add_node_collection(node, workers.items)
        return scheduling


class TimedScheduling(Scheduling):  # type: ignore[misc]  # untyped, as above
    """Timed tests are handed out in order, to the workers that have a device, as late as possible: GPUs of any speed
    end together, and a worker that dies, or a run that stops, leaves the most for others. Those workers get other
    tests only when no timed test waits.
    """

    def __init__(
        self, items: Sequence[str], timed: Collection[int], times: Callable[[Node], bool], chunk: int | None = None
    ) -> None:
        self._items = items
        self._is_timed = timed
        self._times = times
        self._chunk = chunk or len(items)
        self._timed = sorted(timed)  # not handed out yet, as the others
        self._others = [number for number in range(len(items)) if number not in timed]
        self._held: dict[Node, list[int]] = {}  # handed out and not complete, in order
        self._ready: set[Node] = set()  # have collected
        self._begun = False

    @property
    def nodes(self) -> list[Node]:
        return list(self._held)

    @property
    def collection_is_completed(self) -> bool:
        return True  # else xdist's own were in use yet

    @property
    def tests_finished(self) -> bool:
        return not (self._timed or self._others) and all(len(held) < AHEAD for held in self._held.values())

    @property
    def has_pending(self) -> bool:
        return bool(self._timed or self._others or any(self._held.values()))

    def add_node(self, node: Node) -> None:
        self._held[node] = []

    def add_node_collection(self, node: Node, collection: Sequence[str]) -> None:
        self._ready.add(node)  # Workers has compared it

    def schedule(self) -> None:
        if not self._begun:
            self._begun = True
            self._deal()
        for node in self.nodes:
            self._feed(node)

    def mark_test_complete(self, node: Node, item_index: int, duration: float = 0) -> None:
        self._held[node].remove(item_index)
        self._feed(node, duration)

    def mark_test_pending(self, item: str) -> None:
        number = self._items.index(item)
        (self._timed if number in self._is_timed else self._others).insert(0, number)
        for node in self.nodes:
            self._feed(node)

    def remove_pending_tests_from_node(self, node: Node, indices: Sequence[int]) -> None:
        raise NotImplementedError  # we ask for none back

    def remove_node(self, node: Node) -> str | None:
        """What it had goes back, but for the test in which it died: that is returned."""
        held = self._held.pop(node)
        self._ready.discard(node)
        if not held:
            return None
        self._timed = sorted([*self._timed, *(number for number in held[1:] if number in self._is_timed)])
        self._others = sorted([*self._others, *(number for number in held[1:] if number not in self._is_timed)])
        for other in self.nodes:
            self._feed(other)
        return self._items[held[0]]

    def _deal(self) -> None:
        """A few other tests go round one by one, so that all workers have some."""
        free = [node for node in self._held if node in self._ready and not (self._timed and self._times(node))]
        if len(self._others) < AHEAD * len(free):
            for node in cycle(free):
                if not self._others:
                    break
                self._give(node, self._others, 1)

    def _feed(self, node: Node, duration: float = 0) -> None:
        """Give a worker what it needs, or end it after what it has: it would keep its last test until then."""
        if node.shutting_down or node not in self._ready:
            return
        if self._times(node):
            self._give(node, self._timed, AHEAD - len(self._held[node]))
            if self._timed:
                return
        self._give(node, self._others, self._share(len(self._held[node]), duration))
        if not self._others:
            node.shutdown()

    def _share(self, held: int, duration: float) -> int:
        """How many other tests to give to a worker: half an even share, once it has less than a quarter."""
        even = len(self._others) // len(self._held)
        if held >= max(AHEAD, even // 4) or (held >= AHEAD and duration >= LONG_S):
            return 0
        return min(max(AHEAD, even // 2) - held, max(AHEAD - held, self._chunk))

    def _give(self, node: Node, waiting: list[int], number: int) -> None:
        given = waiting[: max(0, number)]
        if given:
            del waiting[: len(given)]
            self._held[node].extend(given)
            with suppress(OSError):  # it is gone; that is told next
                node.send_runtest_some(given)
