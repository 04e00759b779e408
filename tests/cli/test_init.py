"""`ocrsweep init`: what it writes, that it replaces nothing, and what it says."""

from __future__ import annotations

import json
import os
import tomllib
from pathlib import Path

import pytest
import yaml

from pytest_ocrsweep.cli import init_files, main
from pytest_ocrsweep.cli.init_files import with_keys
from pytest_ocrsweep.sweep import project_file
from pytest_ocrsweep.sweep.project_file import parsed

FILES = ["pytest.ini", *(f"suites/test_ocrsweep_{stage}.py" for stage in ("vision", "prefill", "decode"))]
FILES += [f"baselines/deepseek-ocr/{stage}.json" for stage in ("vision", "prefill", "decode")]
FILES += [".github/workflows/ocrsweep.yml"]
KEY = {"ocrsweep_baselines": "baselines"}


@pytest.fixture(autouse=True)
def _in_a_new_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "project/.git").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "project")


def init(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> list[str]:
    assert main(["init", *words]) == code
    out, err = capsys.readouterr()
    return (out or err).splitlines()


def content() -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in Path().rglob("*") if path.is_file()}


def test_it_writes_all_and_again_nothing(capsys):
    lines = [line.partition("; its line of pip: ")[0] for line in init(capsys)]  # if a clone is installed
    assert lines == [*(f"{name}: written" for name in FILES), "8 files written; next: pytest"]
    before = content()
    assert init(capsys) == [*(f"{name}: as before" for name in FILES), "nothing changed: all is there already"]
    assert content() == before


def test_the_baselines_are_those_of_the_package(capsys):
    init(capsys)
    for stage in ("vision", "prefill", "decode"):
        ours = Path(__file__).parents[2] / "baselines/deepseek-ocr" / f"{stage}.json"
        assert Path(f"baselines/deepseek-ocr/{stage}.json").read_bytes() == ours.read_bytes()


def test_it_writes_what_is_asked_for_and_no_more(capsys):
    words = ["--stage", "decode", "--grids", "1x1,2x3", "--suites", "tests/cost", "--no-workflow"]
    init(capsys, *words)
    assert sorted(content()) == [
        "baselines/deepseek-ocr/decode.json", "pytest.ini", "tests/cost/test_ocrsweep_decode.py",
    ]  # fmt: skip
    assert Path("pytest.ini").read_text() == "[pytest]\nocrsweep_baselines = baselines\nocrsweep_grids = 1x1,2x3\n"
    assert Path("baselines/deepseek-ocr/decode.json").read_text().count('"grid"') == 4


def test_the_workflow_reads_only_and_runs_the_suites(capsys):
    init(capsys, "--suites", "tests/cost")
    flow = yaml.safe_load(Path(".github/workflows/ocrsweep.yml").read_text())
    assert flow["permissions"] == {"contents": "read"}
    assert flow["jobs"]["counts"]["steps"][-1]["run"] == "python -m pytest tests/cost --ocrsweep-analytic-only"


def test_files_with_other_content_are_left_by_name(capsys):
    for name in FILES:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text("[pytest]\nocrsweep_baselines = mine\n" if name == "pytest.ini" else "# mine\n")
    Path("mine/deepseek-ocr").mkdir(parents=True)
    Path("mine/deepseek-ocr/decode.json").write_text("{}")
    before = content()
    lines = init(capsys, "--stage=decode")
    assert lines == [
        "pytest.ini: left as it is: ocrsweep_baselines is 'mine'",
        "suites/test_ocrsweep_decode.py: left as it is: it has other content",
        "mine/deepseek-ocr/decode.json: left as it is: it has other content",
        ".github/workflows/ocrsweep.yml: left as it is: it has other content",
        "nothing changed: some files were left",
    ]
    assert content() == before


@pytest.mark.parametrize("dangling", [True, False])
def test_nothing_is_written_through_a_link(capsys, tmp_path, dangling):
    outside = tmp_path / "outside"
    outside.mkdir()
    for name in ("suite.py", "pytest.ini", "decode.json") if not dangling else ():
        (outside / name).write_text("")
    Path("suites").mkdir()
    Path("suites/test_ocrsweep_decode.py").symlink_to(outside / "suite.py")
    Path("pytest.ini").symlink_to(outside / "pytest.ini")
    Path("baselines").symlink_to(outside)
    lines = init(capsys, "--stage=decode", "--no-workflow")
    assert [line.partition(": left as it is")[1] != "" for line in lines] == [True, True, True, False]
    assert all(not path.read_bytes() for path in outside.iterdir())
    assert (list(outside.iterdir()) == []) == dangling


