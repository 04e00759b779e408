"""How much a run prints, how wide and in which colours; and what it answers to a word that is nearly right."""

from __future__ import annotations

import re

import pytest

RED = "\x1b[31m"
COUNTS = "ocrsweep: 2 points: 1 FAIL, 1 PASS"
AT = ("suites/test_decode.py", "-k", "2x3")


def make_red(recorded) -> None:
    recorded.edit(lambda points: points[5].update(kv_cache_bytes=points[5]["kv_cache_bytes"] * 2))


def test_the_line_about_a_failed_test_begins_with_the_metric_and_its_change(recorded, way):
    make_red(recorded)
    lines = recorded.run(*AT, *way).stdout.str().splitlines()
    (line,) = [line for line in lines if line.startswith("FAILED")]
    assert line == "FAILED suites/test_decode.py::test_decode[2x3-flash] - KV cache -50.00 %"


def test_the_change_is_legible_in_80_columns_in_the_suites_that_init_writes(recorded):
    recorded.edit(lambda points: points[5].update(tensor_flops=points[5]["tensor_flops"] * 2, kv_cache_bytes=7))
    suite = recorded.path / "suites" / "test_decode.py"
    suite.rename(suite.with_name("test_ocrsweep_decode.py"))
    said = recorded.run("suites/test_ocrsweep_decode.py", "-k", "2x3").stdout.str()
    (line,) = [line for line in said.splitlines() if line.startswith("FAILED")]
    assert line == "FAILED suites/test_ocrsweep_decode.py::test_decode[2x3-flash] - FLOPs -50.00 ..."


def test_a_failure_of_the_users_own_is_summed_up_by_pytest(recorded):
    recorded.write(
        "suites/test_own.py", "def test_own(ocrsweep):\n    ocrsweep.check('decode', '2x3', 'flash')\n    assert 1 == 2"
    )
    recorded.run("suites/test_own.py").stdout.fnmatch_lines(["FAILED suites/test_own.py::test_own - assert 1 == 2"])


def test_quiet_is_one_line_and_quieter_is_none(recorded, way):
    make_red(recorded)
    quiet = recorded.run(*AT, "-q", *way).stdout.str().splitlines()
    assert COUNTS in quiet
    assert not any(line.startswith(("decode ", "stage ", "floors ")) or " ocrsweep ==" in line for line in quiet)
    assert not any("points" in line for line in recorded.run(*AT, "-qq", *way).stdout.str().splitlines())


def test_a_quiet_update_says_what_it_recorded(project):
    lines = project.run("-q", "--ocrsweep-update").stdout.str().splitlines()
    assert "ocrsweep: 12 points: 12 RECORDED" in lines
    assert "baselines/deepseek-ocr/decode.json: 6 points added, 0 changed, 0 as before" in lines


def test_problems_are_said_however_quiet_a_run_is(recorded, monkeypatch):
    recorded.write("out", "a file where the report is to be a folder")
    result = recorded.run(*AT, "-qq", "--ocrsweep-report=out")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: --ocrsweep-report: *"])


def table(result: pytest.RunResult) -> list[str]:
    lines = result.stdout.str().splitlines()
    start = next(at for at, line in enumerate(lines) if line.startswith("stage "))
    return lines[start : start + 3]


def test_the_table_has_the_columns_that_there_is_room_for(recorded, monkeypatch):
    everything = table(recorded.run(*AT))
    assert max(map(len, everything)) > 80  # in a file or a pipe
    monkeypatch.setenv("COLUMNS", "80")
    result = recorded.run(*AT)
    assert max(map(len, table(result))) <= 80
    assert {"estimate ms", "floor ms", "TFLOP", "verdict"} <= set(re.split(r"  +", table(result)[0]))
    result.stdout.fnmatch_lines(["no room for *FLOP/byte*: -v shows them"])
    assert table(recorded.run(*AT, "-v")) == everything


@pytest.mark.parametrize(("way", "coloured"), [((), False), (("--color=yes",), True), (("--color=no",), False)])
def test_verdicts_are_coloured_where_pytests_are(recorded, way, coloured):
    make_red(recorded)
    out = recorded.run(*AT, *way).stdout.str()
    assert (f"  {RED}FAIL\x1b[0m" in out) is coloured


def test_a_variable_for_colours_is_obeyed(recorded, monkeypatch):
    make_red(recorded)
    monkeypatch.delenv("PY_COLORS", raising=False)  # pytester's own
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert f"  {RED}FAIL\x1b[0m" in recorded.run(*AT).stdout.str()


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--ocrsweep-gird=1x1"], "ERROR: no option --ocrsweep-gird; did you mean '--ocrsweep-grids'?"),
        (["--ocrsweep-prun"], "ERROR: no option --ocrsweep-prun; did you mean '--ocrsweep-prune'?"),
        (["--ocrsweep-engine=vllm"], "ERROR: no option --ocrsweep-engine; did you mean '--ocrsweep-set engine=…'?"),
        (["--ocrsweep-batch", "4"], "ERROR: *-batch; did you mean '--ocrsweep-set workload.batch=…'?"),
        (["--ocrsweep-new_token=4"], "ERROR: *-new_token; did you mean '--ocrsweep-set workload.new_tokens=…'?"),
        (["--ocrsweep-zzzz"], "ERROR: no option --ocrsweep-zzzz; ours are --ocrsweep-grids, *"),
        (["-o", "ocrsweep_model=x"], "ERROR: no ini key ocrsweep_model; did you mean 'ocrsweep_set = model=…'?"),
        (["--ocrsweep-grids=2*3"], "ERROR: *did you mean 2x3?"),
        (["--ocrsweep-set=workload.bach=4"], "ERROR: *did you mean 'workload.batch'?"),
        (["-o", "ocrsweep_missng=fail"], "ERROR: no ini key ocrsweep_missng; did you mean 'ocrsweep_missing'?"),
    ],
)
def test_a_near_miss_is_answered_with_what_was_meant(recorded, words, line):
    result = recorded.run(*AT, *words)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([line])


def test_a_misspelt_key_of_the_ini_file_ends_the_run_and_not_one_without_points(recorded, way):
    recorded.ini("ocrsweep_baseline = elsewhere")
    recorded.write("suites/test_other.py", "def test_other():\n    pass")
    result = recorded.run(*AT, *way)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    said = result.stderr.str() + result.stdout.str()
    assert "no ini key ocrsweep_baseline; did you mean 'ocrsweep_baselines'?" in said
    assert recorded.run("suites/test_other.py", *way).ret == 0


def test_an_option_of_the_projects_own_that_begins_as_ours_is_its_own(recorded):
    recorded.write("conftest.py", "def pytest_addoption(parser):\n    parser.addoption('--ocrsweep-gridz')")
    assert recorded.run(*AT, "--ocrsweep-gridz=x").ret == 0
