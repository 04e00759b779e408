"""Recorded times as a table and a chart, and the pages that show them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import times_table as times
from times_table import markdown

from pytest_ocrsweep.baselines import counted, gate, timed
from pytest_ocrsweep.baselines.attribution import Observed
from pytest_ocrsweep.baselines.counted import PointKey
from pytest_ocrsweep.baselines.evidence import Process
from pytest_ocrsweep.baselines.measurement import Environment
from pytest_ocrsweep.baselines.metrics import exact_names
from pytest_ocrsweep.baselines.recorded_time import TimedProcess
from pytest_ocrsweep.errors import OcrsweepError, ReportError
from pytest_ocrsweep.model.geometry import CropGrid, Workload
from pytest_ocrsweep.model.stages import STAGES
from pytest_ocrsweep.report.recorded import Source, recorded

ROOT = Path(__file__).parents[2]
ENVIRONMENT = Environment("runner-1", "NVIDIA Test", "1.2", "2.13.0", "5.23.0", "bf16", "random, seed 0")


def seen(median_ns: int) -> TimedProcess:
    observed = Observed(kernels=771, peak_bytes=3_498_000_000)
    return TimedProcess(
        "cuda-graph", None, observed, 75_000_000, Process(median_ns, median_ns, median_ns, 10), ENVIRONMENT
    )


@pytest.fixture
def source(tmp_path: Path) -> Source:
    return Source(tmp_path, "deepseek-ocr", "nvidia-test")


def record(source: Source, stage: str, *medians_ns: int, grid: str = "2x3", attention: str = "flash") -> None:
    """A point's counted costs, and its time in as many processes as there are medians."""
    folder, model, gpu = source
    key = PointKey(Workload(CropGrid.parse(grid)), attention)
    numbers = dict.fromkeys(exact_names(), 10**12) | {"context_tokens": 903, "peak_activation_bytes": 3_498_700_000}
    counted.record(counted.file_of(folder, model, stage), model, stage, {key: numbers})
    for median_ns in medians_ns:
        timed.record(timed.file_of(folder, model, gpu, stage), model, gpu, stage, {key: (seen(median_ns), True)})


def lines(source: Source) -> list[str]:
    return markdown(recorded(source)).splitlines()


def test_a_row_has_the_counted_costs_beside_the_recorded_time(source: Source) -> None:
    record(source, "decode", 200_000_000, 200_400_000)
    header, _, row = (line.strip("| ").split(" | ") for line in lines(source)[2:5])
    assert dict(zip(header, row, strict=True)) == {
        "stage": "decode",
        "grid": "2x3",
        "attention": "flash",
        "tokens": "903",
        "TFLOP": "2.000",
        "GB moved": "2,000.00",
        "device ms": "200.200",
        "wall ms": "75.0",
        "peak GB measured": "3.498",
        "counted off %": "0.02",
        "kernels": "771",
        "processes": "2",
        "apart %": "0.20",
        "margin %": f"{100 * gate.margin(recorded(source)[0].stored.baseline):.2f}",
    }


def test_the_notes_say_where_it_ran_and_how_far_processes_agree(source: Source) -> None:
    record(source, "vision", 60_000_000, 60_600_000, 60_300_000)
    record(source, "prefill", 70_000_000, 70_070_000)
    record(source, "decode", 200_000_000)
    *_, ran_on, _, agree, peak = lines(source)
    assert ran_on == (
        "Measured on NVIDIA Test, driver 1.2, torch 2.13.0, transformers 5.23.0, bf16, weights random, seed 0."
    )
    assert agree == (
        "Medians of separate processes lie at most 1.00 % apart (vision 2x3 flash), "
        "over the 2 of 3 points that have more than one process."
    )
    assert peak == (
        "Peak memory as counted lies at most 0.02 % from the measured (vision 2x3 flash); "
        "it is equal, to the byte, at 0 of 3 points."
    )


def test_a_single_process_agrees_with_nothing(source: Source) -> None:
    record(source, "decode", 200_000_000)
    assert lines(source)[4].split(" | ")[-2] == "-"
    assert "separate processes" not in markdown(recorded(source))


def test_grids_choose_and_stages_stay_in_order(source: Source) -> None:
    for stage in reversed(STAGES):
        for grid in ("3x3", "1x1", "2x3"):
            record(source, stage, 10**6, grid=grid)
    names = [times.name_of(point) for point in recorded(source, "3x3,1x1")]
    assert names == [f"{stage} {grid} flash" for stage in STAGES for grid in ("1x1", "3x3")]


@pytest.mark.parametrize(
    ("grids", "message"),
    [
        (None, "no times of deepseek-ocr on nvidia-test are recorded in "),
        ("9x9", "no times of deepseek-ocr on nvidia-test at 9x9 are recorded in "),
        ("huge", "--grids: cannot sweep 'huge'"),
    ],
)
def test_times_that_are_not_there_are_one_line(source: Source, grids: str | None, message: str) -> None:
    with pytest.raises(OcrsweepError, match=message) as error:
        recorded(source, grids)
    assert "\n" not in str(error.value)


def test_a_time_without_counted_costs_is_an_error(source: Source) -> None:
    record(source, "decode", 10**6)
    counted.file_of(source.folder, source.model, "decode").unlink()
    with pytest.raises(
        ReportError, match=r"decode 2x3 flash has a time, but no counted costs: record both with pytest"
    ):
        recorded(source)


def test_the_command_prints_the_table(
    source: Source, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    record(source, "vision", 10**6)
    monkeypatch.setattr(sys, "argv", ["times", "--gpu", source.gpu, "--baselines", str(source.folder)])
    times.main()
    assert capsys.readouterr().out == markdown(recorded(source))


def test_the_page_shows_what_is_recorded() -> None:
    """`make docs` writes docs/h200.md."""
    table = markdown(recorded(Source(ROOT / "baselines", "deepseek-ocr", "nvidia-h200")))
    assert (ROOT / "docs" / "h200.md").read_text(encoding="utf-8").endswith(table)
