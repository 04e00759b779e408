"""Who runs what under pytest-xdist: one worker on each GPU times, all share the rest, and no dead worker takes more
than the item that it was in."""

from __future__ import annotations

import re
import sys
from types import SimpleNamespace
from typing import NamedTuple

import pytest

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
    ran = project.whole("-n3", gpus="7")
    assert [line for line in ran if line.timed] == [Ran(item, "gw0", "7") for item in TIMED_ITEMS]
    assert {line.gpu for line in ran if line.worker != "gw0"} == {"none"}
    assert len({line.worker for line in ran if not line.timed}) > 1


def test_two_gpus_share_the_timed_items_each_in_order(project: Project) -> None:
    ran = project.whole("-n3", gpus="2 5")
    assert {(line.worker, line.gpu) for line in ran if line.timed} == {("gw0", "2"), ("gw1", "5")}
    for worker in ("gw0", "gw1"):
        numbers = [TIMED_ITEMS.index(line.item) for line in ran if line.timed and line.worker == worker]
        assert numbers == sorted(numbers)


def test_without_a_gpu_all_workers_share_all_and_keep_their_environment(project: Project) -> None:
    ran = project.whole("-n2")
    assert {line.worker for line in ran} == {"gw0", "gw1"}
    assert {line.gpu for line in ran} == {"-"}


@pytest.mark.parametrize("device", ["cuda:1", pytest.param("cpu", marks=pytest.mark.slow)])
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
