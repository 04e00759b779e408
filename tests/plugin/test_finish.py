"""How a run ends: when its report is written, with what exit code, and why it may not call recorded points unused."""

from __future__ import annotations

from pathlib import Path

import pytest
from updates import FIRST, HERE, SECOND, point, time

from pytest_ocrsweep.baselines.sweep_report import Report
from pytest_ocrsweep.errors import BaselineError, ReportError
from pytest_ocrsweep.plugin import benchmark
from pytest_ocrsweep.plugin.controller import RESULTS, Controller
from pytest_ocrsweep.plugin.skipped import checks_points
from pytest_ocrsweep.plugin.state import FILTERED, SWEEP
from pytest_ocrsweep.report import files, past
from pytest_ocrsweep.sweep import results
from pytest_ocrsweep.sweep.revision import Revision

STOPS = "\n\ndef test_zz():\n    import pytest\n\n    pytest.exit('stopped', returncode=2)\n"
OK, FAILED, USAGE = pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.USAGE_ERROR
ONE = "def test_decode(ocrsweep, grid):\n    ocrsweep.check('decode', grid, 'flash')\n"


class Written(list[tuple[Report, Path, Path | None]]):
    """What was to be written as a report."""

    problem: str | None = None

    def write(self, report: Report, folder: Path, job: Path | None) -> list[str]:
        if self.problem:
            raise ReportError(self.problem)
        self.append((report, folder, job))
        return ["the report is\x1b[31m written"]


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> Written:
    found = Written()
    monkeypatch.setattr(files, "write", found.write)
    return found


@pytest.fixture(scope="module")
def _of_small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("recorded") / "baselines"


@pytest.fixture
def small(project, _of_small):
    """One stage of two grids, with baselines of three."""
    (project.path / "suites/test_prefill.py").unlink()
    project.write("suites/test_decode.py", ONE)
    project.ini()
    project.record_once(_of_small)
    project.write("pytest.ini", "[pytest]\nocrsweep_grids = 1x1,1x2\n")
    return project


def errors(result: pytest.RunResult) -> list[str]:
    return [line for line in result.outlines if line.startswith("ERROR: ")]


# The report


@pytest.mark.parametrize("job", [None, "summary.md"])
def test_a_report_is_written_once_with_its_folder_and_the_job(small, written, monkeypatch, job):
    if job:
        monkeypatch.setenv("GITHUB_STEP_SUMMARY", job)
    result = small.run("--ocrsweep-report=out")
    ((report, folder, told),) = written
    assert len(report.points) == 2
    assert (folder, told) == (small.path / "out", Path(job) if job else None)
    result.stdout.fnmatch_lines(["*= ocrsweep =*", r"the report is\x1b[[]31m written"])
    assert result.ret == OK


@pytest.mark.parametrize(
    "arguments", [["--collect-only"], ["--ocrsweep-grids=vndor"], []], ids=["collects only", "usage", "no report"]
)
def test_no_report_is_written_where_nothing_ran_or_nobody_asked(small, written, arguments):
    small.run(*arguments, *(["--ocrsweep-report=out"] if arguments else []))
    assert written == []


def test_a_run_that_found_no_point_writes_a_report_unless_it_was_stopped(small, written):
    small.run("--ocrsweep-report=out", "-k", "nothing")
    assert [report.points for report, *_ in written] == [()]
    small.write("suites/test_decode.py", STOPS)
    small.run("--ocrsweep-report=out")
    assert len(written) == 1


def test_a_report_that_fails_is_an_error_of_usage_on_a_line_that_nobody_obeys(small, written):
    written.problem = "out: \x1b[31m##[error]"
    result = small.run("--ocrsweep-report=out")
    assert result.ret == USAGE
    assert errors(result) == [r"ERROR: out: \x1b[31m## [error]"]


def test_a_test_that_fails_by_itself_leaves_no_section_and_no_results(small, written):
    small.write("suites/test_decode.py", "def test_plain():\n    assert False\n")
    result = small.run()
    assert result.ret == FAILED
    result.stdout.no_fnmatch_line("*= ocrsweep =*")


