"""A run that is killed, stopped, or not alone: files stay whole, nothing found is lost, nothing is left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest
from documents import report

from pytest_ocrsweep.baselines import counted, history, timed
from pytest_ocrsweep.baselines.result_json import to_json
from pytest_ocrsweep.files import atomic
from pytest_ocrsweep.plugin.interrupt import Stopping

POINTS = 15

NO_CHARTS = """
from pytest_ocrsweep.report import files
files.find_spec = lambda module: None  # they take seconds
"""

HEARS = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored by what a script runs in the background
"""

KILLED = """
import os, signal, sys
from pathlib import Path
from pytest_ocrsweep.files import atomic

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

real = os.replace
moments = {
    "before it is on the disk": ("fsync", die),
    "before it is in place": ("replace", die),
    "once it is in place": ("replace", lambda *paths: (real(*paths), die())),
}
if sys.argv[1] in moments:
    setattr(os, *moments[sys.argv[1]])
with atomic.draft(Path(sys.argv[2])) as file:
    file.write(b"half")
    if sys.argv[1] == "half written":
        file.flush()
        die()
    file.seek(0)
    file.write(b"all of it")
"""
WRITER = """
import sys
from pathlib import Path
from pytest_ocrsweep.files import atomic

with atomic.locked(Path(sys.argv[1])):
    print("writes", flush=True)
    sys.stdin.read()
"""
RECORDER = """
import sys
from pathlib import Path
from pytest_ocrsweep import CropGrid, Workload
from pytest_ocrsweep.baselines import counted, history, timed
from pytest_ocrsweep.baselines.attribution import Observed
from pytest_ocrsweep.baselines.counted import PointKey
from pytest_ocrsweep.baselines.evidence import Process
from pytest_ocrsweep.baselines.measurement import Environment
from pytest_ocrsweep.baselines.metrics import exact_names
from pytest_ocrsweep.baselines.recorded_time import TimedProcess

folder, columns, points = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
time = TimedProcess("host", None, Observed(tensor_flops=1), None, Process(9, 8, 10, 5), Environment())
print("ready", flush=True)
sys.stdin.readline()
for rows in range(1, points + 1):
    key = PointKey(Workload(CropGrid(rows, columns)), "flash")
    counted.record(folder / "decode.json", "m", "decode", {key: dict.fromkeys(exact_names(), 7)})
    timed.record(folder / "timed.json", "m", "cpu", "decode", {key: (time, True)})
"""
KILL_AFTER_THE_FIRST_FILE = """
import os, signal
real = os.replace

def replaced(draft, file):
    real(draft, file)
    if str(file).endswith(".json"):  # pytest's own are not meant
        os.kill(os.getpid(), signal.SIGKILL)

os.replace = replaced
"""
STOP = """
import os, signal, time

def test_zz(request):
    with open("stopped", "w") as file:
        file.write(str(os.getpid()))
    controller = os.getppid() if hasattr(request.config, "workerinput") else os.getpid()
    os.kill(controller, signal.{name})
    time.sleep(2)
"""


def start(script: str, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", script, *map(str, arguments)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def update(project, *arguments: str) -> subprocess.Popen[str]:
    """A process of its own that updates, only counting."""
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "ocrsweep", "-p", "xdist"]
    command += ["--ocrsweep-analytic-only", "--ocrsweep-update", *arguments]
    alone = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}  # others take longer to load than all this runs
    return subprocess.Popen(command, cwd=project.path, env=alone, stdout=subprocess.PIPE, text=True)


# Killed


@pytest.mark.parametrize(
    ("moment", "found"),
    [
        ("half written", "old"),
        ("before it is on the disk", "old"),
        ("before it is in place", "old"),
        ("once it is in place", "all of it"),
    ],
)
def test_a_killed_writer_leaves_the_old_file_or_the_new_one_and_the_next_cleans_up(tmp_path, moment, found):
    file = tmp_path / "file.json"
    file.write_text("old")
    assert start(KILLED, moment, file).wait() == -signal.SIGKILL
    assert file.read_text() == found
    assert len(list(tmp_path.iterdir())) > 1
    atomic.write(file, "next")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("file.json", "next")]


