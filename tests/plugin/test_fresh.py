"""A round in a process of its own: what it is asked for, what its answer becomes, and how long all of them may take."""

from __future__ import annotations

import io
import json
import os
import sys
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest

from pytest_ocrsweep import CropGrid, vendor_model
from pytest_ocrsweep.baselines.machine import Machine
from pytest_ocrsweep.baselines.sampling import Samples
from pytest_ocrsweep.plugin import options
from pytest_ocrsweep.sweep import fresh, meter
from pytest_ocrsweep.sweep.config import compose
from pytest_ocrsweep.sweep.fresh import FreshProcesses
from pytest_ocrsweep.sweep.options import NO_SLOWDOWN, Slowdown
from pytest_ocrsweep.sweep.timed_point import TimedPoint

TINY = ("model=deepseek-ocr-tiny", "workload.resolution=tiny")
POINT = TimedPoint("vision", compose(TINY).workload.on(CropGrid(1, 1)), "flash")
HOT = Machine(1980, 612.5, ("hw_slowdown",))
ROUND = Samples((7, 8, 9, 10, 11), "converged", Machine(1), HOT, (Machine(2), Machine(3)))
ANSWER = json.dumps(asdict(ROUND))


@pytest.fixture
def process(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Makes the code that each new process runs; it finds the task in the text `task`."""

    def becomes(code: str) -> Path:
        task = tmp_path / "task.json"
        head = f"import pathlib, sys\ntask = sys.stdin.read()\npathlib.Path({str(task)!r}).write_text(task)\n"
        (tmp_path / "stands_in.py").write_text(head + code)
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))
        monkeypatch.setattr(fresh, "MODULE", "stands_in")
        return task

    return becomes


@pytest.mark.parametrize("before", ["", "torch says something\\nfirst\\n"])
def test_the_last_line_that_a_process_prints_is_its_round(process, before):
    process(f"print('''{before}{ANSWER}''')")
    assert FreshProcesses(TINY, seconds=60).round(POINT) == ROUND


@pytest.mark.parametrize(
    "code",
    [
        f"print('{ANSWER}'); sys.exit(3)",
        "",
        "print('not JSON')",
        "print('{}')",
        "print('7')",
        f"print('{ANSWER}'.replace('7', '', 1).replace('8, 9, 10, 11', ''))",
        f"print('{ANSWER}'.replace('sm_clock_mhz', 'sm_clock_ghz'))",
    ],
)
def test_an_answer_that_is_no_round_is_none(process, code):
    process(code)
    assert FreshProcesses(TINY, seconds=60).round(POINT) is None


def test_a_process_is_asked_for_all_that_makes_up_the_point(process):
    task = process("")
    made = FreshProcesses(TINY, Path("/weights"), Slowdown(3.5), seconds=60)
    made.round(POINT._replace(page=Path("/page.png")))
    assert json.loads(task.read_text()) == {
        "overrides": [*TINY, "vendor.energy_ms=null"],  # a round is of times alone
        "config_dir": None,
        "checkpoint": "/weights",
        "slowdown": 3.5,
        "stage": "vision",
        "grid": "1x1",
        "attention": "flash",
        "page": "/page.png",
        "asked_by": os.getpid(),
    }
    FreshProcesses(TINY, seconds=60).round(POINT)
    assert {json.loads(task.read_text())[name] for name in ("checkpoint", "page")} == {None}


def test_the_time_of_all_processes_is_limited_and_each_takes_of_it(process, monkeypatch):
    now = iter((100.0, 107.0, 200.0, 200.5))
    monkeypatch.setattr("time.monotonic", lambda: next(now))
    limits = []

    def run(*_: object, timeout: float, **__: object) -> Any:
        limits.append(timeout)
        return SimpleNamespace(returncode=0, stdout=ANSWER)

    monkeypatch.setattr("subprocess.run", run)
    processes = FreshProcesses(TINY, seconds=125.0)
    assert processes.round(POINT) == processes.round(POINT) == ROUND
    assert limits == [120.0, 118.0]
    assert processes.seconds == 117.5


def test_a_process_that_takes_too_long_is_none_and_its_time_is_gone(process):
    process("import time; time.sleep(60)")
    processes = FreshProcesses(TINY, seconds=0.5)
    assert processes.round(POINT) is None
    assert processes.seconds < 0.1


@pytest.mark.parametrize("seconds", [0, -1, 0.0])
def test_no_process_is_started_once_the_time_is_up(monkeypatch, seconds):
    monkeypatch.setattr("subprocess.run", None)
    assert FreshProcesses(TINY, seconds=seconds).round(POINT) is None


def test_a_python_that_is_not_there_is_none(monkeypatch):
    monkeypatch.setattr(sys, "executable", "/no/such/python")
    assert FreshProcesses(TINY, seconds=60).round(POINT) is None


def test_a_process_runs_this_module_and_has_the_time_that_the_option_says():
    assert FreshProcesses.__module__ == fresh.MODULE
    assert f"GPU: {fresh.FRESH_S:g}, CPU: 0" in options.INI["ocrsweep_fresh_seconds"][1]


def test_without_seconds_there_are_no_processes():
    made = FreshProcesses(TINY)
    assert (made.checkpoint, made.slowdown, made.seconds, made.round(POINT)) == (None, NO_SLOWDOWN, 0, None)


class Meter:
    """What `main` makes a meter of, and what it asks of it."""

    def __init__(self, settings: Any, model: Any, checkpoint: Path | None, *, slowdown: Slowdown) -> None:
        self.made.append((settings.workload.resolution, model.name, checkpoint, slowdown))

    made: ClassVar[list[object]] = []

    def first(self, point: TimedPoint) -> Any:
        self.made.append(point)
        return SimpleNamespace(first=ROUND)


@pytest.mark.parametrize(("checkpoint", "page"), [(None, None), ("/weights", "/page.png")])
def test_the_process_times_what_it_is_asked_for_and_prints_its_round(monkeypatch, capsys, checkpoint, page):
    gpu_state = SimpleNamespace(OURS={1})
    monkeypatch.setattr(vendor_model, "gpu_state", gpu_state, raising=False)
    monkeypatch.setattr(meter, "Meter", Meter)
    parents: list[int] = []
    monkeypatch.setattr(fresh, "die_with_parent", parents.append)
    monkeypatch.setattr(Meter, "made", [])
    asked = FreshProcesses(TINY, checkpoint and Path(checkpoint), Slowdown(3.5))
    point = POINT._replace(page=page and Path(page))
    monkeypatch.setattr("sys.stdin", io.StringIO(json.dumps(asked._task(point))))
    fresh.main()
    assert capsys.readouterr().out == ANSWER + "\n"
    resolution, name, where, slowdown = Meter.made[0]
    assert (str(resolution), name, where, slowdown) == ("tiny", "deepseek-ocr-tiny", asked.checkpoint, Slowdown(3.5))
    assert Meter.made[1:] == [point]
    assert parents == [os.getpid()]
    assert {1, os.getpid()} == gpu_state.OURS