def test_a_report_whose_histories_are_damaged_is_written_without_them(small, written, monkeypatch):
    def damaged(*_: object) -> None:
        raise BaselineError("decode.jsonl:1: it is not JSON")

    monkeypatch.setattr(past, "histories", damaged)
    result = small.run("--ocrsweep-report=out")
    assert (result.ret, len(written)) == (OK, 1)
    result.stdout.fnmatch_lines(["the report is without histories: decode.jsonl:1: it is not JSON"])


def test_a_run_is_recorded_before_other_plugins_end_theirs(small):
    """Those may take longer than a job that was stopped has: pytest-xdist's own waits for its workers."""
    small.baseline().unlink()
    small.write("conftest.py", f"def pytest_sessionfinish():\n    print(open({str(small.baseline())!r}).readline())\n")
    result = small.run("--ocrsweep-update", "-s")
    assert result.ret == OK


def test_errors_are_red(small, written):
    small.write("suites/test_decode.py", SKIPS.format(1) + ONE)
    written.problem = "it is full"
    result = small.run("--ocrsweep-report=out", "-o", "ocrsweep_missing=fail", "--color=yes")
    assert [line[:12] for line in result.outlines if "ERROR: " in line] == ["\x1b[31mERROR: "] * 2


# Skipped before their point


SKIPS = (
    "import pytest\n\n\n@pytest.mark.parametrize('n', range({}))\ndef test_skips(ocrsweep, n):\n    pytest.skip('x')\n"
)


@pytest.mark.parametrize(
    ("demand", "name"),
    [
        (["-o", "ocrsweep_missing=fail"], "ocrsweep_missing=fail"),
        (["--ocrsweep-require-vendor"], "--ocrsweep-require-vendor"),
    ],
)
@pytest.mark.parametrize(("count", "more"), [(3, ""), (5, " and 2 more")])
def test_tests_that_were_skipped_before_their_point_are_counted_and_three_are_named(small, demand, name, count, more):
    small.write("suites/test_decode.py", SKIPS.format(count))
    result = small.run(*demand)
    assert result.ret == FAILED
    names = ", ".join(f"suites/test_decode.py::test_skips[{n}]" for n in range(3))
    assert errors(result) == [f"ERROR: {name}: {count} tests were skipped before their point: {names}{more}"]


SKIPPED = "import pytest\npytest.skip('x', allow_module_level=True)\n\n\ndef test_it(ocrsweep):\n    pass\n"


@pytest.mark.parametrize(("count", "more"), [(1, ""), (4, " and 1 more")])
def test_files_that_were_skipped_whole_are_counted_and_three_are_named(small, count, more):
    names = [f"suites/test_z{number}.py" for number in range(count)]
    for name in names:
        small.write(name, SKIPPED)
    result = small.run("-o", "ocrsweep_missing=fail")
    assert result.ret == FAILED
    told = f"{count} files of points were skipped: {', '.join(names[:3])}{more}"
    assert errors(result) == [f"ERROR: ocrsweep_missing=fail: {told}"]
    assert (small.run().ret, small.run("--collect-only", "-o", "ocrsweep_missing=fail").ret) == (OK, OK)


def test_a_demand_names_skipped_tests_and_skipped_files_on_one_line(small):
    small.write("suites/test_decode.py", SKIPS.format(1))
    small.write("suites/test_z.py", SKIPPED)
    assert errors(small.run("-o", "ocrsweep_missing=fail")) == [
        "ERROR: ocrsweep_missing=fail: 1 tests were skipped before their point: suites/test_decode.py::test_skips[0]; "
        "1 files of points were skipped: suites/test_z.py"
    ]


def test_a_folder_whose_conftest_skips_it_is_a_skipped_file(small):
    small.write("more/conftest.py", "import pytest\n\npytest.skip('x', allow_module_level=True)\n")
    small.write("more/test_z.py", ONE)
    assert errors(small.run("-o", "ocrsweep_missing=fail")) == [
        "ERROR: ocrsweep_missing=fail: 1 files of points were skipped: more"
    ]


def test_a_run_of_nothing_but_a_skipped_file_keeps_pytests_exit_code(small):
    small.write("suites/test_decode.py", SKIPPED)
    result = small.run("-o", "ocrsweep_missing=fail")
    assert result.ret == pytest.ExitCode.NO_TESTS_COLLECTED
    assert len(errors(result)) == 1


