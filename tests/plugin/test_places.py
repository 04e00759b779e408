"""Which baselines a run reads and writes, wherever it is started, and what it says of them."""

from __future__ import annotations

import os

import pytest

GRIDS = "--ocrsweep-grids=1x1,2x3"


@pytest.fixture
def bare(project):
    """A project whose ini file says nothing of baselines."""
    project.write("pytest.ini", "[pytest]\n")
    return project


def about(result: pytest.RunResult) -> str:
    (line,) = [line for line in result.outlines if line.startswith("baselines: ")]
    return line.removeprefix("baselines: ")


def test_without_baselines_of_the_project_the_packages_are_read_and_never_written(bare, way):
    result = bare.run(GRIDS, "-k", "decode", *way)
    result.assert_outcomes(passed=4, deselected=0 if way[:1] == ["-n2"] else 4)
    assert about(result).startswith("those of pytest-ocrsweep, which are only read; to begin your own in baselines: ")
    assert about(result).endswith(" --ocrsweep-update")
    assert not (bare.path / "baselines").exists()
    assert not any("unused" in line for line in result.outlines)


def test_what_the_package_did_not_record_is_skipped_also_in_a_default_sweep(bare):
    bare.write("pytest.ini", "[pytest]\nocrsweep_grids = 1x1,4x5\n")
    bare.run("-k", "decode").assert_outcomes(passed=2, skipped=2, deselected=4)


def test_an_update_begins_the_projects_own_and_says_so(bare):
    result = bare.run(GRIDS, "--ocrsweep-update")
    result.assert_outcomes(passed=8)
    assert about(result) == "a new set begins in baselines"
    assert len(bare.points()) == 4
    assert about(bare.run(GRIDS)) == "baselines"


def test_a_prune_removes_nothing_of_the_packages(bare):
    result = bare.run("--ocrsweep-prune")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stdout.fnmatch_lines(["ERROR: --ocrsweep-prune removed nothing: these are the package's baselines, *"])
    assert not (bare.path / "baselines").exists()


def test_a_named_folder_is_the_one_even_if_nothing_is_recorded_there(bare):
    bare.write("pytest.ini", "[pytest]\nocrsweep_baselines = mine\n")
    bare.run(GRIDS).assert_outcomes(skipped=8)
    assert about(bare.run(GRIDS)) == "mine"
    assert about(bare.run(GRIDS, "--ocrsweep-update")) == "a new set begins in mine"
    assert (bare.path / "mine" / "deepseek-ocr" / "decode.json").is_file()


STARTS = {
    "from the subfolder, with the project's ini file": ("sub", []),
    "with another rootdir": ("", ["--rootdir=sub"]),
    "from the subfolder, with another rootdir": ("sub", ["--rootdir=."]),
    "with an ini file of the subfolder": ("sub", ["-c", "own.ini"]),
    "from the subfolder, without any ini file": ("sub", ["-c", os.devnull]),
}


@pytest.mark.parametrize("start", STARTS)
def test_an_update_writes_to_the_set_that_exists_above_and_begins_no_second(bare, start, monkeypatch):
    folder, words = STARTS[start]
    sub = bare.path / "sub"
    bare.write("sub/test_vision.py", 'def test_vision(ocrsweep, grid):\n    ocrsweep.check("vision", grid, "flash")\n')
    bare.write("sub/own.ini", "[pytest]\n")
    assert bare.run(GRIDS, "--ocrsweep-update", "suites").ret == 0
    monkeypatch.chdir(bare.path / folder)
    result = bare.run(GRIDS, "--ocrsweep-update", *words, str(sub / "test_vision.py"))
    assert result.ret == 0
    assert about(result) == os.path.relpath(bare.path / "baselines")
    assert len(bare.points("vision")) == 2
    assert not (sub / "baselines").exists()


def test_a_second_set_that_is_asked_for_is_begun_aloud(bare, monkeypatch):
    assert bare.run(GRIDS, "--ocrsweep-update").ret == 0
    bare.write("sub/pytest.ini", "[pytest]\nocrsweep_baselines = baselines\n")
    bare.write("sub/test_vision.py", 'def test_vision(ocrsweep, grid):\n    ocrsweep.check("vision", grid, "flash")\n')
    monkeypatch.chdir(bare.path / "sub")
    result = bare.run(GRIDS, "--ocrsweep-update")
    assert about(result) == f"a new set begins in baselines; {os.path.join('..', 'baselines')} is another set"


