"""An update that disagrees, a drift and its acceptance, through pytest, on a CPU with the tiny model."""

from __future__ import annotations

import json

import pytest

pytest.importorskip("torch", reason="the reference model needs the extra [vendor]")
pytest.importorskip("transformers", reason="the reference model needs the extra [vendor]")

from pytest_ocrsweep.baselines import history
from pytest_ocrsweep.cli import main
from pytest_ocrsweep.vendor_model import build, timing

assert build  # with all of torch that a run loads: pytester forgets what it imports, and torch cannot come twice
assert timing


def the_point(measured) -> dict:
    (point,) = json.loads(measured.file.read_text())["points"]
    return point


def anchored(measured, factor: float) -> None:
    """As if the point's first processes had taken so much of what the latest took."""

    def change(point, _):
        processes = [
            {name: max(1, round(value * factor)) if name.endswith("_ns") else value for name, value in each.items()}
            for each in point["processes"]
        ]
        point["anchor"] = {"since": "2026-03-01T12:00:00Z", "processes": processes}

    measured.edit(change)


def wide(measured) -> None:
    """As if two processes had been far apart: then the gate lets any time of this busy machine pass."""

    def change(point, _):
        (process,) = point["processes"]
        times = {name: value for name, value in process.items() if name.endswith("_ns")}
        point["processes"] = [process | {n: round(ns * by) for n, ns in times.items()} for by in (0.2, 2.5)]

    measured.edit(change)


def test_an_update_that_disagrees_is_kept_and_drops_nothing(measured):
    measured.scale(1 / 1000)
    before = measured.processes
    result = measured.run("--ocrsweep-update")
    assert result.ret == 0
    result.stdout.fnmatch_lines(
        ["*decode.json: 0 points added, 0 changed, 0 as before, 1 kept", "decode 1x1 flash: +* % is kept, 1 of 3 that*"]
    )
    assert measured.processes == before
    assert len(the_point(measured)["pending"]) == 1
    entries = history.read(history.file_of(measured.file)).entries
    assert [entry.became for entry in entries] == ["first", "disagrees"]


def test_a_drift_fails_until_somebody_accepts_it_by_name(measured, capsys):
    wide(measured)
    anchored(measured, 1 / 1000)
    measured.edit(lambda point, _: point["anchor"].update(processes=point["anchor"]["processes"][:1] * 2))
    result = measured.run()
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(
        [
            "E *decode 1x1 flash on cpu drifted +* % since 2026-03-01 (*): more than ocrsweep_drift=3; if *",
            "E *ocrsweep history accept decode 1x1 flash --gpu=cpu --set=model=deepseek-ocr-tiny *",
            "decode 1x1 flash drifted +* % since 2026-03-01 (anchor of 2 processes, margin * %)",
        ]
    )
    (command,) = {
        line.split("E  ")[1].strip() for line in result.outlines if line.startswith("E  ") and "history accept" in line
    }
    words = command.split()
    assert words[0] == "ocrsweep"
    assert main(words[1:]) == 0
    wide_again = the_point(measured)["anchor"]["processes"]
    assert len(wide_again) == 1
    assert history.read(history.file_of(measured.file)).entries[-1].became == "accepted"


def test_a_drift_below_the_limit_is_a_line_and_no_failure(measured):
    wide(measured)
    anchored(measured, 1 / 100)
    measured.edit(lambda point, _: point["anchor"].update(processes=point["anchor"]["processes"][:1] * 2))
    measured.ini("ocrsweep_drift = 1000")
    measured.scale(1)
    result = measured.run("-o", "ocrsweep_drift=1000")
    result.stdout.fnmatch_lines(["decode 1x1 flash drifted +* % since 2026-03-01 *"])


@pytest.mark.parametrize("value", ["three", "0", "-1", "nan", "inf", ""])
def test_a_limit_that_is_no_percentage_is_refused(measured, value):
    measured.ini(f"ocrsweep_drift = {value}")
    result = measured.run()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: ocrsweep_drift must be a percentage above 0 and up to 1000, got '{value}'"])


def test_a_damaged_history_stops_an_update_before_it_measures_and_no_other_run(measured):
    path = history.file_of(measured.file)
    path.write_text("<<<<<<< ours\n" + path.read_text())
    result = measured.run("--ocrsweep-update")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        ["ERROR: damaged history *decode.history.jsonl:1: it is not JSON *; delete this line, or*"]
    )
    measured.run("--ocrsweep-report=out").stdout.fnmatch_lines(["the report is without histories: damaged history *"])


def test_the_report_has_the_history(measured):
    measured.run("--ocrsweep-report=out")
    report = json.loads((measured.path / "out" / "sweep.json").read_text())
    (past,) = report["history"]["decode 1x1 flash"]
    assert past["became"] == "first"
    assert past["median_ns"] == measured.processes[0]["median_ns"]
