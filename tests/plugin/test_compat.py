"""What the plugin knows of other packages' inside is there, and in one file; a wrong version is one line."""

from __future__ import annotations

import ast
import inspect
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from pytest_benchmark import session, stats
from xdist.workermanage import WorkerController

from pytest_ocrsweep.plugin import benchmark, compat

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "pytest_ocrsweep" / "plugin").rglob("*.py"))
MOST = 15
# Of what others' names are in no other file: those of a worker are declared there, as `Node`.
ONLY_THERE = {
    "callspec",
    "reprcrash",
    "global_and_fixture_disabled",
    "exitstatus",
    "benchmarks",
    "Metadata",
    "workeroutput",
}
BY_NAME = {"capturemanager", "terminalreporter", "pytest-benchmark", "dsession", "fixturenames", "workerinput"}
WRONG = """
import {module}
{module}.__version__ = "99.1"
"""


def test_there_are_at_most_fifteen_private_names_each_with_a_reason() -> None:
    names = [(name, why) for names in compat.PRIVATE.values() for name, why in names.items()]
    assert len(names) <= MOST
    assert all(len(why.split()) > 3 for _, why in names)


def attributes(path: Path) -> Iterator[ast.Attribute]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Attribute):
            yield node


def test_no_name_that_begins_with_an_underscore_is_asked_of_another_object() -> None:
    asked = {
        (path.name, node.attr)
        for path in FILES
        for node in attributes(path)
        if re.match(r"_[a-z]", node.attr) and not (isinstance(node.value, ast.Name) and node.value.id == "self")
    }
    assert asked == set()


def test_no_other_file_of_the_plugin_has_a_private_name() -> None:
    found = set()
    for path in FILES:
        if path.name != "compat.py":
            tree = ast.parse(path.read_text(encoding="utf-8"))
            strings = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)}
            names = {node.attr for node in attributes(path) if ast.unparse(node.value) != "compat"}
            found |= {(path.name, name) for name in (strings & BY_NAME) | (names & ONLY_THERE)}
    assert found == set()


def test_what_is_known_of_a_test_and_of_the_terminal_is_there(pytester: pytest.Pytester) -> None:
    item, *_ = pytester.getitems(
        "import pytest\n@pytest.mark.parametrize('grid', [7])\ndef test(grid, tmp_path): pass\n"
    )
    assert compat.uses(item, "tmp_path")
    assert not compat.uses(item, "ocrsweep")
    assert compat.argument(item, "grid") == 7
    assert compat.argument(item, "attention") is None
    manager = item.config.pluginmanager.get_plugin("capturemanager")
    assert callable(manager.global_and_fixture_disabled)
    assert compat.terminal(item.config) is not None
    assert "exitstatus" in pytest.Session.__annotations__


def test_what_is_known_of_a_worker_is_there() -> None:
    source = inspect.getsource(WorkerController)
    names = {name.partition(".")[2] for name in compat.PRIVATE["pytest-xdist"] if name.startswith("WorkerController")}
    assert {name for name in names if not hasattr(WorkerController, name) and f"self.{name} = " not in source} == set()
    assert names == {name for name in (*compat.Node.__annotations__, *vars(compat.Node)) if not name.startswith("_")}


def test_what_is_known_of_pytest_benchmark_is_there(pytester: pytest.Pytester) -> None:
    reported = pytester.parseconfigure().pluginmanager.get_plugin(compat.BENCHMARK)
    assert isinstance(reported, session.BenchmarkSession)
    assert reported.benchmarks == []
    point = benchmark.entry("t.py::test", "test", None, [5e8], {}, {}, timer="t")
    assert isinstance(compat.benchmark_of(point), stats.Metadata)
    assert "self.benchmarks = []" in inspect.getsource(session.BenchmarkSession)


@pytest.mark.parametrize(
    ("version", "fits"), [("3.6.9", False), ("3.7", True), ("3.8.0", True), ("3.99.1.dev2", True), ("4.0.0rc1", False)]
)
def test_a_version_fits_between_the_first_seen_and_the_next_major_one(monkeypatch, version: str, fits: bool) -> None:
    monkeypatch.setattr("xdist.__version__", version)
    expected = (
        f"pytest-xdist is {version}: pytest-ocrsweep needs 'pytest-xdist>=3.7,<4'; install that, or add -p no:ocrsweep"
    )
    assert compat.problem() == (None if fits else expected)


@pytest.mark.parametrize(
    ("module", "arguments"),
    [("xdist", ["-n2"]), ("execnet", ["-n2"]), ("pytest_benchmark", []), ("pytest_benchmark", ["-n2"]), ("pytest", [])],
)
def test_a_wrong_version_is_one_line_before_any_test(
    project, pytester, monkeypatch, module: str, arguments: list[str]
) -> None:
    project.write("conftest.py", WRONG.format(module=module))  # for the workers too
    monkeypatch.setattr(f"{module}.__version__", "99.1")  # and back again
    result = pytester.runpytest("-p", "xdist", *arguments)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    package = next(name for name, known in compat.MODULES.items() if known == module)
    (told,) = (line for line in result.errlines if line)
    assert told.startswith(f"ERROR: {package} is 99.1: pytest-ocrsweep needs '{package}>=")


def test_a_wrong_version_of_what_a_run_does_not_use_is_nothing_to_it(pytester: pytest.Pytester) -> None:
    pytester.makeconftest(WRONG.format(module="pytest_benchmark"))
    pytester.makepyfile("def test_nothing(): pass")
    pytester.runpytest_subprocess().assert_outcomes(passed=1)


def test_the_versions_are_those_that_an_installation_brings() -> None:
    needed = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["dependencies"]
    assert {f"{package}>={first},<{refused}" for package, (first, refused) in compat.SEEN.items()} <= set(needed)