def test_a_pyproject_without_a_table_for_pytest_gets_one_and_keeps_the_rest(capsys):
    text = '# ours\r\n[project]\r\nname = "x"  # theirs\r\n'
    Path("pyproject.toml").write_bytes(text.encode())
    assert init(capsys)[0] == "pyproject.toml: keys added"
    changed = Path("pyproject.toml").read_bytes().decode()
    assert changed == text + '\r\n[tool.pytest.ini_options]\r\nocrsweep_baselines = "baselines"\r\n'
    assert not Path("pytest.ini").exists()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("pyproject.toml", '[tool.pytest.ini_options] # us\naddopts = "-q"\n\n[tool.ruff]\nline-length = 3\n'),
        ("pyproject.toml", '[tool.pytest]\nx = "[tool.pytest.ini_options]"\n'),
        ("pytest.toml", "[pytest]\naddopts = ['-q']"),
        ("pytest.toml", ""),
        ("pytest.ini", "[pytest]"),
        ("pyproject.toml", "[tool.pytest.ini_options]  # us"),
        ("tox.ini", "[tox]\nenvlist = a\n\n[pytest]\n# ours\naddopts =\n  -q\n  -x\n"),
        ("setup.cfg", "[tool:pytest]\naddopts = -q"),
        ("setup.cfg", "[metadata]\nname = x"),
    ],
)
def test_keys_are_added_and_every_other_byte_stays(name, text):
    changed = with_keys(name, text, {**KEY, "ocrsweep_grids": "1x1,2x3"})
    assert parsed(name, changed) == {**parsed(name, text), **KEY, "ocrsweep_grids": "1x1,2x3"}
    kept = [line for line in changed.splitlines() if not line.startswith("ocrsweep_")]
    assert kept[: len(text.splitlines())] == text.splitlines()


@pytest.mark.parametrize(
    "text",
    [
        'tool = {pytest = {ini_options = {addopts = "-q"}}}\n',
        '[tool]\npytest.ini_options.addopts = "-q"\n',
        'text = """\n[tool.pytest.ini_options]\n"""\n[tool.pytest]\nini_options = {addopts = "-q"}\n',
    ],
)
def test_a_table_in_another_form_is_left_and_the_lines_are_printed(capsys, text):
    assert tomllib.loads(text)
    Path("pyproject.toml").write_text(text)
    line, *_, last = init(capsys, "--stage=vision")
    assert line == (
        'pyproject.toml: left as it is; add these lines for pytest yourself: ocrsweep_baselines = "baselines"'
    )
    assert last == "3 files written; next: add the lines, then pytest"
    assert Path("pyproject.toml").read_text() == text


def test_a_file_that_finds_no_room_is_named_and_not_left_half_written(capsys, monkeypatch):
    def full(descriptor, mode):
        os.close(descriptor)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(init_files.os, "fdopen", full)
    (line,) = init(capsys, "--stage=vision", code=2)
    assert line.startswith("ocrsweep: pytest.ini: No space left on device; ")
    assert not Path("pytest.ini").exists()
    assert not Path("suites").exists()


def test_suites_go_where_pytest_looks_for_tests(capsys):
    Path("tests").mkdir()
    Path("pytest.ini").write_text("[pytest]\ntestpaths = tests\n")
    assert "tests/ocrsweep/test_ocrsweep_decode.py: written" in init(capsys)
    lines = init(capsys, "--suites=elsewhere", "--no-workflow")
    assert lines[-1] == "3 files written; next: pytest elsewhere"


def test_a_folder_of_ones_own_models_is_one_only_if_it_is_asked_for(capsys):
    Path("conf/model").mkdir(parents=True)
    Path("conf/model/mine.yaml").write_text("defaults: [deepseek-ocr-tiny, _self_]\nname: mine\n")
    init(capsys, "--stage=decode")
    assert "config_dir" not in Path("pytest.ini").read_text()
    init(capsys, "--stage=decode", "--config-dir=conf")
    assert "ocrsweep_config_dir = conf\n" in Path("pytest.ini").read_text()
    assert main(["cost", "1x1", "--set", "model=mine"]) == 0
    assert capsys.readouterr().out.startswith("mine 1x1")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--grids", "1y1"], "'1y1'"),
        (["--suites", "../x"], "--suites ../x: it must be a folder of this project"),
        (["--suites", ""], "argument --suites"),
        (["--suites=-x"], "--suites -x: it must be a folder of this project"),
        (["--suites", "a\nb"], "--suites a\\nb: it must be a folder of this project"),
        (["--set", ""], "'' is not KEY=VALUE"),
        (["--stage", "decod"], "argument --stage"),
        (["--config-dir", "none"], "none is not a folder"),
        (["--model", "nope"], "model must be one of"),
        (["--set", "workload.bach=4"], "did you mean 'workload.batch'?"),
        (["--set", "workload.pages=2"], "workload.pages=2 is priced, and neither recorded nor timed"),
        (["--model", "deepseek-ocr-2", "--engine", "vllm"], "nobody has counted deepseek-ocr-2's encoder"),
        (["--model", "unlimited-ocr", "--set", "model=deepseek-ocr"], "contradict each other"),
    ],
)
def test_every_fault_is_one_line_and_nothing_is_written(capsys, words, said):
    try:
        code = main(["init", *words])
    except SystemExit as stop:
        code = stop.code
    (line,) = capsys.readouterr().err.splitlines()
    assert code == 2
    assert said in line
    assert content() == {}


