"""Timed points are benchmarks of pytest-benchmark, and reach the file of the process that reports."""

from __future__ import annotations

import json
import statistics

import pytest

from pytest_ocrsweep.plugin import benchmark, compat

CONFTEST = """
import pytest
from pytest_ocrsweep.plugin import benchmark

TIMED = pytest.StashKey()

@pytest.fixture
def timed(request):
    item = request.node
    def timed(samples_ns, **extra_info):
        if benchmark.available(request.config):
            item.stash[TIMED] = benchmark.entry(
                f"{item.parent.nodeid}::{item.name}", item.name, "decode", samples_ns,
                getattr(item, "callspec", None) and item.callspec.params or {}, extra_info, timer="cuda-graph")
    return timed

@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item):
    report = yield
    report.timed = item.stash.get(TIMED, None)
    return report

class Controller:
    def __init__(self, config):
        self.config = config

    def pytest_runtest_logreport(self, report):
        if report.timed:
            benchmark.add(self.config, report.timed)

def pytest_configure(config):
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(Controller(config))

@pytest.hookimpl(optionalhook=True)
def pytest_benchmark_generate_machine_info():
    return {"node": "anything"}  # its own takes a second
"""
SUITE = """
import os, pytest

SLOWER = float(os.environ.get("SLOWER", 1))

@pytest.mark.xdist_group("gpu0")
@pytest.mark.parametrize("attention", ["eager", "flash"])
@pytest.mark.parametrize("grid", [1, 2, 3])
def test_decode(timed, grid, attention):
    timed([grid * 1000_000 * SLOWER + i * 1000 for i in (4, 0, 3, 1, 2)], tokens=512)

def test_alone(timed):
    timed([7, 5, 6])
"""
OWN = """
def test_own(benchmark):
    assert benchmark(lambda: 7) == 7
"""
IDS = [f"test_suite.py::test_decode[{grid}-{attention}]" for grid in (1, 2, 3) for attention in ("eager", "flash")]
ALL = sorted([*IDS, "test_suite.py::test_alone"])
DISABLED = "*Benchmarks are automatically disabled because xdist plugin is active*"


class Project:
    """Seven timed points, and a run of them."""

    def __init__(self, pytester: pytest.Pytester) -> None:
        self._pytester = pytester
        pytester.makeconftest(CONFTEST)
        pytester.makepyfile(test_suite=SUITE)
        pytester.makeini("[pytest]\nmarkers = xdist_group: of pytest-xdist, if it is there")

    def own(self) -> None:
        """Add a benchmark that is not of this plugin."""
        self._pytester.makepyfile(test_own=OWN)

    def run(self, *arguments: str) -> pytest.RunResult:
        return self._pytester.runpytest("-p", "no:cacheprovider", "-p", "no:ocrsweep", *arguments)

    def process(self, *arguments: str) -> pytest.RunResult:
        """A run of its own process: its exit status, and what its workers write, are its own."""
        return self._pytester.runpytest_subprocess("-p", "no:cacheprovider", "-p", "no:ocrsweep", *arguments)

    def file(self, *arguments: str) -> dict[str, dict[str, object]]:
        """What such a run writes, by node id."""
        self.run("--benchmark-json=b.json", *arguments).assert_outcomes(passed=7)
        found = json.loads((self._pytester.path / "b.json").read_text())["benchmarks"]
        assert sorted(point["fullname"] for point in found) == ALL
        return {point["fullname"]: point for point in found}


@pytest.fixture
def timed(pytester):
    return Project(pytester)


def test_each_point_is_in_the_file_once_with_its_statistics(timed, way):
    point = timed.file(*way)["test_suite.py::test_decode[2-flash]"]
    stats = point.pop("stats")
    seconds = [0.002004, 0.002, 0.002003, 0.002001, 0.002002]
    assert stats["data"] == pytest.approx(seconds)
    assert stats["min"] == pytest.approx(min(seconds))
    assert stats["median"] == pytest.approx(statistics.median(seconds))
    assert stats["mean"] == pytest.approx(statistics.mean(seconds))
    assert (stats["rounds"], stats["iterations"]) == (5, 1)
    assert point == {
        "group": "decode",
        "name": "test_decode[2-flash]",
        "fullname": "test_suite.py::test_decode[2-flash]",
        "param": "2-flash",
        "params": {"grid": 2, "attention": "flash"},
        "extra_info": {"tokens": 512},
        "options": {"timer": "cuda-graph"},
    }


def test_a_test_without_parameters_has_none(timed):
    point = timed.file()["test_suite.py::test_alone"]
    assert (point["name"], point["param"], point["params"]) == ("test_alone", None, None)


