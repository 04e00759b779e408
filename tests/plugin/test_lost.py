"""A worker that is lost costs its running point one more try, and its host none of the run."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from checkouts import COUNTED, POINTS, Checkout


def test_an_interpreter_without_pytest_is_not_started_again_and_again(checkout: Checkout, tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "bare")], check=True)
    spec = f"popen//python={tmp_path / 'bare' / 'bin' / 'python'}"
    told = checkout.run("-d", f"--tx={spec}", *COUNTED, code=4)
    why = f"{spec}: it ended before it had collected: ModuleNotFoundError: No module named"
    assert f"ERROR: no worker is left: {why}" in told
    told = checkout.run("-d", f"--tx={spec}", "--tx=popen", *COUNTED)
    assert f"cannot replace a lost worker, the others go on: {why}" in told
    assert checkout.recorded() == len(POINTS)


def test_a_lost_workers_point_is_tried_once_more(checkout: Checkout) -> None:
    told = checkout.run("-n2", *COUNTED, die=f"{POINTS[3]} 1")
    assert re.search(rf"gw. on {socket.gethostname()} was lost while running .*{re.escape(POINTS[3])}", told)
    assert re.search(r"6 passed, 1 retried in", told)
    assert checkout.recorded() == len(POINTS)


def test_a_point_that_kills_its_workers_gets_two_of_them(checkout: Checkout) -> None:
    told = checkout.run("-n1", *COUNTED, die=f"{POINTS[3]} 9", code=1)
    assert re.search(r"gw. on \S+ and then gw. on \S+ died while running .*; it is not tried again", told)
    assert re.search(r"1 failed, 5 passed, 1 retried in", told)
    assert [item for item, *_ in checkout.ran].count(POINTS[3]) == 2
    assert checkout.recorded() == len(POINTS) - 1


def test_a_test_that_is_no_point_dies_as_ever(checkout: Checkout) -> None:
    (checkout.path / "suites" / "test_other.py").write_text("def test_other(): pass\n")
    told = checkout.run("-n1", "-k", "other", die="test_other 9", code=1)
    assert "crashed while running 'suites/test_other.py::test_other'" in told
    assert "1 failed in" in told


@pytest.mark.parametrize("point", [POINTS[0], POINTS[-1]])
def test_what_a_host_had_goes_to_another_when_it_is_gone(checkout: Checkout, serve, point: str) -> None:
    """Also to one that has ended already: it is the last point, the other host may have had its last before."""
    told = checkout.run("-d", serve(die=f"{point} 1"), serve(die=f"{point} 1"), *COUNTED)
    assert "cannot replace a lost worker, the others go on: socket=" in told
    assert re.search(r"6 passed, 1 retried in", told)
    assert checkout.recorded() == len(POINTS)


def test_points_that_nobody_is_left_to_run_fail_the_run_by_name(checkout, serve) -> None:
    told = checkout.run("-d", serve(die=f"{POINTS[2]} 9"), serve(die=f"{POINTS[2]} 9"), *COUNTED, code=1)
    listed = told.partition("no worker was left to run ")[2].splitlines()
    passed = set(re.findall(r"PASSED suites/test_decode.py::(\S+)", told))
    assert {line.split("::")[1] for line in listed if line.startswith("suites/")} == set(POINTS) - passed - {POINTS[2]}


def test_with_another_scheduler_the_run_ends_when_all_hosts_are_gone(checkout: Checkout, serve) -> None:
    told = checkout.run("--dist=loadscope", serve(die=f"{POINTS[2]} 9"), *COUNTED, code=2)
    assert "Interrupted: no worker is left: socket=" in told
    assert checkout.recorded() == 2


def test_a_run_that_replaces_nobody_says_what_it_left(checkout: Checkout) -> None:
    told = checkout.run("-n1", "--max-worker-restart=0", *COUNTED, die=f"{POINTS[1]} 9", code=1)
    assert "worker gw0 crashed and worker restarting disabled" in told
    assert f"suites/test_decode.py::{POINTS[1]}" in told.partition("no worker was left to run 5 points:")[2]