def test_a_damaged_configuration_is_one_line(capsys):
    Path("pyproject.toml").write_text("[tool.pytest\n")
    (line,) = init(capsys, code=2)
    assert line.startswith("ocrsweep: pyproject.toml cannot be read")


def test_a_subfolder_of_a_project_begins_no_second_one(capsys, monkeypatch):
    init(capsys)
    Path("sub").mkdir()
    monkeypatch.chdir("sub")
    top = Path("..").resolve()
    (line,) = init(capsys, code=2)
    assert line == f"ocrsweep: init: {top / 'pytest.ini'} configures pytest for this folder too: run it in {top}"
    os.remove(top / "pytest.ini")
    (line,) = init(capsys, code=2)
    assert line.endswith(f"baselines has baselines already, and this would begin others: run it in {top}")
    assert content() == {}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("pytest.ini", ""),
        ("pyproject.toml", "[tool.pytest.ini_options]\n"),
        ("pytest.toml", "[pytest]\naddopts = ['-q']\n"),
    ],
)
def test_settings_become_words_that_pytest_reads_back(name, text):
    words = ["model=mine", "precision.weights=['* half']", 'engine.folder="/a b/c"']
    changed = with_keys(name, text, {"ocrsweep_set": words})
    assert project_file.words(name, "ocrsweep_set", parsed(name, changed)["ocrsweep_set"]) == words


def test_settings_that_are_there_stay_and_others_are_refused(capsys):
    init(capsys, "--model=deepseek-ocr-2", "--stage=decode", "--grids=1x1")
    before = content()
    (line,) = init(capsys, "--model=deepseek-ocr-tiny", "--stage=decode", code=2)
    assert line == (
        "ocrsweep: pytest.ini: ocrsweep_set is model=deepseek-ocr-2, and model=deepseek-ocr-tiny is asked for: "
        "change it there, or use --ocrsweep-set with pytest"
    )
    assert init(capsys, "--stage=decode", "--grids=1x1")[-1] == "nothing changed: all is there already"
    assert init(capsys, "--model=nope", code=2)[0].startswith("ocrsweep: model must be one of")
    assert content() == before


def test_settings_of_the_file_that_do_not_fit_are_named_with_it(capsys):
    for value, said in (("model=nope", "model must be one of"), ("model='x", "No closing quotation")):
        Path("pytest.ini").write_text(f"[pytest]\nocrsweep_set = {value}\n")
        (line,) = init(capsys, code=2)
        assert line.startswith(f"ocrsweep: pytest.ini: ocrsweep_set: {said}")


COMMIT = "0123456789abcdef0123456789abcdef01234567"
ORIGINS = {
    None: "pytest-ocrsweep==0.1.0",  # from a package index
    ("https://git.example/us/ocr.git", "git"): f"pytest-ocrsweep @ git+https://git.example/us/ocr.git@{COMMIT}",
    ("https://host.example/a.whl", ""): "pytest-ocrsweep @ https://host.example/a.whl",
    ("file:///srv/a.whl", ""): None,
    ("file:///srv/clone", "git"): None,
    ("https://user:secret@git.example/us/ocr.git", "git"): None,
    ("https://git.example/$(touch x).git", "git"): None,
    ("https://git.example/us/ocr", "hg"): "pytest-ocrsweep @ https://git.example/us/ocr",
}


@pytest.mark.parametrize("direct", ORIGINS, ids=str)
def test_the_workflow_installs_the_package_from_where_it_came(capsys, monkeypatch, direct):
    class Package:
        version = "0.1.0"

        def read_text(self, name: str) -> str | None:
            assert name == "direct_url.json"
            if direct is None:
                return None
            url, vcs = direct
            return json.dumps({"url": url, **({"vcs_info": {"vcs": vcs, "commit_id": COMMIT}} if vcs else {})})

    monkeypatch.setattr("importlib.metadata.distribution", lambda name: Package())
    (said,) = [line for line in init(capsys, "--stage=decode", "--grids=1x1") if line.startswith(".github")]
    text = Path(".github/workflows/ocrsweep.yml").read_text()
    run = yaml.safe_load(text)["jobs"]["counts"]["steps"][-2]["run"]
    wanted = ORIGINS[direct]
    if wanted:
        assert run == f'python -m pip install "{wanted}"'
        assert said == ".github/workflows/ocrsweep.yml: written"
    else:
        wheel = "./pytest_ocrsweep-0.1.0-py3-none-any.whl"
        assert run == f"python -m pip install {wheel}"  # of no index: there the name is nobody's, or a stranger's
        assert f"{wheel} # {init_files.NOT_ON_PYPI}\n" in text
        assert said.endswith(f"; its line of pip: {init_files.NOT_ON_PYPI}")


@pytest.mark.parametrize("text", ["", "[]", "3", '{"url": 3}', '{"vcs_info": {"vcs": "git"}, "url": "https://a"}'])
def test_a_damaged_note_of_the_origin_is_none(monkeypatch, text):
    package = type("Package", (), {"version": "0.1.0", "read_text": lambda self, name: text})
    monkeypatch.setattr("importlib.metadata.distribution", lambda name: package())
    assert init_files.origin() is None