def test_the_table_is_printed_once_without_a_warning(timed, way):
    result = timed.process("--benchmark-columns=min,median,rounds", "--benchmark-sort=name", *way)
    result.assert_outcomes(passed=7)
    lines = result.outlines
    assert sum("benchmark 'decode': 7 tests" in line for line in lines) == 1
    rows = [line.split()[0] for line in lines if line.startswith("test_") and "::" not in line and "(" in line]
    assert rows == [name.partition("::")[2] for name in ALL]
    result.stdout.fnmatch_lines(["Name (time in*Min*Median*Rounds*"])
    result.stdout.no_fnmatch_line(DISABLED)
    result.stderr.no_fnmatch_line(DISABLED)


@pytest.mark.parametrize(
    ("label", "groups"),
    [("func", 1), ("param", 6), ("fullname", 6), ("param:attention", 2), ("group,param:grid", 3)],
)
def test_groups_are_made_of_names_and_parameters(timed, label, groups):
    lines = timed.run(f"--benchmark-group-by={label}", "-k", "test_decode").outlines
    assert sum(line.lstrip("-").startswith(" benchmark ") for line in lines) == groups


def test_a_regression_against_a_saved_run_fails(timed, way, monkeypatch):
    check = ["--benchmark-compare=0001", "--benchmark-compare-fail=median:5%", *way]
    assert timed.run("--benchmark-save=before", *way).ret == 0
    same = timed.run(*check)
    assert same.ret == 0
    same.stdout.fnmatch_lines(["*benchmark 'decode': 14 tests*", "test_decode?1-eager? (0001_before)*"])

    monkeypatch.setenv("SLOWER", "1.07")
    slower = timed.process(*check)
    assert slower.ret == 1
    regressed = [line.split()[0] for line in slower.errlines if "Field 'median' has failed" in line]
    assert sorted(regressed) == [name.partition("::")[2] for name in IDS]


def test_a_run_saves_itself(timed, pytester):
    assert timed.run("--benchmark-autosave", "-n2").ret == 0
    (saved,) = (pytester.path / ".benchmarks").rglob("0001_*.json")
    assert sorted(point["fullname"] for point in json.loads(saved.read_text())["benchmarks"]) == ALL


def test_a_histogram_is_drawn(timed, pytester):
    pytest.importorskip("pygal", reason="pytest-benchmark draws with pygal")
    assert timed.run("--benchmark-histogram=plot", "-n2").ret == 0
    assert "test_decode[2-flash]" in (pytester.path / "plot-decode.svg").read_text()


def test_a_benchmark_beside_ours_is_timed_as_ever_and_has_the_same_fields(timed, pytester):
    timed.own()
    timed.run("--benchmark-json=b.json", "--benchmark-max-time=0.01").assert_outcomes(passed=8)
    found = json.loads((pytester.path / "b.json").read_text())["benchmarks"]
    assert sorted(point["fullname"] for point in found) == sorted([*ALL, "test_own.py::test_own"])
    assert len({tuple(sorted(point)) for point in found}) == 1
    assert len({tuple(sorted(point["stats"])) for point in found}) == 1


def test_a_benchmark_beside_ours_is_disabled_under_xdist_with_the_warning(timed, pytester):
    timed.own()
    result = timed.process("-n2", "--benchmark-json=b.json")
    result.assert_outcomes(passed=8)
    found = json.loads((pytester.path / "b.json").read_text())["benchmarks"]
    assert sorted(point["fullname"] for point in found) == ALL
    assert "Benchmarks are automatically disabled because xdist plugin is active" in f"{result.stdout}{result.stderr}"


@pytest.mark.parametrize("workers", ["-n0", pytest.param("-n2", marks=pytest.mark.slow)])
@pytest.mark.parametrize("off", ["--benchmark-disable", "--benchmark-skip", "-pno:benchmark"])
def test_without_pytest_benchmark_tests_run_as_ever(timed, off, workers):
    result = timed.run(off, workers)
    result.assert_outcomes(passed=7)
    result.stdout.no_fnmatch_line("*Rounds*")


def test_enabled_again_on_the_command_line_it_reports(timed):
    timed.file("--benchmark-disable", "--benchmark-enable", "-n2")


def test_a_point_that_comes_again_replaces_itself(pytester):
    config = pytester.parseconfigure()
    point = benchmark.entry("t.py::test", "test", None, [5], {}, {}, timer="t")
    benchmark.add(config, point)
    benchmark.add(config, point)
    assert len(compat.benchmarks(config)) == 1


def test_an_entry_is_made_of_plain_values():
    class Text(str):
        """As an enum of strings is one."""

    found = benchmark.entry("n", "n[a[0]]", Text("g"), (1, 2), {"grid": object}, {"pair": (1, 2)}, timer=Text("t"))
    assert found["param"] == "a[0]"
    assert found["extra_info"] == {"pair": [1, 2]}
    assert found["params"] == {"grid": "<class 'object'>"}
    assert {type(found[key]) for key in ("group", "timer")} == {str}


def test_no_samples_are_no_benchmark():
    with pytest.raises(ValueError, match=r"^t.py::test: no samples, so no benchmark; leave the point out$"):
        benchmark.entry("t.py::test", "test", None, [], {}, {}, timer="t")
