"""`ocrsweep merge`: two half sweeps are one whole, and what is wrong is one line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from pytest_ocrsweep.cli import main
from pytest_ocrsweep.report import files

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the reports of two halves, and of the whole; without charts, which take seconds each."""
    folder = tmp_path_factory.mktemp("swept")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(files, "find_spec", lambda module: None)
        for grids, report in (("1x1,2x3", "report-0"), ("1x2,10x1", "report-1"), ("1x1,1x2,2x3,10x1", "whole")):
            assert main(["sweep", "--grids", grids, "--report", report]) == 0
    return folder


@pytest.fixture
def here(swept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of that folder, and no charts."""
    shutil.copytree(swept, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(files, "find_spec", lambda module: None)
    return tmp_path


def test_two_half_sweeps_are_the_whole_to_the_byte(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert main(["merge", "report-1", "report-0/sweep.sqlite#1", "--report", "merged"]) == 0
    written = "sweep.json, sweep.sqlite (run 1), summary.json, report.md"
    assert capsys.readouterr().out.startswith(f"report in merged: {written}")
    for name in ("sweep.json", "report.md"):
        assert (here / "merged" / name).read_bytes() == (here / "whole" / name).read_bytes()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("report-0 --report merged", "merge needs two or more sources, got only report-0"),
        ("report-0 missing --report merged", "missing: there is no such file:"),
        ("report-0 report-1", "one of the arguments --report --baselines is required"),
        ("report-0 report-1 --baselines merged", "report-0: no baselines are recorded there;"),
        ("report-0 other --report merged", "model is 'deepseek-ocr' in report-0, but 'other' in other:"),
    ],
)
def test_what_is_wrong_is_one_line_and_nothing_is_written(here: Path, capsys, words: str, message: str) -> None:
    shutil.copytree("report-1", "other")
    document = json.loads(Path("other/sweep.json").read_text())
    Path("other/sweep.json").write_text(json.dumps(document | {"model": "other"}))
    capsys.readouterr()
    try:
        code = main(["merge", *words.split()])
    except SystemExit as stop:
        code = stop.code
    out, err = capsys.readouterr()
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert message in err
    assert not (here / "merged").exists()


def test_a_folder_with_a_file_of_somebody_else_gets_no_part_of_a_report(here: Path, capsys) -> None:
    (here / "mine").mkdir()
    (here / "mine" / "report.md").write_text("my own")
    assert main(["merge", "report-0", "report-1", "--report", "mine"]) == 2
    assert "mine/report.md was not written by ocrsweep" in capsys.readouterr().err
    assert [path.name for path in (here / "mine").iterdir()] == ["report.md"]


def test_times_that_a_killed_run_left_are_named(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    for part in ("part-0", "part-1"):
        shutil.copytree(ROOT / "baselines", part)
    journal = Path("part-1/deepseek-ocr/timed/nvidia-h200/.1a2b.ocrsweep-journal")
    journal.write_text("")
    assert main(["merge", "part-0", "part-1", "--baselines", "merged"]) == 0
    line = f"{journal} is not merged: a killed run left times there; update again in its project"
    assert capsys.readouterr().out.splitlines()[-1] == line


def test_baselines_merge_into_a_folder_and_a_line_says_what_became_of_each_file(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    for part, keep in (("a", lambda point: point["grid"] == "1x1"), ("b", lambda point: point["grid"] != "1x1")):
        shutil.copytree(ROOT / "baselines", part, ignore=shutil.ignore_patterns("dram"))
        for path in Path(part).rglob("*.json"):
            document = json.loads(path.read_text())
            document["points"] = [point for point in document["points"] if keep(point)]
            path.write_text(json.dumps(document))
    assert main(["merge", "a", "b", "--baselines", "baselines"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("baselines/deepseek-ocr/vision.json: ")
    assert lines[0].endswith(" points added, 0 changed, 0 as before")
    for path in (ROOT / "baselines" / "deepseek-ocr").glob("*.json"):
        assert (tmp_path / "baselines" / "deepseek-ocr" / path.name).read_bytes() == path.read_bytes()