def test_what_a_killed_writer_left_of_a_file_that_is_not_written_again_is_removed_too(tmp_path):
    assert start(KILLED, "half written", tmp_path / "file.json").wait() == -signal.SIGKILL
    (tmp_path / ".mine.lock").touch()
    atomic.remove_leftovers(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [".mine.lock"]


def test_what_somebody_writes_now_is_left_to_them_and_who_waits_too_long_is_told(tmp_path):
    file = tmp_path / "file.json"
    writer = start(WRITER, file)
    assert writer.stdout.readline() == "writes\n"
    (tmp_path / ".file.json.0a1b2c3d.ocrsweep-draft").touch()
    atomic.remove_leftovers(tmp_path)
    assert (tmp_path / ".file.json.0a1b2c3d.ocrsweep-draft").exists()
    told = pytest.raises(OSError, match=r"another process has been writing it for 0.1 s.*file\.json")
    with told, atomic.locked(file, wait_s=0.1):
        pass
    writer.communicate()
    with atomic.locked(file, wait_s=0.1):
        pass


def test_an_update_killed_between_two_files_is_finished_by_the_next(recorded):
    for stage in ("prefill", "decode"):
        recorded.edit(lambda points: [point.update(tensor_flops=1) for point in points], stage)
    stages = ("prefill", "decode")
    old = [recorded.baseline(stage).read_bytes() for stage in stages]
    conftest = recorded.write("conftest.py", KILL_AFTER_THE_FIRST_FILE)
    killed = update(recorded)
    killed.communicate()
    assert killed.returncode == -signal.SIGKILL
    between = [recorded.baseline(stage).read_bytes() for stage in stages]
    assert sum(map(bytes.__eq__, old, between)) == 1
    conftest.unlink()
    assert recorded.run("--ocrsweep-update").ret == 0
    assert recorded.run().ret == 0
    assert {path.name for path in recorded.baseline().parent.iterdir()} == {"prefill.json", "decode.json"}


# Two at once


def test_two_processes_that_record_into_the_same_files_lose_no_point(tmp_path):
    both = [start(RECORDER, tmp_path, columns, POINTS) for columns in (1, 2)]
    assert [process.stdout.readline() for process in both] == ["ready\n"] * 2
    for process in both:
        process.stdin.write("go\n")
        process.stdin.flush()
    assert [process.wait() for process in both] == [0, 0]
    assert len(counted.read(tmp_path / "decode.json", "m", "decode")) == 2 * POINTS
    assert len(timed.read(tmp_path / "timed.json", "m", "cpu", "decode")) == 2 * POINTS
    assert len(history.read(tmp_path / "timed.history.jsonl").entries) == 2 * POINTS
    assert len(list(tmp_path.iterdir())) == 3


def test_two_updates_at_once_record_what_both_found(project):
    kinds = [("-k", "decode", "--ocrsweep-grids=1x1,1x2"), ("--ocrsweep-grids=2x3",)]
    for process in [update(project, *kind) for kind in kinds]:
        process.communicate()
        assert process.returncode == 0
    assert {grid for grid, _ in project.points("decode")} == {"1x1", "1x2", "2x3"}
    assert {grid for grid, _ in project.points("prefill")} == {"2x3"}


# Stopped


@pytest.mark.skipif(os.name == "nt", reason="Windows sends neither signal to one process")
@pytest.mark.parametrize(
    ("name", "way"),
    [
        pytest.param("SIGINT", (), id="SIGINT"),
        pytest.param("SIGTERM", (), id="SIGTERM", marks=pytest.mark.slow),
        pytest.param("SIGINT", ("-n2",), id="SIGINT-n2", marks=pytest.mark.slow),
        pytest.param("SIGTERM", ("-n2",), id="SIGTERM-n2"),
    ],
)
def test_a_run_that_is_stopped_tells_writes_and_records_what_it_found(project, name, way):
    project.write("conftest.py", NO_CHARTS + HEARS)
    project.write("suites/test_zz.py", STOP.format(name=name))
    stopped = update(project, "--ocrsweep-report=out", *way)
    told = stopped.communicate()[0]
    assert stopped.returncode == pytest.ExitCode.INTERRUPTED
    rows = json.loads((project.path / "out/sweep.json").read_text())["points"]
    assert told.count("RECORDED") == len(rows) > 0
    for stage in {row["stage"] for row in rows}:
        of_stage = [(row["grid"], row["attention"]) for row in rows if row["stage"] == stage]
        assert of_stage == project.points(stage)
    with pytest.raises(ProcessLookupError):
        os.kill(int((project.path / "stopped").read_text()), 0)


def test_a_run_that_is_stopped_before_its_first_point_leaves_an_earlier_report(project):
    before = json.dumps(to_json(report()))
    earlier = project.write("out/sweep.json", before)
    project.write("suites/test_aa.py", "raise KeyboardInterrupt\n")
    stopped = update(project, "--ocrsweep-report=out")
    stopped.communicate()
    assert stopped.returncode == pytest.ExitCode.INTERRUPTED
    assert earlier.read_text() == before


def test_a_sigterm_that_somebody_else_handles_is_left_to_them(monkeypatch):
    before = signal.getsignal(signal.SIGTERM)
    stopping = Stopping()
    try:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        for take in (stopping.as_interrupt, stopping.not_now, stopping.as_before):
            take()
            assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGTERM, before)


def test_after_a_run_sigterm_does_what_it_did(recorded):
    before = signal.getsignal(signal.SIGTERM)
    assert recorded.run().ret == 0
    assert signal.getsignal(signal.SIGTERM) is before
