"""Who runs what under pytest-xdist: one worker on each GPU times, all share the rest, and no dead worker takes more
than the item that it was in."""

from __future__ import annotations

import itertools
import re
import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_ocrsweep.plugin.xdist.scheduling import PointScheduling
from pytest_ocrsweep.plugin.xdist.worker import device_of
from pytest_ocrsweep.sweep.gpus import gpus

CONFTEST = """
import os
import pytest
from pytest_ocrsweep.plugin import xdist
from pytest_ocrsweep.plugin.xdist import worker

def pytest_configure(config):
    if not hasattr(config, "workerinput") and config.getoption("dist") != "no":
        xdist.register(config, alike=dict)

@pytest.hookimpl(tryfirst=True)
def pytest_collection_finish(session):
    if hasattr(session.config, "workerinput"):
        kinds = bytes(worker.Kind.TIMED if "timed" in item.name else worker.Kind.OTHER for item in session.items)
        devices = os.environ["GPUS"].split() if any(kinds) else []
        collected = worker.Collected(kinds if any(kinds) else b"", len(devices))
        worker.send(session.config, collected, devices)

@pytest.fixture(autouse=True)
def _told(request):
    with open("ran.txt", "a") as file:
        worker, gpu = (os.environ.get(name, "-") or "none" for name in ("PYTEST_XDIST_WORKER", "CUDA_VISIBLE_DEVICES"))
        print(request.node.nodeid, worker, gpu, file=file)
"""
OWN_SCHEDULER = """
def pytest_xdist_make_scheduler(config, log):
    from xdist.scheduler import LoadScopeScheduling
    return LoadScopeScheduling(config, log)
"""
SUITE = """
import os, pytest

@pytest.mark.parametrize("n", range(12))
def test_other(n):
    pass

@pytest.mark.parametrize("attention", ["eager", "flash"])
@pytest.mark.parametrize("n", range(5))
def test_timed(n, attention):
    assert (n, attention) != (1, "eager")
    if n == 3 and attention == "flash" and "CRASH" in os.environ:
        os._exit(1)
"""
TIMED_ITEMS = [f"test_suite.py::test_timed[{n}-{attention}]" for n in range(5) for attention in ("eager", "flash")]
ITEMS = [*(f"test_suite.py::test_other[{n}]" for n in range(12)), *TIMED_ITEMS]


class Ran(NamedTuple):
    """One line of what a run wrote: who ran what, and what it saw of the GPUs."""

    item: str
    worker: str
    gpu: str

    @property
    def timed(self) -> bool:
        return "timed" in self.item


class Project:
    """A suite with ten timed items, one of which fails, beside others."""

    def __init__(self, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
        self._pytester = pytester
        self._monkeypatch = monkeypatch
        self.set("GPUS", "")
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)
        self.conftest(CONFTEST)
        pytester.makepyfile(test_suite=SUITE)

    def conftest(self, text: str) -> None:
        self._pytester.makeconftest(text)

    def set(self, name: str, value: str) -> None:
        self._monkeypatch.setenv(name, value)

    def run(self, *arguments: str) -> pytest.RunResult:
        own = ("-p", "no:cacheprovider", "-p", "no:benchmark", "-p", "no:ocrsweep")
        return self._pytester.runpytest(*own, *arguments)

    def whole(
        self, *arguments: str, gpus: str = "", failed: int = 1, scheduler: str | None = "PointScheduling"
    ) -> list[Ran]:
        """What ran, of a run in which everything does, as many items fail, and that scheduler was in use."""
        self.set("GPUS", gpus)
        result = self.run("-v", *arguments)
        result.assert_outcomes(passed=len(ITEMS) - failed, failed=failed)
        assert re.findall(r"^scheduling tests via (\w+)", str(result.stdout), re.M) == (
            [scheduler] if scheduler else []
        )
        assert sorted(line.item for line in self.ran) == sorted(ITEMS)
        return self.ran

    @property
    def ran(self) -> list[Ran]:
        return [Ran(*line.split()) for line in (self._pytester.path / "ran.txt").read_text().splitlines()]


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Project:
    return Project(pytester, monkeypatch)


def test_without_workers_nothing_changes(project: Project) -> None:
    assert project.whole("-n0", gpus="7", scheduler=None) == [Ran(item, "-", "-") for item in ITEMS]


def test_one_gpu_has_one_worker_that_times_in_order_and_the_others_see_no_gpu(project: Project) -> None:
    ran = project.whole("-n4", gpus="7")
    assert [line for line in ran if line.timed] == [Ran(item, "gw0", "7") for item in TIMED_ITEMS]
    assert {line.gpu for line in ran if line.worker != "gw0"} == {"none"}
    assert len({line.worker for line in ran if not line.timed}) > 1


