"""`ocrsweep sweep` and `shapes`: what pytest counts, without pytest; and pytest over a database of shapes."""

from __future__ import annotations

import io
import json
import shlex
import sys
import time
from pathlib import Path

import pytest

from pytest_ocrsweep.cli import main, progress
from pytest_ocrsweep.model.attention import ATTENTION
from pytest_ocrsweep.model.geometry import CropGrid
from pytest_ocrsweep.model.stages import STAGES
from pytest_ocrsweep.sweep.options import Options, Slowdown
from pytest_ocrsweep.sweep.session import Sweep


@pytest.fixture
def database(tmp_path, capsys) -> Path:
    """The shapes of 1 to 40 crops."""
    path = tmp_path / "shapes.sqlite"
    assert main(["shapes", "--crops", "1..40", "--db", str(path)]) == 0
    capsys.readouterr()
    return path


@pytest.fixture
def swept(capsys):
    """Sweeps with --json and gives the document."""

    def run(*words: str):
        capsys.readouterr()  # what pytest said before
        assert main(["sweep", "--json", *words]) == 0
        return json.loads(capsys.readouterr().out)

    return run


def without_verdicts(document: dict) -> list[dict]:
    return [{name: value for name, value in point.items() if name != "verdict"} for point in document["points"]]


@pytest.mark.usefixtures("without_charts")
def test_a_database_swept_by_pytest_and_without_it_gives_equal_numbers(project, database, swept):
    vision = 'def test_vision(ocrsweep, grid, attention):\n    ocrsweep.check("vision", grid, attention)\n'
    project.write("suites/test_vision.py", vision)
    source = f"{database}:1..40/3"
    result = project.run("--ocrsweep-analytic-only", f"--ocrsweep-grids={source}", "--ocrsweep-report=out")
    by_pytest = json.loads((project.path / "out" / "sweep.json").read_text())
    by_command = swept("--grids", source)
    result.assert_outcomes(skipped=14 * len(STAGES) * len(ATTENTION))  # counted: nothing is recorded for them
    assert len(by_command["points"]) == 14 * len(STAGES) * len(ATTENTION)
    assert without_verdicts(by_command) == without_verdicts(by_pytest)
    assert {point["verdict"] for point in by_command["points"]} == {"COUNTED"}
    for part in ("schema", "model", "workload"):
        assert by_command[part] == by_pytest[part]
    assert by_command["environment"] == {**by_pytest["environment"], "git_revision": None}


@pytest.mark.usefixtures("without_charts")
def test_overrides_and_the_device_reach_both_alike(project, swept):
    words = ["workload.batch=3", "workload.new_tokens=5", "device=l40s"]
    project.run("--ocrsweep-analytic-only", "--ocrsweep-report=out", *(f"--ocrsweep-set={word}" for word in words))
    by_pytest = json.loads((project.path / "out" / "sweep.json").read_text())
    options = [word for text in words[:2] for word in ("--set", text)]
    stages = ("--stage", "decode", "--stage", "prefill")
    by_command = swept("--grids", "2x3,1x2,1x1", "--device", "l40s", *stages, *options)
    assert without_verdicts(by_command) == without_verdicts(by_pytest)
    assert by_command["points"][0]["floor"]["device"] == "NVIDIA L40S"


def test_a_gpu_run_would_time_only_what_the_vendor_runs(database, tmp_path):
    options = Options(
        grids=str(database),
        images=(),
        overrides=(),
        analytic_only=False,
        require_vendor=False,
        update=False,
        prune=False,
        checkpoint=None,
        profile=False,
        slowdown=Slowdown(),
        report=None,
        default_grids="",
        baselines=tmp_path,
        missing_fails=False,
        wide_fails=False,
        here=tmp_path,
        command=(),
    )
    sweep = Sweep(options)
    timed = [grid for grid in sweep.points if sweep.times(grid)]
    assert len(sweep.points) == 40
    assert timed == [
        CropGrid(*sides) for sides in ((1, 1), (1, 2), (1, 3), (2, 2), (1, 5), (2, 3), (1, 7), (2, 4), (3, 3))
    ]


