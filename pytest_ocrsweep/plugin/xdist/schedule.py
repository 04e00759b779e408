"""Which worker of pytest-xdist runs what: each GPU's timed items go to one worker of its host, all share the rest."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from enum import IntEnum
from functools import cached_property
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import pytest
from xdist.scheduler import LoadScheduling  # type: ignore[import-untyped]  # pytest-xdist ships no types

from ...sweep.gpus import VISIBLE
from . import hosts, lost, packets

# What we add to a worker's `workerinput`; TOLD is a channel to it and later, here, what came on it.
HOST, LANE, SHARED, TOLD = "ocrsweep_host", "ocrsweep_lane", "ocrsweep_shared", "ocrsweep_told"
NOTE = "ocrsweep_note"  # the file where it notes what it runs, told in packets; "" for neither
TORCHS = ("cpu", "cuda:")  # so begin torch's own names of single devices, which choose without our help
AHEAD = 2  # a worker starts an item only once it knows the next
PATIENCE = 10  # seconds for what has arrived already


class Kind(IntEnum):
    """What an item is to us."""

    OTHER = 0
    POINT = 1
    TIMED = 2


class Told(NamedTuple):
    """What a worker says of its collection: each item's kind (nothing, if no item is ours), and how many devices its
    host has for the timed ones; what must be `alike` everywhere, by name."""

    kinds: bytes = b""
    devices: int = 0
    alike: Mapping[str, str] = {}


def register(
    config: pytest.Config,
    kind: Callable[[pytest.Item], Kind],
    devices: Callable[[], Sequence[str]],
    alike: Callable[[], Mapping[str, str]],
) -> None:
    """To be called in `pytest_configure` of every process of a run that pytest-xdist distributes.

    A worker asks for the `kind` of each item that it has collected and, if one is timed, `devices` for what can time
    it: GPUs as CUDA_VISIBLE_DEVICES names them, or one device by torch's name ("cpu", "cuda:1"). `alike` gives what
    all processes must have in common for their results to be of one sweep.
    """
    if hasattr(config, "workerinput"):
        config.pluginmanager.register(Worker(kind, devices, alike), "ocrsweep-schedule")
        return
    config.pluginmanager.register(Controller(config, alike), "ocrsweep-schedule")
    config.pluginmanager.register(hosts.Start(config), "ocrsweep-hosts")
    config.pluginmanager.register(lost.Workers(config), "ocrsweep-lost")


class Worker:
    """Says which of its items are timed, and keeps to the device of its lane.

    What it says travels on an execnet channel that came with `workerinput`, right before pytest-xdist reports the
    collection on the same connection: the controller has it when it is to schedule, and ids stay as they are. A run
    without timed items, of whatever project, finds its devices untouched.
    """

    def __init__(
        self,
        kind: Callable[[pytest.Item], Kind],
        devices: Callable[[], Sequence[str]],
        alike: Callable[[], Mapping[str, str]],
    ) -> None:
        self._kind = kind
        self._devices = devices
        self._alike = alike

    @pytest.hookimpl(tryfirst=True)  # before pytest-xdist's own
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        given: dict[str, Any] = session.config.workerinput  # type: ignore[attr-defined]  # set by pytest-xdist
        hosts.keep_alive(given[TOLD].gateway)
        kinds = bytes(self._kind(item) for item in session.items)
        ours = any(kinds)
        devices = tuple(self._devices()) if Kind.TIMED in kinds else ()
        given[TOLD].send((kinds if ours else b"", len(devices), dict(self._alike()) if ours else {}))
        if devices and not devices[0].startswith(TORCHS):
            os.environ[VISIBLE] = device_of(given[LANE], devices, given[SHARED])
        if given[NOTE]:
            counted = {number for number, kind in enumerate(kinds) if kind == Kind.POINT}
            packets.pack(session.config, counted, given[NOTE])


def device_of(lane: int, devices: Sequence[str], shared: bool) -> str:
    """The GPU of a lane; of lanes beyond the last GPU, none, unless their workers may be given timed items too."""
    return devices[lane % len(devices)] if shared or lane < len(devices) else ""


class Controller:
    """Numbers the workers' lanes on each host, sees that all have collected the same, and schedules unless somebody
    else does. A worker that replaces one takes over its lane, of one that is about to end too: the per-GPU lock lets
    it wait for that."""

    def __init__(self, config: pytest.Config, alike: Callable[[], Mapping[str, str]]) -> None:
        self._config = config
        self._alike = alike
        self._lanes: dict[Any, tuple[str, int]] = {}
        self._first: tuple[Any, list[str]] | None = None

    @cached_property
    def _notes(self) -> Path:
        folder = TemporaryDirectory(prefix="pytest-ocrsweep-")
        self._config.add_cleanup(folder.cleanup)
        return Path(folder.name)

    def pytest_configure_node(self, node: Any) -> None:
        host = _host_of(node.gateway)
        taken = [at for other, at in self._lanes.items() if not other.shutting_down]
        lane = next(number for number in count() if (host, number) not in taken)
        self._lanes[node] = host, lane
        shared = self._others_schedule(node.config)
        note = "" if shared or not hosts.plain(node.gateway.spec) else str(self._notes / node.gateway.id)
        node.workerinput.update({HOST: host, LANE: lane, SHARED: shared, NOTE: note})
        node.workerinput[TOLD] = node.gateway.newchannel()
        packets.receive(node, self._config.pluginmanager.get_plugin("dsession"))

    def pytest_testnodedown(self, node: Any) -> None:
        self._lanes.pop(node, None)

    def pytest_xdist_node_collection_finished(self, node: Any, ids: Sequence[str]) -> None:
        """Comes before the scheduler has the collection."""
        try:
            told = Told(*node.workerinput[TOLD].receive(PATIENCE))
        except (OSError, EOFError):  # no such plugin there
            told = Told()
        node.workerinput[TOLD] = told
        if node.config.getoption("dist") == "each":
            return
        here = self._alike() if told.alike else {}
        different = [name for name, value in here.items() if told.alike.get(name) != value]
        if different:
            raise pytest.UsageError(f"{named(node)} has other {' and '.join(different)} than the controller: {SAME}")
        if self._first is None:
            self._first = node, list(ids)
        first, known = self._first
        if told.kinds != first.workerinput[TOLD].kinds or (told.kinds and ids != known):
            raise pytest.UsageError(f"{named(node)} collected {_difference(ids, known)} {named(first)}: {SAME}")

    # The user's own scheduler wins over ours, and ours over pytest-xdist's: that is `trylast` too, and comes later.
    @pytest.hookimpl(trylast=True)
    def pytest_xdist_make_scheduler(self, config: pytest.Config, log: Any) -> TimedScheduling | None:
        return TimedScheduling(config, log) if config.getoption("dist") == "load" else None

    def _others_schedule(self, config: pytest.Config) -> bool:
        """Whether timed items may come to any worker: the per-GPU lock alone keeps them apart then."""
        known = (self, config.pluginmanager.get_plugin("dsession"))
        asked = (hook.plugin for hook in config.hook.pytest_xdist_make_scheduler.get_hookimpls())
        return config.getoption("dist") != "load" or any(plugin not in known for plugin in asked)


SAME = "give every host the same project, baselines and packages"


def named(node: Any) -> str:
    """A worker as a person finds it: "gw1 on node7"."""
    return f"{node.gateway.id} on {node.workerinput[HOST]}"


def _host_of(gateway: Any) -> str:
    if hosts.plain(gateway.spec):
        return socket.gethostname()
    channel = gateway.remote_exec("import socket; channel.send(socket.gethostname())")
    try:
        return str(channel.receive())
    finally:
        channel.waitclose()  # one at a time runs there


def _difference(ids: Sequence[str], known: Sequence[str]) -> str:
    """How a collection differs from one known before, up to the name of the other's worker."""
    more, less = ([one for one in some if one not in others] for some, others in ((ids, set(known)), (known, set(ids))))
    told = [f"{len(more)} tests more ({more[0]})"] if more else []
    told += [f"{len(less)} tests fewer ({less[0]})"] if less else []
    return f"{' and '.join(told) or 'the same tests in another order or to be timed otherwise'} than"


