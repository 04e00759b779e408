"""What is recorded, what a point is judged against it, and what is said; alike however pytest runs."""

from __future__ import annotations

import json
import subprocess
from importlib import import_module
from types import SimpleNamespace

import pytest


def test_an_update_records_every_point_and_the_next_run_passes(project, way):
    project.run("--ocrsweep-update", *way).assert_outcomes(passed=12)
    grids = [(grid, attention) for grid in ("1x1", "1x2", "2x3") for attention in ("eager", "flash")]
    assert project.points("decode") == project.points("prefill") == grids
    before = project.baseline().read_bytes()
    project.run().assert_outcomes(passed=12)
    project.run("--ocrsweep-update").assert_outcomes(passed=12)
    assert project.baseline().read_bytes() == before


def test_an_update_of_some_points_leaves_the_others(recorded, way):
    recorded.edit(lambda points: [point.update(tensor_flops=1) for point in points])
    recorded.run("--ocrsweep-update", "-k", "2x3 and flash", *way).assert_outcomes(passed=2)
    assert len(recorded.points()) == 6
    recorded.run().assert_outcomes(passed=7, failed=5)


def test_an_update_of_another_workload_is_added(recorded, way):
    recorded.run("--ocrsweep-update", "--ocrsweep-set=workload.batch=4", *way).assert_outcomes(passed=12)
    assert len(recorded.points()) == 12
    recorded.run().assert_outcomes(passed=12)


def test_a_changed_number_fails_with_old_new_difference_and_remedy(recorded, way):
    def grow(points):
        points[5]["kv_cache_bytes"] *= 2
        points[5]["write_bytes"] += 1

    recorded.edit(grow)
    result = recorded.run(*way)
    result.assert_outcomes(passed=11, failed=1)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(
        [
            "E *Failed: decode 2x3 flash is not what baselines/deepseek-ocr/decode.json records:",
            "E * write_bytes: old *, new * bytes, difference -1 (*%)",
            "E * kv_cache_bytes: old *, new * bytes, difference -* (-50 %)",
            "E *pytest *suites/test_decode.py --ocrsweep-update",
        ]
    )
    result.stdout.fnmatch_lines(["decode *2x3 *flash *FAIL"])
    result.stdout.no_fnmatch_line("*pytest_ocrsweep/plugin.py:*")


def test_a_hole_in_what_is_recorded_fails(recorded, way):
    recorded.edit(lambda points: points.pop())
    result = recorded.run(*way)
    result.assert_outcomes(passed=11, failed=1)
    result.stdout.fnmatch_lines(
        [
            "E *no baseline recorded for decode 2x3 flash *",
            "E *pytest *suites/test_decode.py --ocrsweep-update",
        ]
    )


def test_a_lost_file_fails_the_default_sweep(recorded):
    recorded.baseline().unlink()
    recorded.run().assert_outcomes(passed=6, failed=6)


def test_what_is_asked_for_beyond_the_recorded_is_skipped_and_said_once(recorded, way):
    result = recorded.run("--ocrsweep-set=workload.batch=4", "-rs", *way)
    result.assert_outcomes(skipped=12)
    result.stdout.fnmatch_lines(["SKIPPED *no baseline for workload *batch=4*"])
    result.stdout.fnmatch_lines(["decode *NO BASELINE"])
    said = [line for line in result.outlines if line.startswith("no baseline is recorded for workload")]
    assert len(said) == 1
    assert "batch=4" in said[0]
    assert said[0].endswith(" --ocrsweep-update")

    result = recorded.run("--ocrsweep-grids=4x5,1x1")
    result.assert_outcomes(passed=4, skipped=4)
    result.stdout.fnmatch_lines(["no baseline is recorded for grid 4x5 of workload *: 4 points *"])


def test_a_strict_project_fails_every_missing_point(recorded):
    recorded.ini("ocrsweep_missing = fail")
    recorded.run("--ocrsweep-grids=4x5").assert_outcomes(failed=4)


DAMAGE = {
    "not JSON": (lambda text: text[:-4], "*decode.json:*: it is not JSON*"),
    "a conflict": (
        lambda text: text.replace("    {", "<<<<<<< ours\n    {", 1),
        "*decode.json:6: it is not JSON*",
    ),
    "a float": (
        lambda text: text.replace('write_bytes": ', 'write_bytes": 0.', 1),
        "*decode.json:6: point 1: *",
    ),
    "another schema": (lambda text: text.replace('"schema": 1', '"schema": 0'), "*its schema is 0, not 1*"),
    "another model": (lambda text: text.replace("deepseek-ocr", "other"), "*its model is 'other'*"),
    "another stage": (lambda text: text.replace('e": "decode"', 'e": "vision"'), "*its stage is 'vision'*"),
    "a double": (lambda text: text.replace("1x2", "1x1"), "*decode.json:8: *1x1 eager is recorded twice*"),
}


