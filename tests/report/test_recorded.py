"""Committed baselines as a report document, and the command that draws a chart of them."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

import pytest
import time_chart as command

from pytest_ocrsweep import load_model
from pytest_ocrsweep.baselines import counted, timed
from pytest_ocrsweep.baselines.attribution import Observed
from pytest_ocrsweep.baselines.counted import PointKey
from pytest_ocrsweep.baselines.evidence import Process
from pytest_ocrsweep.baselines.measurement import Environment
from pytest_ocrsweep.baselines.metrics import exact_names
from pytest_ocrsweep.baselines.recorded_time import TimedProcess
from pytest_ocrsweep.baselines.result_json import from_json, to_json
from pytest_ocrsweep.baselines.sweep_report import Report, SweepWorkload
from pytest_ocrsweep.errors import ReportError
from pytest_ocrsweep.model.geometry import CropGrid, Workload
from pytest_ocrsweep.report import recorded

ROOT = Path(__file__).parents[2]
H200 = (ROOT / "baselines", "deepseek-ocr", "nvidia-h200")


@pytest.fixture(scope="module")
def h200() -> Report:
    return recorded.report(*H200)


def test_each_recorded_time_is_a_point_with_its_floor_and_components(h200: Report) -> None:
    assert Counter(point.stage for point in h200.points) == {"vision": 46, "prefill": 46, "decode": 46}
    for point in h200.points:
        assert 0 < point.floor.attained == point.floor.time_ns / point.vendor.device_ns.median < 1
        assert sum(part.tensor_flops for part in point.components.values()) == point.analytic["tensor_flops"]
    assert h200.environment.gpu == "NVIDIA H200"
    assert h200.workload == SweepWorkload(prompt_tokens=10, new_tokens=100, batch=1, resolution="gundam")


def test_it_is_a_document_like_any_other(h200: Report) -> None:
    assert from_json(to_json(h200), "recorded") == h200
    assert from_json(to_json(h200, fill=True), "recorded") == h200


def test_the_numbers_are_the_models(h200: Report) -> None:
    point = next(point for point in h200.points if point.key == ("decode", CropGrid(2, 3), "flash"))
    ledger = load_model("deepseek-ocr").ledger("decode", Workload(CropGrid(2, 3)), "flash")
    assert point.analytic["read_bytes"] == ledger.total().read_bytes
    assert point.floor.compulsory_bytes == ledger.compulsory_bytes


def test_a_siblings_tokens_are_those_of_its_own_tiles() -> None:
    report = recorded.report(ROOT / "baselines", "deepseek-ocr-2", "nvidia-h200", grids="2x3")
    assert {point.image_tokens for point in report.points} == {1121}


def test_grids_choose_among_what_is_recorded() -> None:
    assert {str(point.grid) for point in recorded.report(*H200, grids="2x3,1x1").points} == {"1x1", "2x3"}


def test_a_report_of_two_workloads_is_refused(tmp_path: Path) -> None:
    environment = Environment()
    for tokens in (10, 20):
        key = PointKey(Workload(CropGrid(1, 1), prompt_tokens=tokens), "flash")
        file = counted.file_of(tmp_path, "deepseek-ocr", "vision")
        counted.record(file, "deepseek-ocr", "vision", {key: dict.fromkeys(exact_names(), 1)})
        seen = TimedProcess("host", None, Observed(), None, Process(5, 5, 5, 10), environment)
        file = timed.file_of(tmp_path, "deepseek-ocr", "cpu", "vision")
        timed.record(file, "deepseek-ocr", "cpu", "vision", {key: (seen, True)})
    with pytest.raises(ReportError, match="2 workloads are recorded of deepseek-ocr on cpu: a report is of one"):
        recorded.report(tmp_path, "deepseek-ocr", "cpu")


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", ["charts", "--baselines", str(ROOT / "baselines"), *arguments])
    command.main()


def test_the_command_draws_the_chart_that_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(monkeypatch, "--grids=1x1,2x3", "time", str(tmp_path / "time.svg"))
    assert "decode, by new token" in (tmp_path / "time.svg").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nonsense", "out.svg"], "no chart 'nonsense': choose from time, attained, roofline"),
        (["time", "out.svg", "--gpu=nvidia-t4"], "no times of deepseek-ocr on nvidia-t4 are recorded in "),
    ],
)
def test_what_cannot_be_drawn_is_one_line(
    arguments: list[str], message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        run(monkeypatch, *arguments)
    assert stopped.value.code == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1
