"""Which worker of pytest-xdist runs what: each GPU's timed items go to one worker, and all workers share the rest."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from itertools import count
from typing import Any

import pytest
from xdist.scheduler import LoadScheduling  # type: ignore[import-untyped]  # pytest-xdist ships no types

from .gpus import VISIBLE

LANE, SHARED, TIMED = "ocrsweep_lane", "ocrsweep_shared", "ocrsweep_timed"  # what we add to a worker's `workerinput`
TORCHS = ("cpu", "cuda:")  # so begin torch's own names of single devices, which choose without our help
AHEAD = 2  # a worker starts an item only once it knows the next
PATIENCE = 10  # seconds for what has arrived already


def register(config: pytest.Config, timed: Callable[[pytest.Item], bool], devices: Callable[[], Sequence[str]]) -> None:
    """To be called in `pytest_configure` of every process of a run that pytest-xdist distributes.

    A worker asks `timed` for each item that it has collected and, if there is one, `devices` for what can time it: GPUs
    as CUDA_VISIBLE_DEVICES names them, or one device by torch's name ("cpu", "cuda:1").
    """
    plugin = Worker(timed, devices) if hasattr(config, "workerinput") else Controller()
    config.pluginmanager.register(plugin, "ocrsweep-schedule")


class Worker:
    """Says which of its items are timed, and keeps to the device of its lane.

    The numbers of the timed items travel on an execnet channel that came with `workerinput`, right before pytest-xdist
    reports the collection on the same connection: the controller has them when it is to schedule, and ids stay as they
    are. A run without timed items, of whatever project, finds its devices untouched.
    """

    def __init__(self, timed: Callable[[pytest.Item], bool], devices: Callable[[], Sequence[str]]) -> None:
        self._timed = timed
        self._devices = devices

    @pytest.hookimpl(tryfirst=True)  # before pytest-xdist's own
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        given: dict[str, Any] = session.config.workerinput  # type: ignore[attr-defined]  # set by pytest-xdist
        timed = [number for number, item in enumerate(session.items) if self._timed(item)]
        devices = tuple(self._devices()) if timed else ()
        given[TIMED].send((timed if devices else [], len(devices)))
        if devices and not devices[0].startswith(TORCHS):
            os.environ[VISIBLE] = device_of(given[LANE], devices, given[SHARED])


def device_of(lane: int, devices: Sequence[str], shared: bool) -> str:
    """The GPU of a lane; of lanes beyond the last GPU, none, unless their workers may be given timed items too."""
    return devices[lane % len(devices)] if shared or lane < len(devices) else ""


class Controller:
    """Numbers the workers' lanes, and schedules unless somebody else does. A worker that replaces a dead one takes
    over its lane."""

    def __init__(self) -> None:
        self._lanes: dict[Any, int] = {}

    def pytest_configure_node(self, node: Any) -> None:
        lane = next(number for number in count() if number not in self._lanes.values())
        self._lanes[node] = lane
        node.workerinput.update({LANE: lane, SHARED: self._others_schedule(node.config)})
        node.workerinput[TIMED] = node.gateway.newchannel()

    def pytest_testnodedown(self, node: Any) -> None:
        self._lanes.pop(node, None)

    # The user's own scheduler wins over ours, and ours over pytest-xdist's: that is `trylast` too, and comes later.
    @pytest.hookimpl(trylast=True)
    def pytest_xdist_make_scheduler(self, config: pytest.Config, log: Any) -> TimedScheduling | None:
        return TimedScheduling(config, log) if config.getoption("dist") == "load" else None

    def _others_schedule(self, config: pytest.Config) -> bool:
        """Whether timed items may come to any worker: the per-GPU lock alone keeps them apart then."""
        known = (self, config.pluginmanager.get_plugin("dsession"))
        asked = (hook.plugin for hook in config.hook.pytest_xdist_make_scheduler.get_hookimpls())
        return config.getoption("dist") != "load" or any(plugin not in known for plugin in asked)


class TimedScheduling(LoadScheduling):  # type: ignore[misc]  # untyped, as above
    """pytest-xdist's default, with a queue of its own for timed items.

    Timed items are handed out in order, to the workers of the first lanes, as late as possible: GPUs of any speed end
    together, and a worker that dies, or a run that stops, leaves the most for others. Those workers get other items
    only when no timed item waits. The others' items are `pending`, as in the base class.
    """

    def __init__(self, config: pytest.Config, log: Any = None) -> None:
        super().__init__(config, log)
        self._timed: frozenset[int] = frozenset()
        self._waiting: list[int] = []  # of the timed: not handed out yet
        self._devices = 0

    @property
    def tests_finished(self) -> bool:
        return not self._waiting and super().tests_finished

    @property
    def has_pending(self) -> bool:
        return bool(self._waiting) or super().has_pending

    def schedule(self) -> None:
        if self.collection is None:
            first, collection = next(iter(self.node2collection.items()))
            timed, self._devices = first.workerinput[TIMED].receive(PATIENCE)
            if timed and all(other == collection for other in self.node2collection.values()):
                self._begin(collection, timed)
        super().schedule()  # the base class begins here if we did not, or says how collections differ

    def _begin(self, collection: list[str], timed: Iterable[int]) -> None:
        self.collection: list[str] | None = collection
        self._timed = frozenset(timed)
        self._waiting = sorted(self._timed)
        self.pending[:] = [number for number in range(len(collection)) if number not in self._timed]
        self.maxschedchunk: int = self.maxschedchunk or len(collection)

    def check_schedule(self, node: Any, duration: float = 0) -> None:
        if node.shutting_down:
            return
        if node.workerinput[LANE] < self._devices:
            free = max(0, AHEAD - len(self.node2pending[node]))
            batch, self._waiting = self._waiting[:free], self._waiting[free:]
            if batch:
                self.node2pending[node].extend(batch)
                node.send_runtest_some(batch)
            if self._waiting:
                return
        if self.pending:
            super().check_schedule(node, duration)
        if not self.pending:
            node.shutdown()  # after what it has; it would keep its last item until the end of the run otherwise

    def remove_node(self, node: Any) -> str | None:
        held = self.node2pending[node]
        left = [number for number in held[1:] if number in self._timed]  # it died in the first
        self._waiting = sorted([*left, *self._waiting])
        held[:] = [number for number in held if number not in left]
        died_in: str | None = super().remove_node(node)
        return died_in

    def mark_test_pending(self, item: str) -> None:
        assert self.collection is not None
        number = self.collection.index(item)
        if number not in self._timed:
            super().mark_test_pending(item)
            return
        self._waiting.insert(0, number)
        for node in self.nodes:
            self.check_schedule(node)
