"""A process that a command starts does not outlive it, however the command ends."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

CHILD = """
import os, time
from pytest_ocrsweep.sweep.stopping import die_with_parent
die_with_parent({parent})
print(os.getpid(), flush=True)
time.sleep(60)
"""
PARENT = "import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', sys.argv[1]]); time.sleep(60)"
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="Linux alone kills it")


def test_a_process_whose_parent_is_killed_dies_too():
    command = [sys.executable, "-c", PARENT, CHILD.format(parent="os.getppid()")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT) as parent:
        child = int(parent.stdout.readline())
        parent.kill()
        end = time.monotonic() + 20
        while Path(f"/proc/{child}/stat").exists() and not is_dead(child):
            assert time.monotonic() < end
            time.sleep(0.02)


def is_dead(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"


def test_a_process_whose_parent_died_before_it_could_ask_ends_at_once():
    done = subprocess.run(
        [sys.executable, "-c", CHILD.format(parent=os.getppid())], capture_output=True, text=True, env=ENVIRONMENT
    )
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "its parent is gone\n")


def test_a_round_in_a_new_process_ends_with_the_run_that_asked_for_it():
    done = subprocess.run(
        [sys.executable, "-m", "pytest_ocrsweep.sweep.fresh"],
        input='{"asked_by": 1}',
        capture_output=True,
        text=True,
        env=ENVIRONMENT,
    )
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "its parent is gone\n")
