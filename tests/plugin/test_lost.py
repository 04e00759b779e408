"""A worker that is lost costs its running point one more try, and its host none of the run."""

from __future__ import annotations

import re
import socket

import pytest
from checkouts import COUNTED, POINTS, Checkout


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


def test_a_host_that_is_gone_ends_the_run_in_one_line_and_what_is_left_is_listed(checkout: Checkout, serve) -> None:
    gone = serve(die=f"{POINTS[1]} 9", HOST_DIES="1")
    told = checkout.run("-d", *gone, *COUNTED, code=2, process=True)
    here = re.escape(socket.gethostname())
    assert re.search(rf"Exit: gw0 on {here} was lost and cannot be replaced: the connection is closed", told)
    assert "no worker was left to run 5 points:" in told
    assert checkout.recorded() == 1
    assert "Traceback" not in told.partition("Exception ignored in atexit callback")[0]  # that is execnet's own


def test_a_scheduler_that_takes_no_test_back_from_us_does_as_ever(checkout: Checkout) -> None:
    told = checkout.run("-n2", "--dist=loadscope", *COUNTED, die=f"{POINTS[2]} 1", code=1)
    assert f"crashed while running 'suites/test_decode.py::{POINTS[2]}'" in told
    assert "1 failed, 6 passed in" in told
    assert "no worker was left" not in told
    assert checkout.recorded() == len(POINTS)


def test_a_run_that_replaces_nobody_says_what_it_left(checkout: Checkout) -> None:
    told = checkout.run("-n1", "--max-worker-restart=0", *COUNTED, die=f"{POINTS[1]} 9", code=1)
    assert "worker gw0 crashed and worker restarting disabled" in told
    assert f"suites/test_decode.py::{POINTS[1]}" in told.partition("no worker was left to run 5 points:")[2]


# As pytest-rerunfailures does with --reruns 2.
RERUN = """
crashed = []

def pytest_handlecrashitem(crashitem, report, sched):
    crashed.append(crashitem)
    if len(crashed) <= 2:
        sched.mark_test_pending(crashitem)
        report.outcome = "rerun"
"""


@pytest.mark.parametrize(
    ("times", "passed", "tries"), [(1, 6, 2), pytest.param(2, 6, 3, marks=pytest.mark.slow), (9, 5, 3)]
)
def test_a_point_that_another_plugin_runs_again_is_not_run_twice(checkout: Checkout, times, passed, tries) -> None:
    with (checkout.path / "conftest.py").open("a") as file:
        file.write(RERUN)
    told = checkout.run("-n1", *COUNTED, die=f"{POINTS[3]} {times}", code=int(passed < 6))
    assert f"{passed} passed" in told
    assert "retried" not in told
    assert ("it is not tried again" in told) == (passed < 6)
    assert [item for item, *_ in checkout.ran].count(POINTS[3]) == tries