@pytest.mark.parametrize(
    ("selection", "message"),
    [
        (":41..50", "41..50 goes beyond it: it holds 40 counts from 1 to 40"),
        (":9..3", "crop counts go up"),
        (":", "write FIRST..LAST or FIRST..LAST/STEP"),
    ],
)
def test_a_wrong_selection_stops_pytest_as_a_usage_error(project, database, selection, message):
    stopped(project, f"{database}{selection}", message)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "there is no such file"),
        (b"", "it is not a database of shapes"),
        (b"x" * 999, "it is not a database of shapes"),
    ],
)
def test_a_wrong_file_stops_pytest_as_a_usage_error(project, content, message):
    path = project.path / "other.sqlite"
    if content is not None:
        path.write_bytes(content)
    stopped(project, str(path), message)


def test_a_damaged_database_stops_pytest_as_a_usage_error(project, database):
    database.write_bytes(database.read_bytes()[:5000])
    stopped(project, str(database), "it is damaged")


def stopped(project, source: str, message: str) -> None:
    result = project.run("--ocrsweep-analytic-only", f"--ocrsweep-grids={source}")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    (line,) = [line for line in result.stderr.lines if line.strip()]
    assert "--ocrsweep-grids: cannot sweep" in line
    assert message in line


def test_the_table_is_pytests_with_the_marks_of_shapes(database, capsys):
    assert main(["sweep", "--grids", f"{database}:5..7", "--stage", "decode", "--attention", "flash"]) == 0
    header, *rows = capsys.readouterr().out.splitlines()[:4]
    assert header.split()[:3] == ["stage", "grid", "attention"]
    assert [row.split()[1:3] for row in rows] == [["1x5", "strip"], ["1x7", "strip"], ["2x3", "flash"]]
    assert all(row.endswith("COUNTED") for row in rows)


def test_a_long_table_is_cut_and_says_which_option_has_all(capsys):
    assert main(["sweep", "--grids", "pairs"]) == 0
    assert "--report=DIR has all of them in DIR/sweep.json" in capsys.readouterr().out


def test_the_report_is_that_of_the_same_document(tmp_path, capsys):
    words = ["sweep", "--grids", "2x3", "--stage", "decode", "--json", "--report", str(tmp_path / "out")]
    assert main(words) == 0
    out, err = capsys.readouterr()
    assert json.loads(out) == json.loads((tmp_path / "out" / "sweep.json").read_text())
    assert "sweep.json" in err


def test_shapes_says_what_it_wrote_and_whether_it_replaced(tmp_path, capsys):
    path = tmp_path / "my shapes.db"
    for verb in ("written", "replaced"):
        assert main(["shapes", "--crops", "1..13", "--db", str(path), "--max-aspect", "5"]) == 0
        assert capsys.readouterr().out.splitlines() == [
            f"{path} {verb}: 13 shapes of 1 to 13 crops, rows <= columns",
            "9 that the vendor runs; the others are counted and never measured",
            "3 strips, of more than 5 columns to a row",
            "0 with more than the 8,192 positions of deepseek-ocr",
            f"to sweep it: ocrsweep sweep --grids '{path}'",
        ]


@pytest.mark.parametrize(("counts", "part"), [("1..8", ":1..6"), ("1..6", ""), ("7..8", "")])
def test_the_sweep_that_shapes_shows_has_no_page_that_the_engine_never_cuts(counts, part, tmp_path, capsys):
    path = tmp_path / "shapes.db"
    assert main(["shapes", "--crops", counts, "--db", str(path), "--set", "engine=vllm"]) == 0
    shown = capsys.readouterr().out.splitlines()[-1]
    assert shown == f"to sweep it: ocrsweep sweep --grids {path}{part} --set engine=vllm"
    assert main(shlex.split(shown)[4:]) == (2 if counts == "7..8" else 0)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def slow_items():
    for item in range(12):
        time.sleep(0.03)
        yield item


@pytest.mark.parametrize(("kind", "shown"), [(Terminal, True), (io.StringIO, False)])
def test_long_work_shows_its_progress_and_the_time_left_on_a_terminal_only(monkeypatch, kind, shown):
    stream = kind()
    monkeypatch.setattr(progress, "PATIENCE_S", 0.1)
    monkeypatch.setattr(sys, "stderr", stream)
    assert list(progress.watched(slow_items(), 12, unit="point")) == list(range(12))
    assert ("point" in stream.getvalue()) is shown
    assert ("/12 [00:00<00:" in stream.getvalue()) is shown


def test_short_work_shows_nothing(monkeypatch):
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    assert list(progress.watched(slow_items(), 12, unit="point")) == list(range(12))
    assert stream.getvalue().strip() == ""
