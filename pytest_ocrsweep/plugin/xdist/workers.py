"""The controller's part: numbers each host's workers, compares what they collected, and chooses the scheduler."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest

from ..state import SKIPPED, leave_out
from ..usage import usage_error
from .scheduling import PointScheduling
from .worker import GIVEN, Collected, Kind

if TYPE_CHECKING:
    from execnet import Channel, Gateway

    from ..compat import Node

PATIENCE_S = 1  # for what came before the message that is handled now: it is there, or was not sent
SAME = "give every host the same project, baselines and packages"


@dataclass(eq=False)
class Worker:
    """What is known of one worker."""

    host: str
    lane: int  # its number among the workers of its host that run now
    channel: Channel
    collected: Collected | None = None
    answered: bool = False  # it runs with this plugin
    ended: bool = False

    @property
    def times(self) -> bool:
        """Whether a device is this worker's."""
        return self.collected is not None and self.lane < self.collected.devices


class Workers:
    """All workers that were started. A worker that replaces another takes over its lane, even before the other has
    ended: the per-GPU lock makes it wait.
    """

    def __init__(self, config: pytest.Config, alike: Callable[[], Mapping[str, str]]) -> None:
        self._config = config
        self._alike = alike
        self._of: dict[Node, Worker] = {}
        self._first: Node | None = None  # that had collected
        self.items: list[str] = []  # the tests' ids, as it has them
        self.kinds = b""  # of these; empty if none is ours

    def __getitem__(self, node: Node) -> Worker:
        return self._of[node]

    def named(self, node: Node) -> str:
        """A worker as a person finds it: "gw1 on node7"."""
        return f"{node.gateway.id} on {self._of[node].host}"

    @property
    def points(self) -> list[str]:
        """The tests that check points."""
        return [item for item, kind in zip(self.items, self.kinds, strict=False) if kind]

    @property
    def timed(self) -> frozenset[int]:
        """The numbers of the tests that are timed."""
        return frozenset(number for number, kind in enumerate(self.kinds) if kind == Kind.TIMED)

    def pytest_configure_node(self, node: Node) -> None:
        host, channel = _host_of(node.gateway), node.gateway.newchannel()
        taken = [each.lane for other, each in self._of.items() if each.host == host and not _ends(other, each)]
        lane = next(number for number in count() if number not in taken)
        self._of[node] = Worker(host, lane, channel)
        node.workerinput[GIVEN] = {"lane": lane, "channel": channel, "shared": self._others_schedule()}

    def pytest_xdist_node_collection_finished(self, node: Node, ids: Sequence[str]) -> None:
        """Comes before the scheduler has the collection."""
        collected = self._receive(node)
        if collected.filtered:
            leave_out(self._config, collected.filtered)
        self._config.stash.setdefault(SKIPPED, {}).update(dict.fromkeys(collected.skipped))
        if self._config.getoption("dist") != "each":
            self._compare(node, collected, list(ids))

    def pytest_testnodedown(self, node: Node, error: object) -> None:
        worker = self._of.get(node)
        if worker is None:
            return
        worker.ended = True
        if error:
            leave_out(self._config, "a worker was lost")  # what it had is run by others, if there are any
        elif worker.collected is None and (problem := self._receive(node).problem):
            raise usage_error(problem)

    # The user's own scheduler wins over ours, and ours over pytest-xdist's: that is `trylast` too, and comes later.
    @pytest.hookimpl(trylast=True)
    def pytest_xdist_make_scheduler(self, config: pytest.Config, log: Any) -> PointScheduling | None:
        return PointScheduling(config, log, self) if config.getoption("dist") == "load" else None

    def _others_schedule(self) -> bool:
        """Whether timed tests may come to any worker: the per-GPU lock alone keeps them apart then."""
        asked = [hook.plugin for hook in self._config.hook.pytest_xdist_make_scheduler.get_hookimpls()]
        others = [each for each in asked if each is not self and not type(each).__module__.startswith("xdist.")]
        return self._config.getoption("dist") != "load" or bool(others)

    def _receive(self, node: Node) -> Collected:
        worker = self._of[node]
        try:
            worker.collected = Collected(*worker.channel.receive(PATIENCE_S))
            worker.answered = True
        except (OSError, EOFError):
            worker.collected = Collected()
        return worker.collected

    def _compare(self, node: Node, collected: Collected, ids: list[str]) -> None:
        if self._first is None:
            self._first, self.items, self.kinds = node, ids, collected.kinds
        without = [self.named(each) for each in (self._first, node) if not self._of[each].answered]
        if without and (self.kinds or collected.kinds):
            raise pytest.UsageError(f"{without[0]} runs without pytest-ocrsweep: {SAME}")
        here = self._alike() if collected.alike else {}
        different = [name for name, value in here.items() if collected.alike.get(name) != value]
        if different:
            raise pytest.UsageError(
                f"{self.named(node)} has other {' and '.join(different)} than the controller: {SAME}"
            )
        if collected.kinds != self.kinds or (self.kinds and ids != self.items):
            difference = _difference(ids, self.items)
            raise pytest.UsageError(f"{self.named(node)} collected {difference} {self.named(self._first)}: {SAME}")


def _ends(node: Node, worker: Worker) -> bool:
    return worker.ended or node.shutting_down


def _host_of(gateway: Gateway) -> str:
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