@pytest.mark.parametrize("update", [[], ["--ocrsweep-update"]], ids=["check", "update"])
@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_file_is_named_and_never_overwritten(recorded, damage, update):
    change, error = DAMAGE[damage]
    recorded.baseline().write_text(change(recorded.baseline().read_text()))
    before = recorded.baseline().read_bytes()
    result = recorded.run(*update)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: damaged baseline {error}*--ocrsweep-update"])
    assert recorded.baseline().read_bytes() == before


def test_damage_stops_workers_too(recorded, way):
    recorded.baseline().write_text("[]")
    result = recorded.run(*way)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert len([line for line in result.errlines if line]) == 1
    result.assert_outcomes()


def test_an_unused_point_is_said_and_only_pruning_removes_it(recorded, way):
    assert recorded.run("--ocrsweep-update", "--ocrsweep-grids=4x5").ret == 0
    result = recorded.run(*way)
    assert result.ret == 0
    result.stdout.fnmatch_lines(["unused: baselines/*/decode.json records 2 points *(grid 4x5)*--ocrsweep-prune"])
    recorded.ini("ocrsweep_unused = fail")
    assert recorded.run().ret == pytest.ExitCode.TESTS_FAILED
    recorded.run("--ocrsweep-update", *way)
    assert ("4x5", "flash") in recorded.points()
    pruned = recorded.run("--ocrsweep-prune", *way)
    pruned.stdout.fnmatch_lines(["*decode.json: 2 unused points removed, 6 left"])
    assert pruned.ret == 0
    assert ("4x5", "flash") not in recorded.points()


def test_an_update_of_one_file_keeps_what_the_others_recorded(recorded, way):
    """The command that a failure prints is one of a single file."""
    recorded.write("suites/test_small.py", "def test_small(ocrsweep):\n    ocrsweep.check('decode', GRID, 'flash')\n")
    recorded.write(
        "suites/test_small.py",
        "from pytest_ocrsweep import CropGrid\n\n\n"
        "def test_small(ocrsweep):\n    ocrsweep.check('decode', CropGrid(7, 1), 'flash')\n",
    )
    assert recorded.run("suites/test_small.py", "--ocrsweep-update", *way).ret == 0
    assert len(recorded.points()) == 7


SHARD = """
def pytest_collection_modifyitems(items):
    del items[1:]
"""