class TimedScheduling(LoadScheduling):  # type: ignore[misc]  # untyped, as above
    """pytest-xdist's default, with a queue of its own for timed items.

    Timed items are handed out in order, to the workers of each host's first lanes, as late as possible: GPUs of any
    speed end together, and a worker that dies, or a run that stops, leaves the most for others. Those workers get other
    items only when no timed item waits. The others' items are `pending`, as in the base class.
    """

    def __init__(self, config: pytest.Config, log: Any = None) -> None:
        super().__init__(config, log)
        self.collection: list[str] | None = None
        self._kinds = b""
        self._timed: frozenset[int] = frozenset()
        self._waiting: list[int] = []  # of the timed: not handed out yet

    @property
    def tests_finished(self) -> bool:
        return not self._waiting and super().tests_finished

    @property
    def has_pending(self) -> bool:
        return bool(self._waiting) or super().has_pending

    @property
    def points(self) -> list[str]:
        """Which of our items are still to be run, or to be reported by a worker that runs them."""
        handed_out = (number for held in self.node2pending.values() for number in held)
        left = sorted({*self._waiting, *self.pending, *handed_out})
        collection = self.collection or []
        return [collection[number] for number in left if self._kinds and self._kinds[number]]

    def is_point(self, item: str) -> bool:
        """Whether an item is one of ours."""
        return bool(self.collection and self._kinds and self._kinds[self.collection.index(item)])

    def schedule(self) -> None:
        if self.collection is None:
            first, collection = next(iter(self.node2collection.items()))
            self._kinds = first.workerinput[TOLD].kinds
            if any(map(_times, self.node2collection)):
                self._begin(collection)
        super().schedule()  # the base class begins here if we did not, or says how collections differ

    def _begin(self, collection: list[str]) -> None:
        self.collection = collection
        self._timed = frozenset(number for number, kind in enumerate(self._kinds) if kind == Kind.TIMED)
        self._waiting = sorted(self._timed)
        self.pending[:] = [number for number in range(len(collection)) if number not in self._timed]
        self.maxschedchunk: int = self.maxschedchunk or len(collection)

    def check_schedule(self, node: Any, duration: float = 0) -> None:
        if node.shutting_down or node not in self.node2collection:
            return
        if _times(node):
            free = max(0, AHEAD - len(self.node2pending[node]))
            batch, self._waiting = self._waiting[:free], self._waiting[free:]
            if batch:
                self.node2pending[node].extend(batch)
                with suppress(OSError):  # it is gone; that is told next
                    node.send_runtest_some(batch)
            if self._waiting:
                return
        if self.pending:
            super().check_schedule(node, duration)
        if not self.pending:
            node.shutdown()  # after what it has; it would keep its last item until the end of the run otherwise

    def _send_tests(self, node: Any, num: int) -> None:
        with suppress(OSError):  # as above
            super()._send_tests(node, num)

    def remove_node(self, node: Any) -> str | None:
        held = self.node2pending[node]
        if (running := packets.running(node.workerinput[NOTE])) in held:  # what it had not told of is before that
            held.remove(running)
            held.insert(0, running)
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


def _times(node: Any) -> bool:
    """Whether a device is this worker's."""
    return bool(node.workerinput[LANE] < node.workerinput[TOLD].devices)