ASKS = {
    "def test_it(ocrsweep): pass": True,
    "async def test_it(ocrsweep): pass": True,
    "class Test:\n    def test_it(self, *, ocrsweep): pass": True,
    "@pytest.mark.usefixtures('tmp_path', 'ocrsweep')\ndef test_it(): pass": True,
    "def test_it(request):\n    request.getfixturevalue('ocrsweep')": True,
    "def test_it(timed): pass": True,  # of the conftest.py above
    "def test_it(of_a_package): pass": True,
    "@pytest.fixture\ndef mine(timed): pass\n\ndef test_it(mine): pass": True,
    "def test_it(ocrsweep_model): pass": False,
    "def test_it(tmp_path):\n    subprocess.run(['ocrsweep'])": False,
    "def test_it(elsewhere): pass": False,  # of a conftest.py beside, or above the project
    "def test_it(ocrsweep:": False,
    "x = '\\0'\0": False,
}


@pytest.mark.parametrize("text", ASKS)
def test_a_file_is_of_points_if_a_test_in_it_asks_for_the_fixture_by_any_way(tmp_path, text):
    fixture = "import pytest\n\n@pytest.fixture\ndef {}({}): pass\n"
    for name, wants, folder in [
        ("timed", "ocrsweep", "project"),
        ("of_a_package", "timed", "project/suites"),
        ("elsewhere", "ocrsweep", "project/other"),
        ("elsewhere", "ocrsweep", ""),
    ]:
        file = tmp_path / folder / "conftest.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(fixture.format(name, wants))
    file = tmp_path / "project" / "suites" / "test_z.py"
    file.write_text(text)
    assert checks_points(file, tmp_path / "project") == ASKS[text]


def test_a_folder_is_of_points_if_a_file_below_it_is(tmp_path):
    (tmp_path / "suites" / "deep").mkdir(parents=True)
    assert not checks_points(tmp_path / "suites", tmp_path)
    (tmp_path / "suites" / "deep" / "test_z.py").write_text(ONE)
    assert checks_points(tmp_path / "suites", tmp_path)


def test_a_demand_that_is_met_says_nothing(small):
    result = small.run("-o", "ocrsweep_missing=fail")
    assert (result.ret, errors(result)) == (OK, [])


def test_a_test_that_a_plugin_did_not_run_meets_no_demand(small):
    small.write("conftest.py", "def pytest_runtest_protocol(item):\n    return '1x2' in item.nodeid or None\n")
    result = small.run("-o", "ocrsweep_missing=fail")
    assert result.ret == FAILED
    assert errors(result) == ["ERROR: ocrsweep_missing=fail: 1 tests came to no point"]


def test_a_run_that_failed_is_not_said_to_lack_the_tests_that_it_did_not_come_to(small):
    small.edit(lambda points: points[0].update(tensor_flops=1))
    result = small.run("-o", "ocrsweep_missing=fail", "-x")
    assert (result.ret, errors(result)) == (FAILED, [])


def test_without_a_demand_a_skip_is_a_skip(small):
    small.write("suites/test_decode.py", SKIPS.format(1))
    result = small.run()
    assert (result.ret, errors(result)) == (OK, [])


def test_a_demand_does_not_hide_that_a_run_was_stopped(small):
    small.write("suites/test_decode.py", SKIPS.format(1) + STOPS)
    assert small.run("-o", "ocrsweep_missing=fail").ret == pytest.ExitCode.INTERRUPTED


AGAIN = """
import pytest


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item):
    from _pytest.runner import runtestprotocol

    for item.tries in (1, 2):
        runtestprotocol(item)
    return True


def pytest_runtest_setup(item):
    if item.tries == 1:
        pytest.skip("not yet")
"""


def test_a_test_that_came_to_its_point_at_a_second_try_is_said_to_be_skipped_no_more_than_once(small):
    small.write("conftest.py", AGAIN)
    result = small.run("-o", "ocrsweep_missing=fail")
    assert result.ret == FAILED
    (line,) = errors(result)
    assert line.startswith("ERROR: ocrsweep_missing=fail: 2 tests were skipped before their point: ")


# Unused


