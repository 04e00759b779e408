"""Simulated workers: each test runs once whoever dies, timed ones in order on their lanes, and GPUs end together."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from types import SimpleNamespace

from hypothesis import given
from hypothesis import strategies as st

from pytest_ocrsweep.plugin.xdist.scheduling import PointScheduling


@dataclass(eq=False)
class Node:
    """A worker without a process: it starts a test once it knows the next, or that nothing follows."""

    gateway: object = field(default_factory=lambda: SimpleNamespace(id="gw"))
    queue: list[int] = field(default_factory=list)
    shutting_down: bool = False

    def send_runtest_some(self, numbers: list[int]) -> None:
        assert not self.shutting_down
        self.queue += numbers

    def shutdown(self) -> None:
        self.shutting_down = True

    @property
    def can_run(self) -> bool:
        return len(self.queue) > 1 or (self.shutting_down and bool(self.queue))


@dataclass
class Known:
    """What Workers knows, as far as scheduling needs it."""

    items: list[str]
    timed: frozenset[int]
    of: dict[Node, SimpleNamespace] = field(default_factory=dict)

    def __getitem__(self, node: Node) -> SimpleNamespace:
        return self.of[node]


Lane = tuple[int, int]  # a host's number, and a lane there


class Run:
    """What pytest-xdist does with a scheduler, with chance for a clock. Each host has workers, and devices."""

    def __init__(self, hosts: list[tuple[int, int]], items: int, timed: list[int], chunk: int | None = None) -> None:
        lanes = [(host, lane) for host, (workers, _) in enumerate(hosts) for lane in range(workers)]
        options = {"tx": ["popen"] * len(lanes), "maxschedchunk": chunk}
        config = SimpleNamespace(getvalue=options.get, getoption=options.get)
        self.hosts = hosts
        self.ids = [str(number) for number in range(items)]
        self.known = Known(self.ids, frozenset(timed))
        self.scheduler = PointScheduling(config, None, self.known)
        self.alive: dict[Lane, Node] = {}
        self.ran: list[tuple[int, Lane]] = []
        for at in lanes:
            self.start(at)

    def start(self, at: Lane) -> None:
        host, lane = at
        node = self.alive[at] = Node()
        self.known.of[node] = SimpleNamespace(collected=(), times=bool(self.known.timed) and lane < self.hosts[host][1])
        self.scheduler.add_node(node)
        self.scheduler.add_node_collection(node, self.ids)
        if self.scheduler.collection_is_completed:
            self.scheduler.schedule()

    def go(self, choose, dies: Iterable[int] = (), again: Iterable[int] = (), duration: float = 0) -> None:
        """Each number of `dies` kills its worker once, and is tried once more if it is in `again`."""
        dies = set(dies)
        while True:
            if self.scheduler.tests_finished:
                for node in self.alive.values():
                    node.shutdown()
            able = [at for at, node in self.alive.items() if node.can_run]
            if not able:
                return
            at = choose(able)
            node = self.alive[at]
            number = node.queue.pop(0)
            self.ran.append((number, at))
            if number in dies:
                dies.remove(number)
                assert self.scheduler.remove_node(node) == self.ids[number]
                if number in again:
                    self.scheduler.mark_test_pending(self.ids[number])
                self.start(at)
            else:
                self.scheduler.mark_test_complete(node, number, duration)


HOSTS = st.lists(st.tuples(st.integers(1, 4), st.integers(0, 3)), min_size=1, max_size=3)


@given(
    data=st.data(),
    hosts=HOSTS,
    items=st.integers(0, 40),
    chunk=st.none() | st.integers(1, 5),
    duration=st.sampled_from([0.0, 1.0]),
)
def test_every_item_runs_once_whoever_dies_and_timed_ones_in_order_on_their_lanes(data, hosts, items, chunk, duration):
    numbers = st.sets(st.integers(0, items - 1)) if items else st.just(set())
    timed = sorted(data.draw(numbers, "timed"))
    dies = set(itertools.islice(data.draw(numbers, "dies"), 4))
    again = set(itertools.islice(dies, data.draw(st.integers(0, 4), "again")))
    run = Run(hosts, items, timed, chunk)
    run.go(lambda able: data.draw(st.sampled_from(able)), dies, again, duration)
    assert Counter(number for number, _ in run.ran) == Counter(range(items)) + Counter(again)
    assert not run.scheduler.has_pending
    assert run.scheduler.tests_finished
    time = {(host, lane) for host, (workers, devices) in enumerate(hosts) for lane in range(min(workers, devices))}
    assert not time or {at for number, at in run.ran if number in timed} <= time
    for lane in time:
        mine = [number for number, at in run.ran if at == lane and number in timed]
        assert dies.intersection(timed) or mine == sorted(mine)


def test_a_fast_gpu_times_more_so_that_both_end_together() -> None:
    run = Run([(2, 2)], 31, timed=list(range(30)))
    turns = itertools.cycle([(0, 0), (0, 0), (0, 1)])  # twice as fast
    run.go(lambda able: next(at for at in turns if at in able))
    assert 18 <= sum(at == (0, 0) for _, at in run.ran) <= 22


def test_a_dead_worker_leaves_all_but_two_of_the_timed_items() -> None:
    run = Run([(1, 1), (1, 1)], 30, timed=list(range(30)))
    assert [len(node.queue) for node in run.alive.values()] == [2, 2]


def test_a_few_items_that_are_not_timed_go_to_all_workers() -> None:
    run = Run([(4, 1)], 8, timed=list(range(5)))
    assert [len(node.queue) for node in run.alive.values()] == [2, 1, 1, 1]


def test_many_items_that_are_not_timed_travel_in_chunks_of_neighbours() -> None:
    run = Run([(3, 1)], 401, timed=[400])
    first = run.alive[0, 1].queue
    assert first == list(range(first[0], first[0] + len(first)))
    assert len(first) > 30


def test_a_worker_that_comes_before_another_has_collected_waits_for_it() -> None:
    run = Run([(2, 1)], 10, timed=[0, 1, 2, 3])
    late = Node()
    run.known.of[late] = SimpleNamespace(collected=None, times=False)
    run.scheduler.add_node(late)
    run.scheduler.schedule()
    assert late.queue == []
    run.scheduler.add_node_collection(late, run.ids)
    run.scheduler.schedule()
    assert late.queue != [] or late.shutting_down


def test_a_worker_times_before_it_does_anything_else() -> None:
    run = Run([(2, 1)], 30, timed=list(range(20, 30)))
    run.go(min)
    assert [number for number, at in run.ran if at == (0, 0)][:10] == list(range(20, 30))


def test_hosts_share_the_timed_items_each_on_as_many_workers_as_it_has_devices() -> None:
    run = Run([(3, 2), (2, 1), (2, 0)], 60, timed=list(range(30)))
    turns = itertools.count()
    run.go(lambda able: able[next(turns) % len(able)])
    assert {at for number, at in run.ran if number < 30} == {(0, 0), (0, 1), (1, 0)}
    assert {at for number, at in run.ran if number >= 30} == {(0, 2), (1, 1), (2, 0), (2, 1)}


def test_a_worker_does_not_sit_on_its_last_item_while_another_times() -> None:
    run = Run([(2, 1)], 11, timed=list(range(10)))
    run.go(max)
    assert run.ran[0] == (10, (0, 1))


def test_an_item_that_a_plugin_wants_again_goes_back_to_its_lane() -> None:
    run = Run([(2, 1)], 10, timed=[4, 5, 6, 7])
    run.scheduler.mark_test_pending("4")
    run.go(max)
    assert [number for number, at in run.ran if at == (0, 0)][:5] == [4, 5, 4, 6, 7]