def test_two_gpus_share_the_timed_items_each_in_order(project: Project) -> None:
    ran = project.whole("-n4", gpus="2 5")
    assert {(line.worker, line.gpu) for line in ran if line.timed} == {("gw0", "2"), ("gw1", "5")}
    for worker in ("gw0", "gw1"):
        numbers = [TIMED_ITEMS.index(line.item) for line in ran if line.timed and line.worker == worker]
        assert numbers == sorted(numbers)


def test_without_a_gpu_all_workers_share_all_and_keep_their_environment(project: Project) -> None:
    ran = project.whole("-n4")
    assert {line.worker for line in ran} == {"gw0", "gw1", "gw2", "gw3"}
    assert {line.gpu for line in ran} == {"-"}


@pytest.mark.parametrize("device", ["cpu", "cuda:1"])
def test_a_device_by_torchs_name_has_one_worker_and_no_variable(project: Project, device: str) -> None:
    ran = project.whole("-n2", gpus=device)
    assert {line.worker for line in ran if line.timed} == {"gw0"}
    assert {line.gpu for line in ran} == {"-"}


def test_a_run_without_timed_items_keeps_its_gpus(project: Project) -> None:
    project.set("GPUS", "0 1")
    project.set("CUDA_VISIBLE_DEVICES", "0,1")
    project.run("-n2", "-k", "other").assert_outcomes(passed=12)
    assert {line.gpu for line in project.ran} == {"0,1"}


@pytest.mark.parametrize(
    ("arguments", "conftest", "scheduler"),
    [
        (["--dist=loadgroup"], CONFTEST, "LoadGroupScheduling"),
        ([], CONFTEST + OWN_SCHEDULER, "LoadScopeScheduling"),
    ],
    ids=["--dist", "conftest"],
)
def test_another_scheduler_is_the_users_choice_and_all_have_a_gpu(project, arguments, conftest, scheduler) -> None:
    project.conftest(conftest)
    ran = project.whole("-n3", *arguments, gpus="2 5", scheduler=scheduler)
    gpu_of = {"gw0": "2", "gw1": "5", "gw2": "2"}
    assert [line.gpu for line in ran] == [gpu_of[line.worker] for line in ran]


def test_a_timing_worker_that_dies_leaves_its_lane_and_its_item_to_the_next(project: Project) -> None:
    project.set("CRASH", "1")
    project.set("GPUS", "7")
    project.run("-n2").assert_outcomes(passed=len(ITEMS) - 2, failed=2)
    items, workers = [*TIMED_ITEMS[:8], *TIMED_ITEMS[7:]], ["gw0"] * 8 + ["gw2"] + ["gw3"] * 2
    assert [line for line in project.ran if line.timed] == list(map(Ran, items, workers, "7" * 11))


def test_maxfail_stops_the_timed_items_too(project: Project) -> None:
    project.set("GPUS", "7")
    project.run("-n2", "-x").stdout.fnmatch_lines(["*stopping after 1 failures*"])
    assert [line.item for line in project.ran if line.timed] == TIMED_ITEMS[:3]


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


@settings(max_examples=150, deadline=None)
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


@pytest.mark.parametrize(
    ("lane", "shared", "device"), [(0, False, "2"), (1, False, "5"), (2, False, ""), (2, True, "2"), (3, True, "5")]
)
def test_a_lane_beyond_the_gpus_has_one_only_where_any_worker_may_time(lane: int, shared: bool, device: str) -> None:
    assert device_of(lane, ["2", "5"], shared) == device


@pytest.mark.parametrize(
    ("visible", "installed", "found"),
    [
        (None, 2, ["0", "1"]),
        (None, 0, []),
        (None, None, []),
        ("2,3", 4, ["2", "3"]),
        ("3, 1", 4, ["3", "1"]),
        ("0,7,1", 4, ["0"]),  # as CUDA: nothing after one that is not there
        ("0,-1,1", 4, ["0"]),
        ("", 4, []),
        ("GPU-ab,MIG-cd", 4, ["GPU-ab", "MIG-cd"]),
        ("0", 0, []),
        ("0,1", None, ["0", "1"]),  # no NVML, no nvidia-smi: what the user says is all there is
    ],
)
@pytest.mark.parametrize("source", ["nvml", "nvidia-smi"])
def test_the_gpus_are_those_that_cuda_would_show(monkeypatch, tmp_path, source, visible, installed, found) -> None:
    if visible is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    monkeypatch.setenv("PATH", str(tmp_path))
    nvml = SimpleNamespace(nvmlInit=lambda: None, nvmlDeviceGetCount=lambda: installed)
    monkeypatch.setitem(sys.modules, "pynvml", nvml if source == "nvml" and installed is not None else None)
    if source == "nvidia-smi" and installed is not None:
        lines = [f"GPU {number}: NVIDIA H200 (UUID: GPU-{number})" for number in range(installed)]
        tool = tmp_path / "nvidia-smi"
        tool.write_text("\n".join(["#!/bin/sh", "[ $1 = -L ] || exit 1", *(f"echo '{line}'" for line in lines)]) + "\n")
        tool.chmod(0o755)
    assert gpus() == found
