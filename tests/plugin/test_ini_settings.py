"""`ocrsweep_set`: the settings of a project, which every run applies, and which `ocrsweep init` writes."""

from __future__ import annotations

import json

import pytest

from pytest_ocrsweep.cli import main

TINY = "model=deepseek-ocr-tiny"


def error(result) -> str:
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    (line,) = [line for line in result.errlines if line.startswith("ERROR")]
    return line.removeprefix("ERROR: ")


@pytest.mark.parametrize(("workers", "and_words"), [("-n2", "-n0"), pytest.param("-n0", "-n2", marks=pytest.mark.slow)])
def test_every_run_has_the_settings_and_the_command_line_comes_after(project, workers, and_words):
    project.ini(f"ocrsweep_set = {TINY}", "    workload.batch=2")
    project.run("--ocrsweep-update").assert_outcomes(passed=12)
    recorded = json.loads(project.baseline(model="deepseek-ocr-tiny").read_text())["points"]
    assert {point["batch"] for point in recorded} == {2}
    project.run(workers).assert_outcomes(passed=12)
    project.run("--ocrsweep-set=workload.batch=3", and_words).assert_outcomes(skipped=12)
    project.run("--ocrsweep-set=model=deepseek-ocr").assert_outcomes(skipped=12)
    project.run("-o", "ocrsweep_set=").assert_outcomes(skipped=12)


def test_the_command_that_accepts_needs_no_setting_that_the_file_has(project):
    project.ini("ocrsweep_set = workload.batch=2")
    project.run("--ocrsweep-update").assert_outcomes(passed=12)
    project.edit(lambda points: points[0].update(tensor_flops=1))
    result = project.run("--ocrsweep-set=workload.prompt_tokens=10")
    result.assert_outcomes(passed=11, failed=1)
    (line,) = [line for line in result.outlines if line.endswith("--ocrsweep-update")]
    assert "suites/test_decode.py --ocrsweep-set=workload.prompt_tokens=10 --ocrsweep-update" in line
    assert "workload.batch" not in line


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("model=nope", "model must be one of *: got 'nope'"),
        ("workload.batch", "'workload.batch' is not KEY=VALUE, for example workload.batch=4"),
        ("+x=1", "'+x=1': options can be changed, not added, removed or moved; write KEY=VALUE"),
        ("workload.bach=4", "no option 'workload.bach'; did you mean 'workload.batch'?"),
        (f"{TINY} model=deepseek-ocr", "model is chosen twice: *"),
        ("workload.batch='4", "No closing quotation"),
        ("workload.pages=2", "workload.pages=2 is priced, and neither recorded nor timed: *"),
        ("model=deepseek-ocr-2 engine=vllm", "nobody has counted deepseek-ocr-2's encoder with queries on vllm: *"),
    ],
)
def test_a_setting_that_does_not_fit_is_one_line_with_the_file(project, value, said):
    project.ini(f"ocrsweep_set = {value}")
    result = project.run()
    result.stderr.fnmatch_lines([f"ERROR: pytest.ini: ocrsweep_set: {said}"])
    assert error(result)
    project.ini()
    project.run("-o", f"ocrsweep_set={value}").stderr.fnmatch_lines([f"ERROR: -o ocrsweep_set: {said}"])


def test_the_place_of_the_wrong_setting_is_named(project):
    project.ini(f"ocrsweep_set = {TINY}")
    assert error(project.run("--ocrsweep-set=workload.bach=4")).startswith("--ocrsweep-set: no option 'workload.bach'")
    project.ini("ocrsweep_set = model=nope workload.batch=2")
    assert project.run("--ocrsweep-set=model=deepseek-ocr").ret == 0  # which replaces the wrong one
    said = error(project.run("--ocrsweep-set=workload.prompt_tokens=0"))
    assert said.startswith("pytest.ini: ocrsweep_set: model must be one of")


@pytest.mark.parametrize("text", ["[3]", '["model=nope", 3]', "3"])
@pytest.mark.parametrize("table", ["tool.pytest.ini_options", "tool.pytest"])
def test_a_value_of_another_type_is_one_line(project, table, text):
    (project.path / "pytest.ini").unlink()
    project.write("pyproject.toml", f"[{table}]\nocrsweep_set = {text}\n")
    assert error(project.run()).startswith("pyproject.toml: ocrsweep_set: ")


@pytest.mark.parametrize(
    ("words", "folder"),
    [
        (["--model=deepseek-ocr-2"], "deepseek-ocr-2"),
        (["--engine=vllm", "--set=precision=fp8"], "deepseek-ocr/vllm/fp8"),
        (["--set=model=mine", "--config-dir=conf", "--batch=4"], "mine"),
    ],
)
@pytest.mark.parametrize("file", ["pytest.ini", "pyproject.toml"])
def test_a_project_that_init_begins_is_green_at_once(pytester, capsys, words, folder, file):
    pytester.mkdir("conf")
    pytester.mkdir("conf/model")
    pytester.path.joinpath("conf/model/mine.yaml").write_text("defaults: [deepseek-ocr-tiny, _self_]\nname: mine\n")
    words = [*words, "--stage=decode", "--grids=1x1,1x2"]
    if file == "pyproject.toml":
        pytester.makepyprojecttoml("[tool.pytest.ini_options]\n")
    assert main(["init", *words]) == 0
    assert list(pytester.path.glob(f"baselines/{folder}/*.json"))
    capsys.readouterr()
    result = pytester.runpytest("-p", "no:benchmark")
    assert result.ret == 0
    assert result.parseoutcomes().keys() <= {"passed", "warnings"}
    for again in (words, ["--stage=decode"]):  # what the file has need not be said again
        assert main(["init", *again]) == 0
        assert capsys.readouterr().out.endswith("nothing changed: all is there already\n")