def narrowed(project, *arguments: str) -> str | None:
    """What the run says it was narrowed by."""
    result = project.run("--ocrsweep-prune", *arguments)
    lines = [line.removeprefix("ERROR: --ocrsweep-prune removed nothing: ") for line in errors(result)]
    return lines[0].partition(";")[0] if lines else None


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["-c", "other.ini"], "the run is not configured by {}/pytest.ini"),
        (["-c", "pytest.ini"], None),
        (["--rootdir=.", "-c", "pytest.ini"], None),
        (["--ignore=x"], "the run has --ignore"),
        (["--ignore-glob=x*"], "the run has --ignore-glob"),
        (["--deselect=x"], "the run has --deselect"),
        (["suites/test_decode.py::test_decode"], "tests were chosen by name"),
        (["-k", "1x1"], "tests were deselected"),
        (["suites"], "the run is not of all tests below {}"),
        (["."], None),
        ([], None),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_pruning_says_what_the_run_lacks(small, arguments, why):
    small.write("other.ini", "[pytest]\nocrsweep_grids = 1x1,1x2\npython_files = test_*.py\n")
    assert narrowed(small, *arguments) == (why and why.format(small.path))
    assert (len(small.points()) == 2) == (why is None)


def test_pruning_takes_the_only_configuration_of_a_project_for_its_own(small):
    (small.path / "pytest.ini").rename(small.path / "ci.ini")
    assert narrowed(small, "-c", "ci.ini") is None
    assert len(small.points()) == 2


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("pytest.toml", "", "the run is not configured by {}/pytest.toml"),
        ("pytest.ini", "", "the run is not configured by {}/pytest.ini"),
        ("tox.ini", "[pytest]\n", "the run is not configured by {}/tox.ini"),
        ("pyproject.toml", "tool.pytest.ini_options.x = 1\n", "the run is not configured by {}/pyproject.toml"),
        ("pyproject.toml", "[tool.other]\n", None),
        ("setup.cfg", "[x]\n[tool:pytest]\n", "the run is not configured by {}/setup.cfg"),
        ("setup.cfg", "[pytest]\n", None),
        ("pyproject.toml", "= \0", "the run is not configured by {}/pyproject.toml"),
    ],
)
def test_a_configuration_in_a_folder_of_its_own_prunes_no_baselines_of_the_project_above(small, name, text, why):
    """Without -c: pytest finds the nearest, which names the baselines of another project."""
    ini = (small.path / "pytest.ini").read_text()
    (small.path / "pytest.ini").unlink()
    small.write(name, text)
    small.write("part/pytest.ini", f"{ini}ocrsweep_baselines = ../baselines\n")
    small.write("part/test_decode.py", ONE)
    assert narrowed(small, "--rootdir=part", "part") == (why and why.format(small.path))
    assert len(small.points()) == (2 if why is None else 3)


def test_a_configuration_of_another_name_calls_nothing_unused(small):
    small.write("few.ini", "[pytest]\nocrsweep_grids = 1x1\nocrsweep_unused = fail\n")
    result = small.run("-c", "few.ini")
    assert result.ret == OK
    result.stdout.no_fnmatch_line("unused: *")


def test_pruning_takes_all_test_paths_for_every_test(small):
    small.write("pytest.ini", "[pytest]\nocrsweep_grids = 1x1,1x2\ntestpaths = suites more\n")
    small.write("more/test_more.py", "def test_more():\n    pass\n")
    assert narrowed(small, "suites") == f"the run is not of all tests below {small.path}"
    assert narrowed(small, "suites", "more") is None


SKIPS_ITSELF = "import pytest\n\npytest.skip('x', allow_module_level=True)\n"
SHARDS = "def pytest_collection_modifyitems(items):\n    items.pop()\n"