@pytest.mark.parametrize(
    ("narrowed", "why"),
    [
        (["-k", "decode"], "tests were deselected"),
        (["suites/test_decode.py"], "the run is not of all tests below *"),
        (["suites/test_decode.py::test_decode"], "tests were chosen by name"),
        (["--ignore=suites/test_prefill.py"], "test_prefill.py is ignored"),
        (["--ocrsweep-grids=1x1"], "the run has --ocrsweep-grids"),
        (["-o", "ocrsweep_grids=1x1"], "the run has -o ocrsweep_grids"),
        (["-o", "python_files=test_decode.py"], "the run has -o python_files"),
        (["-o", "addopts="], "the run has -o addopts"),
        (["--noconftest"], "the run has --noconftest"),
        (["-c", "few.ini"], "the run is not configured by */pytest.ini"),
        (["-p", "shard"], "a plugin changed the list of tests"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_pruning_refuses_what_is_not_a_run_of_every_test(recorded, monkeypatch, narrowed, why):
    recorded.run("--ocrsweep-update", "--ocrsweep-grids=4x5")
    recorded.write("shard.py", SHARD)
    recorded.write("few.ini", "[pytest]\nocrsweep_grids = 1x1,1x2,2x3\npython_files = test_decode.py\n")
    monkeypatch.syspath_prepend(recorded.path)
    result = recorded.run("--ocrsweep-prune", *narrowed)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stdout.fnmatch_lines([f"ERROR: --ocrsweep-prune removed nothing: {why}; run every test *"])
    assert len(recorded.points()) == 8


LEAVING_OUT = {
    "collect_ignore = ['suites/test_prefill.py']": "test_prefill.py is ignored",
    "def pytest_ignore_collect(collection_path):\n    return 'prefill' in str(collection_path) or None": "*is ignored",
    "def pytest_runtest_protocol(item):\n    return 'prefill' in item.nodeid or None": "6 tests came to no point",
}


@pytest.mark.parametrize("conftest", LEAVING_OUT, ids=lambda text: text.split("(")[0].split()[-1])
def test_pruning_refuses_a_run_of_which_a_conftest_left_out_tests(recorded, way, conftest):
    recorded.run("--ocrsweep-update", "--ocrsweep-grids=4x5")
    recorded.write("conftest.py", conftest + "\n")
    result = recorded.run("--ocrsweep-prune", *way)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stdout.fnmatch_lines([f"ERROR: --ocrsweep-prune removed nothing: {LEAVING_OUT[conftest]}; run every test *"])
    assert len(recorded.points()) == 8


@pytest.mark.parametrize(
    "skip", ["pytest.skip('no', allow_module_level=True)", "pytest.importorskip('no_such_package')"]
)
def test_pruning_refuses_a_run_of_which_a_module_skipped_itself(recorded, way, skip):
    recorded.write(
        "suites/test_more.py",
        f"import pytest\n{skip}\n\ndef test_more(ocrsweep):\n    ocrsweep.check('decode', '4x5', 'flash')\n",
    )
    recorded.run("--ocrsweep-update", "--ocrsweep-grids=4x5")
    result = recorded.run("--ocrsweep-prune", *way)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stdout.fnmatch_lines(
        ["ERROR: --ocrsweep-prune removed nothing: suites/test_more.py was skipped; run every *"]
    )
    assert len(recorded.points()) == 8


def test_a_demand_fails_a_run_of_which_a_module_of_points_skipped_itself(recorded, way):
    body = "def test_more(ocrsweep):\n    ocrsweep.check('decode', '1x1', 'flash')\n"
    recorded.write("suites/test_more.py", f"import pytest\npytest.importorskip('no_such_package')\n\n{body}")
    recorded.write("suites/test_other.py", "import pytest\npytest.skip('of no points', allow_module_level=True)\n")
    assert recorded.run(*way).ret == 0
    result = recorded.run("-o", "ocrsweep_missing=fail", *way)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["ERROR: ocrsweep_missing=fail: 1 files of points were skipped: suites/test_more.py"])


@pytest.mark.parametrize("demand", ["ocrsweep_missing = fail", "--ocrsweep-require-vendor"])
def test_a_demand_fails_a_run_whose_tests_another_plugin_did_not_run(recorded, way, demand):
    recorded.write("conftest.py", "def pytest_runtest_protocol(item):\n    return 'prefill' in item.nodeid or None\n")
    if " " in demand:
        recorded.ini(demand)
    else:
        recorded.write("suites/test_decode.py", "")
    result = recorded.run(*(() if " " in demand else (demand,)), *way)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines([f"ERROR: {demand.replace(' ', '')}: 6 tests came to no point"])


def test_a_summary_that_fails_is_a_line_after_all_that_was_recorded(project, monkeypatch):
    report = import_module("pytest_ocrsweep.report")  # as the run will find it
    monkeypatch.setattr(report, "summary", SimpleNamespace(lines=lambda *_: 1 // 0), raising=False)
    result = project.run("--ocrsweep-update")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stdout.fnmatch_lines(["ERROR: the summary failed: ZeroDivisionError: *"])
    assert len(project.points()) == 6


def test_pruning_that_finds_nothing_says_so(recorded, way):
    result = recorded.run("--ocrsweep-prune", *way)
    assert result.ret == 0
    result.stdout.fnmatch_lines(["--ocrsweep-prune removed nothing: no recorded point is unused"])


def test_a_folder_that_no_run_looks_into_does_not_keep_from_pruning(recorded):
    recorded.run("--ocrsweep-update", "--ocrsweep-grids=4x5")
    recorded.write("build/test_old.py", "def test_old(ocrsweep):\n    ocrsweep.check('decode', '4x5', 'flash')\n")
    recorded.write("setup.py", "")
    recorded.write("conftest.py", "collect_ignore = ['setup.py']\n")
    assert recorded.run("--ocrsweep-prune").ret == 0
    assert len(recorded.points()) == 6


def test_a_plugin_that_shards_loses_no_point_by_an_update(recorded, way):
    recorded.write("conftest.py", SHARD)
    assert recorded.run("--ocrsweep-update", *way).ret == 0
    assert len(recorded.points()) == 6


def test_where_nothing_is_recorded_yet_a_run_says_so_once(project, way):
    result = project.run(*way)
    result.assert_outcomes(skipped=12)
    assert result.ret == 0
    lines = [line for line in result.outlines if "no baseline is recorded" in line]
    assert len(lines) == 1
    assert lines[0].endswith("--ocrsweep-update")


def test_where_nothing_is_recorded_yet_a_demand_fails_each_point_in_a_line_and_says_the_remedy_once(project):
    project.ini("ocrsweep_missing = fail")
    result = project.run("--tb=line")
    result.assert_outcomes(failed=12)
    assert len([line for line in result.outlines if "to record them" in line]) == 1


SKIP = """
import pytest


def pytest_runtest_setup(item):
    if "1x2" in item.name:
        pytest.skip("another plugin")
"""


@pytest.mark.parametrize(
    "demand", [["-o", "ocrsweep_missing=fail"], ["--ocrsweep-require-vendor"]], ids=["ini", "option"]
)
def test_a_skip_before_a_tests_body_does_not_hide_a_demand(recorded, demand, way):
    recorded.write("conftest.py", SKIP)
    result = recorded.run(*demand, *way)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["ERROR: *: 4 tests were skipped before their point: suites/test_decode.py::*1x2*"])


def test_a_remedy_keeps_the_words_that_say_which_project_it_is_about(recorded):
    recorded.edit(lambda points: points[0].update(tensor_flops=1))
    result = recorded.run("-c", "pytest.ini", "--rootdir=.", "-o", "xfail_strict=true", "-k", "decode")
    result.stdout.fnmatch_lines(
        ["E *pytest *-c pytest.ini --rootdir=. -o xfail_strict=true suites/test_decode.py --ocrsweep-update"]
    )


@pytest.mark.parametrize(
    "narrowed",
    [["-k", "decode", "-n2"], ["suites/test_decode.py::test_decode"], ["--ocrsweep-grids=1x1"]],
    ids=" ".join,
)
def test_a_narrowed_run_calls_nothing_unused(recorded, narrowed):
    recorded.run("--ocrsweep-update", "--ocrsweep-grids=4x5")
    recorded.run("--ocrsweep-update", *narrowed).stdout.no_fnmatch_line("unused: *")
    assert ("4x5", "flash") in recorded.points()


def test_a_run_that_stopped_early_calls_nothing_unused(recorded):
    recorded.edit(lambda points: points[0].update(tensor_flops=1))
    recorded.run("--maxfail=1").stdout.no_fnmatch_line("unused: *")


def test_a_suite_file_that_does_not_import_keeps_its_points(recorded):
    text = (recorded.path / "suites/test_decode.py").read_text()
    recorded.write("suites/test_decode.py", "import nothing_of_the_kind\n")
    recorded.write("suites/test_flash.py", text.replace(", attention):", "):").replace("attention", "'flash'"))
    recorded.run("--ocrsweep-update", "--continue-on-collection-errors")
    assert len(recorded.points()) == 6


def test_a_failed_test_is_not_recorded(project):
    project.write(
        "suites/test_decode.py",
        """
def test_decode(ocrsweep, grid, attention):
    point = ocrsweep.check("decode", grid, attention)
    assert str(point.grid) != "1x2"
""",
    )
    result = project.run("--ocrsweep-update", "suites/test_decode.py")
    result.assert_outcomes(passed=4, failed=2)
    result.stdout.fnmatch_lines(["decode *1x2 *flash *FAIL"])
    assert [grid for grid, _ in project.points()] == ["1x1", "1x1", "2x3", "2x3"]


def test_a_worker_that_dies_takes_no_finished_point_along(recorded):
    recorded.write("suites/test_zz.py", "import os\n\n\ndef test_zz():\n    os._exit(1)\n")
    assert recorded.run("--ocrsweep-update", "--ocrsweep-grids=4x5", *("-n2", "--max-worker-restart=1")).ret == 1
    assert recorded.points().count(("4x5", "flash")) == 1
    assert len(recorded.points()) == 8


@pytest.mark.usefixtures("without_charts")
def test_the_report_names_the_commit_and_whether_other_files_than_baselines_differ_from_it(recorded):
    def git(*arguments):
        told = ("git", "-c", "user.name=me", "-c", "user.email=me@localhost", *arguments)
        return subprocess.run(told, cwd=recorded.path, check=True, capture_output=True, text=True).stdout.strip()

    def revision():
        recorded.run("--ocrsweep-report=out", "--ocrsweep-update", "-k", "decode")
        return json.loads((recorded.path / "out" / "sweep.json").read_text())["environment"]["git_revision"]

    git("init", "--quiet")
    git("add", ".")
    git("commit", "--quiet", "--message=all")
    recorded.edit(lambda points: points.pop())
    assert revision() == git("rev-parse", "HEAD")
    recorded.write("suites/test_prefill.py", "# none\n")
    assert revision() == git("rev-parse", "HEAD") + "-dirty"


@pytest.mark.usefixtures("without_charts")
def test_the_report_holds_every_point_whatever_its_verdict(recorded, way):
    recorded.edit(lambda points: points[0].update(tensor_flops=1))
    recorded.run("--ocrsweep-report=out", *way).assert_outcomes(passed=11, failed=1)
    document = json.loads((recorded.path / "out" / "sweep.json").read_text())
    assert (document["schema"], document["model"]) == (1, "deepseek-ocr")
    assert document["environment"]["git_revision"] is None
    assert len(document["points"]) == 12
    assert [(point["stage"], point["grid"]) for point in document["points"]][4:8] == [
        ("prefill", "2x3"),
        ("prefill", "2x3"),
        ("decode", "1x1"),
        ("decode", "1x1"),
    ]
    assert [point["verdict"] for point in document["points"]].count("FAIL") == 1
    assert {point["vendor"] for point in document["points"]} == {None}
