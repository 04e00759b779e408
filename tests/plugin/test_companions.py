"""Beside plugins that run tests again or cut their list, no demand is forgotten and no point is lost in silence."""

from __future__ import annotations

import json

import pytest

# As pytest-rerunfailures does with --reruns 2.
RERUN = """
from _pytest.runner import runtestprotocol

def pytest_runtest_protocol(item, nextitem):
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    for left in (2, 1, 0):
        item._initrequest()
        reports = runtestprotocol(item, nextitem=nextitem, log=False)
        again = left > 0 and any(report.failed for report in reports)
        for report in reports:
            if again and report.failed:
                report.outcome = "rerun"
            item.ihook.pytest_runtest_logreport(report=report)
        if not again:
            break
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True

def pytest_report_teststatus(report):
    if report.outcome == "rerun":
        return "rerun", "R", "RERUN"
"""

TRIES = """
from pathlib import Path
import pytest

def test_it(ocrsweep):
    tried = Path(__file__).with_name("tries")
    tries = len(tried.read_text()) if tried.exists() else 0
    tried.write_text("x" * (tries + 1))
"""
CHECK = '    ocrsweep.check("decode", "1x1", "flash")\n'
RAISE = '    assert tries, "flaky"\n'
SKIP = '    if tries: pytest.skip("it gave up")\n'

# Their options; what they do is of no matter here.
SPLIT = """
def pytest_addoption(parser):
    parser.addoption("--splits", type=int)
    parser.addoption("--randomly-seed", default="default")
    parser.addoption("--randomly-dont-reorganize", dest="randomly_reorganize", action="store_false", default=True)

def pytest_configure(config):
    config.option.randomly_seed = 5
"""
GROUPS = "ERROR: --splits cuts groups from an order that pytest-randomly draws anew in each run*"


def verdicts(project) -> list[str]:
    return [point["verdict"] for point in json.loads((project.path / "out" / "sweep.json").read_text())["points"]]


@pytest.fixture
def tried(recorded):
    """Runs a test of these lines, up to three times if it fails."""

    def run(*arguments: str, body: str) -> pytest.RunResult:
        recorded.write("conftest.py", RERUN)
        recorded.write("test_it.py", TRIES + body)
        return recorded.run("test_it.py", *arguments)

    return run


@pytest.mark.parametrize(
    "body", [RAISE + SKIP + CHECK, SKIP + CHECK + RAISE], ids=["before its point", "after its point"]
)
def test_a_test_that_fails_and_is_then_skipped_meets_no_demand(tried, way, body):
    result = tried("--ocrsweep-require-vendor", *way, body=body)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(
        ["ERROR: --ocrsweep-require-vendor: 1 tests were skipped before their point: test_it.py::test_it"]
    )


@pytest.mark.usefixtures("without_charts")
@pytest.mark.parametrize("body", [RAISE + CHECK, CHECK + RAISE], ids=["before its point", "after its point"])
def test_a_test_that_passes_at_the_second_try_is_one_good_point(tried, recorded, way, body):
    assert tried("--ocrsweep-report=out", *way, body=body).ret == 0
    assert verdicts(recorded) == ["PASS"]


@pytest.mark.usefixtures("without_charts")
def test_a_point_that_fails_at_each_try_is_one_failed_point(tried, recorded, way):
    recorded.edit(lambda points: [point.update(tensor_flops=1) for point in points])
    assert tried("--ocrsweep-report=out", *way, body=CHECK).ret == pytest.ExitCode.TESTS_FAILED
    assert verdicts(recorded) == ["FAIL"]


def test_groups_of_an_order_that_nobody_else_has_are_refused(recorded, way):
    recorded.write("conftest.py", SPLIT)
    result = recorded.run("--splits=2", *way)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stdout.fnmatch_lines([GROUPS])


@pytest.mark.parametrize(
    "more", [["--splits=2", "--randomly-seed=3"], ["--splits=2", "--randomly-dont-reorganize"], []]
)
def test_groups_of_one_order_are_taken(recorded, more):
    recorded.write("conftest.py", SPLIT)
    result = recorded.run(*more)
    assert result.ret == 0
    result.stdout.no_fnmatch_line(GROUPS)


def test_groups_without_points_are_not_ours_to_refuse(recorded):
    recorded.write("conftest.py", SPLIT)
    recorded.write("test_other.py", "def test_other(): pass")
    assert recorded.run("--splits=2", "test_other.py").ret == 0