def test_a_set_above_another_repository_is_not_its_own(bare, monkeypatch):
    assert bare.run(GRIDS, "--ocrsweep-update").ret == 0
    (bare.path / "sub" / ".git").mkdir(parents=True)
    bare.write("sub/pytest.ini", "[pytest]\n")
    bare.write("sub/test_vision.py", 'def test_vision(ocrsweep, grid):\n    ocrsweep.check("vision", grid, "flash")\n')
    monkeypatch.chdir(bare.path / "sub")
    assert about(bare.run(GRIDS, "--ocrsweep-update")) == "a new set begins in baselines"


# The project's own models and devices

MINE = "defaults: [deepseek-ocr-tiny, _self_]\nname: mine\ndecoder:\n  layers: 2\n"
ON_MINE = ("--ocrsweep-set=model=mine", GRIDS)


@pytest.fixture
def configured(project):
    """A project with a model of its own."""
    (project.path / "conf").mkdir()
    project.write("conf/model/mine.yaml", MINE)
    project.ini("ocrsweep_config_dir = conf")
    return project


def test_a_model_of_the_project_is_recorded_under_its_name_and_judged(configured, way):
    configured.run("--ocrsweep-update", *ON_MINE).assert_outcomes(passed=8)
    assert configured.baseline(model="mine").is_file()
    configured.run(*ON_MINE, *way).assert_outcomes(passed=8)
    configured.write("conf/model/mine.yaml", MINE.replace("2", "3"))
    configured.run(*ON_MINE, *way).assert_outcomes(failed=8)


def test_the_option_comes_before_the_key_and_is_in_the_command_that_accepts(configured):
    configured.ini("ocrsweep_config_dir = nowhere")
    option = f"--ocrsweep-config-dir={configured.path / 'conf'}"
    configured.run("--ocrsweep-update", option, *ON_MINE).assert_outcomes(passed=8)
    configured.write("conf/model/mine.yaml", MINE.replace("2", "3"))
    result = configured.run(option, *ON_MINE, "-k", "decode and 1x1 and flash")
    result.assert_outcomes(failed=1, deselected=7)
    result.stdout.fnmatch_lines([f"E *pytest * {option} suites/test_decode.py * --ocrsweep-update"])


def test_a_near_miss_of_a_model_of_the_project_is_named(configured):
    result = configured.run("--ocrsweep-set=model=mines")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    (line,) = [line for line in result.errlines if line.startswith("ERROR")]
    assert line.endswith("mine: got 'mines'; did you mean 'mine'?")


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        (
            "conf/model/deepseek-ocr.yaml",
            MINE,
            "conf/model/deepseek-ocr.yaml: pytest-ocrsweep has a model of that name",
        ),
        ("conf/device/H200.yaml", MINE, "conf/device/H200.yaml: pytest-ocrsweep has a device of that name"),
        ("conf/model/mine.yml", MINE, "conf/model/mine.yml: Hydra reads .yaml only: rename the file"),
        (
            "conf/model/mine.yaml",
            MINE.replace("2", "two"),
            "conf/model/mine.yaml: model.decoder.layers must be a whole",
        ),
        ("conf/model/mine.yaml", "[", "conf/model/mine.yaml: Hydra cannot compose 'model=mine'"),
        ("conf/model/mine.yaml", "- 1", "conf/model/mine.yaml: model must be a section with keys of its own, got [1]"),
        ("conf/model/mine.yaml", MINE.replace("name: mine\n", ""), "write name: mine"),
    ],
)
def test_a_file_that_does_not_fit_is_one_line_with_its_name(configured, name, text, said):
    configured.write(name, text)
    result = configured.run(*ON_MINE)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    (line,) = [line for line in (*result.errlines, *result.outlines) if line.startswith("ERROR")]
    assert said in line
    assert "--ocrsweep-set" not in line


@pytest.mark.parametrize(
    ("folder", "said"),
    [
        ("nowhere", "nowhere is not a folder"),
        ("suites", "suites has none of the folders model/, device/, engine/, precision/, workload/"),
        ("near", "near has none of the folders *; did you mean device/?"),
    ],
)
def test_a_folder_without_a_group_is_refused(project, folder, said):
    (project.path / "near" / "devices").mkdir(parents=True)
    result = project.run(f"--ocrsweep-config-dir={folder}")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: --ocrsweep-config-dir: {said}"])
    project.ini(f"ocrsweep_config_dir = {folder}")
    project.run().stderr.fnmatch_lines([f"ERROR: ocrsweep_config_dir: {said}"])