@pytest.mark.parametrize(
    ("file", "text", "why"),
    [
        ("conftest.py", "collect_ignore = ['suites/test_more.py']\n", "test_more.py is ignored"),
        ("conftest.py", "collect_ignore = ['setup.py']\n", None),
        ("conftest.py", SHARDS, "a plugin changed the list of tests"),
        ("suites/test_more.py", SKIPS_ITSELF, "suites/test_more.py was skipped"),
        ("suites/test_more.py", "def test_it():\n    assert 0\n", "suites/test_more.py::test_it came to no point"),
        ("suites/test_more.py", "def test_it(ocrsweep):\n    pass\n", "suites/test_more.py::test_it came to no point"),
    ],
)
def test_pruning_says_which_tests_did_not_come_to_their_points(small, file, text, why):
    small.write("setup.py", "")
    small.write("suites/test_more.py", "def test_more():\n    pass\n")
    small.write("suites/test_zz.py", ONE)
    small.write(file, text)
    assert narrowed(small) == why
    assert (len(small.points()) == 2) == (why is None)


@pytest.mark.parametrize("workers", ["-n0", "-n1"], ids=["none", "one"])
def test_pruning_knows_how_many_tests_the_workers_had(small, workers):
    assert narrowed(small, "-p", "xdist", workers) is None
    assert len(small.points()) == 2


def test_a_whole_run_that_checks_no_point_prunes_none(small, written):
    small.write("suites/test_decode.py", "def test_plain():\n    pass\n")
    assert narrowed(small, "--ocrsweep-report=out") is None
    assert len(small.points()) == 3


def test_pruning_wants_a_whole_run(small):
    small.edit(lambda points: points[0].update(tensor_flops=1))
    assert narrowed(small, "--maxfail=1") == "the run ended early"
    assert len(small.points()) == 3


def test_a_failed_test_without_a_point_may_have_used_one(small):
    small.write("suites/test_aa.py", "def test_aa(ocrsweep):\n    assert False\n")
    assert narrowed(small) == "suites/test_aa.py::test_aa came to no point"
    small.write("suites/test_aa.py", "import nothing_of_the_kind\n")
    assert narrowed(small, "--continue-on-collection-errors") == "suites/test_aa.py could not be collected"


def test_a_test_without_the_fixture_that_is_skipped_uses_nothing(small):
    small.write("suites/test_aa.py", "import pytest\n\n\ndef test_aa():\n    pytest.skip('x')\n")
    assert narrowed(small) is None


@pytest.mark.parametrize(("ini", "code"), [("", OK), ("ocrsweep_unused = fail\n", FAILED)])
def test_an_unused_point_fails_a_run_only_on_demand(small, ini, code):
    small.write("pytest.ini", f"[pytest]\nocrsweep_grids = 1x1,1x2\n{ini}")
    assert small.run().ret == code


# What a report brings


class Report_:
    nodeid, when, failed, skipped, ocrsweep = "a.py::b", "call", False, False, None

    def __init__(self, **given: object) -> None:
        vars(self).update(given)


def test_benchmarks_of_a_report_are_added_each(small, pytester, monkeypatch):
    added = []
    monkeypatch.setattr(benchmark, "add", lambda config, entry: added.append(entry))
    config = pytester.parseconfig()
    controller = Controller(config)
    taken = []
    config.stash[RESULTS] = type("Taken", (), {"take": lambda _, *what: taken.append(what)})()
    one, other = [point(FIRST)], [point(SECOND)]
    controller.pytest_runtest_logreport(Report_(ocrsweep=one, ocrsweep_benchmarks=["a", "b"]))
    controller.pytest_runtest_logreport(Report_(ocrsweep=other, failed=True, ocrsweep_environment="on"))
    assert added == ["a", "b"]
    assert taken == [(one, False, None), (other, True, "on")]
    assert FILTERED not in config.stash
    assert SWEEP not in config.stash
    controller._stopping.as_before()


def test_a_time_of_an_update_is_journalled_with_the_projects_revision_before_the_run_ends(
    project, pytester, monkeypatch
):
    monkeypatch.setattr(results, "revision", lambda folder, _: Revision(f"of {folder}", None))
    config = pytester.parseconfig("--ocrsweep-update")
    controller = Controller(config)
    controller.pytest_runtest_logreport(Report_(ocrsweep=[point(FIRST, time())], ocrsweep_environment=HERE))
    (journal,) = project.path.rglob("*.ocrsweep-journal")
    header, row = journal.read_text().splitlines()
    assert f'"git_revision": "of {project.path}"' in header
    assert '"grid": "1x1"' in row
    controller._stopping.as_before()
