"""`ocrsweep history`: a point over time in 80 columns, all points in short, and an acceptance by name."""

from __future__ import annotations

import json
import subprocess

import pytest
from drifting import H200, KEY, NS, PERCENTS, record, time

from pytest_ocrsweep.baselines import history, timed
from pytest_ocrsweep.cli import main


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Where a history is recorded, and a command runs."""
    monkeypatch.chdir(tmp_path)
    record(tmp_path / "baselines")
    return tmp_path


@pytest.fixture
def said(capsys):
    def run(*words: str) -> list[str]:
        assert main(["history", *words]) == 0
        return capsys.readouterr().out.splitlines()

    return run


@pytest.fixture
def refused(capsys):
    def run(*words: str) -> str:
        assert main(["history", *words]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        return line

    return run


def test_a_point_is_a_plot_and_a_line_a_process_in_80_columns(folder, said):
    about, drift, plot, head, *lines = said("decode", "2x3")
    assert about == "decode 2x3 flash on nvidia-h200"
    assert drift == "drifted +1.1 % since 2026-03-01 (anchor of 5 processes, margin 1.1 %)"
    assert plot == "▁▁▁▁▁█▁▂▂▃▄  222.554 to 234.373 ms"
    assert head.split() == ["date", "host", "card", "revision", "ms", "%"]
    assert len(lines) == len(PERCENTS)
    assert lines[0].split() == ["2026-03-01", "node1", "003f2a10", "5eed00000", "223.000", "+0.0", "first"]
    assert lines[5].split()[-2:] == ["+5.1", "disagrees"]
    assert max(map(len, (about, drift, plot, head, *lines))) <= 80


def test_a_change_that_stayed_is_marked(folder, said):
    file = timed.file_of(folder / "baselines", *H200)
    for run, percent in enumerate((2.6, 3.1), 11):
        timed.record(file, *H200, {KEY: (time(round(NS * (1 + percent / 100)), run), None)}, "2026-12-01T12:00:00Z")
    marked = [line for line in said("decode", "2x3") if "<- moved" in line]
    assert [line.split()[5] for line in marked] == ["+1.1"]
    assert marked[0].endswith("agrees <- moved")


def test_a_long_history_stays_within_80_columns(folder, said):
    file = timed.file_of(folder / "baselines", *H200)
    for run in range(80):
        timed.record(file, *H200, {KEY: (time(NS + run, run), None)}, "2026-12-01T12:00:00Z")
    assert len(said("decode", "2x3")[2]) <= 80


def test_without_a_point_every_point_has_its_anchor_its_latest_times_and_its_drift(folder, said):
    about, head, row = said()
    assert about == "deepseek-ocr on nvidia-h200"
    assert row.split() == [
        "decode",
        "2x3",
        "flash",
        "1",
        "223.000",
        "5",
        "2026-03-01",
        "225.498",
        "+1.1",
        "1.1",
        "drifted",
    ]
    assert "since" in head


def test_processes_that_disagree_are_counted(folder, said):
    file = timed.file_of(folder / "baselines", *H200)
    timed.record(file, *H200, {KEY: (time(2 * NS), None)})
    assert said()[-1].endswith("1 disagree")


def test_json_is_in_base_units(folder, said):
    found = json.loads("\n".join(said("decode", "2x3", "--json")))
    assert (found["anchor"]["since"], found["anchor"]["processes"]) == ("2026-03-01T12:00:00Z", 5)
    assert found["processes"][5] == {
        "date": "2026-05-15T12:00:00Z",
        "host": "node2",
        "gpu_uuid": "GPU-003f2a11-0000",
        "git_revision": "5eed005".ljust(40, "0"),
        "median_ns": 234_373_000,
        "change": pytest.approx(0.051),
        "became": "disagrees",
        "by": None,
        "moved": False,
    }
    assert len(json.loads("\n".join(said("--json")))["points"]) == 1


def test_a_point_near_its_anchor_has_no_drift(tmp_path, monkeypatch, said):
    monkeypatch.chdir(tmp_path)
    record(tmp_path / "baselines", PERCENTS[:5])
    assert said("decode", "2x3")[1] == "no drift: +0.0 % since 2026-03-01 (anchor of 5 processes, margin 1.1 %)"


def test_recorded_times_without_a_history_have_no_date(folder, said):
    history.file_of(timed.file_of(folder / "baselines", *H200)).unlink()
    _, _, _, _, *lines = said("decode", "2x3")
    assert lines
    assert all(line.startswith("-  ") and "  recorded" in line for line in lines)


def test_an_acceptance_by_name_moves_the_anchor_and_says_by_whom(folder, said):
    subprocess.run(["git", "init", "-q"], check=True)
    subprocess.run(["git", "config", "user.name", "Ada"], check=True)
    (line,) = said("accept", "decode", "2x3", "flash")
    assert line.startswith(
        "baselines/deepseek-ocr/timed/nvidia-h200/decode.json: decode 2x3 flash, which had drifted +1.1"
    )
    assert line.endswith("; accepted by Ada")
    assert said("decode", "2x3")[-1].endswith("accepted by Ada")
    assert "drifted" not in said()[-1]
    (again,) = said("accept", "decode", "2x3", "flash")
    assert "which had moved -0.5 % since" in again


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["decode"], "history takes STAGE GRID, got 'decode'"),
        (["accept", "decode", "2x3"], "history takes accept STAGE GRID ATTENTION, got 'accept decode 2x3'"),
        (["call", "2x3", "--own", "x"], "the stage call has no grid and no attention, got 'call 2x3'"),
        (["code", "2x3"], "the stage must be one of vision, prefill, decode, got 'code'"),
        (["accept", "decode", "2x3", "quick"], "the attention must be one of eager, flash, got 'quick'"),
        (["decode", "two"], "'two' is neither a grid"),
        (
            ["decode", "1x1"],
            "no time of decode 1x1 flash is recorded for deepseek-ocr on nvidia-h200; `ocrsweep history`",
        ),
        (
            ["accept", "decode", "1x1", "flash"],
            "decode.json: no time of decode 1x1 flash is recorded; `ocrsweep history`",
        ),
        (["decode", "2x3", "--gpu", "h100"], "--gpu must be one of nvidia-h200, got 'h100'"),
        (["--baselines", "none"], "no times of deepseek-ocr are recorded in none; --baselines gives the folder"),
        (["--set", "model=none"], "model"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_is_not_there_is_one_line(folder, refused, words, error):
    assert error in refused(*words)


def test_of_several_gpus_one_is_named(folder, refused):
    (folder / "baselines/deepseek-ocr/timed/nvidia-h100").mkdir()
    line = "times of several GPUs are recorded: give --gpu with one of nvidia-h100, nvidia-h200"
    assert line in refused("decode", "2x3")


def test_a_damaged_history_is_one_line(folder, refused):
    path = history.file_of(timed.file_of(folder / "baselines", *H200))
    path.write_text("<<<<<<< ours\n" + path.read_text())
    assert f"damaged history {path.relative_to(folder)}:1: it is not JSON" in refused("decode", "2x3")
