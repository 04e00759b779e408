"""Each chart: what it draws, in what units, and that Vega can draw it."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

from pytest_ocrsweep import CropGrid, Workload, load_model
from pytest_ocrsweep.baselines.measurement import GateResult
from pytest_ocrsweep.baselines.metrics import analytic
from pytest_ocrsweep.baselines.result import PointResult, components
from pytest_ocrsweep.baselines.sweep_report import Report, SweepEnvironment, SweepWorkload
from pytest_ocrsweep.model.attention import ATTENTION
from pytest_ocrsweep.model.stages import STAGES
from pytest_ocrsweep.report import recorded
from pytest_ocrsweep.report.charts import Chart, charts, style
from pytest_ocrsweep.report.columns import points

vl_convert = pytest.importorskip("vl_convert", reason="charts need pytest-ocrsweep[report]")

ROOT = Path(__file__).parents[2]
MEASURED = ["time", "attained"]
COUNTED = [
    "flops",
    "split-linear",
    "split-log",
    "bytes",
    "intensity",
    "memory",
    "parts-flops",
    "parts-bytes",
    "kv-cache",
]
REQUIRED = ["required-flops", "required-bytes"]
UNITS = {
    "time": "ms, logarithmic",
    "attained": "floor as % of the device time",
    "parts-time": "ms",
    "roofline": "needed tensor TFLOP/s, logarithmic",
    "flops": "TFLOP, tensor and vector",
    "split-linear": "TFLOP",
    "split-log": "TFLOP, logarithmic",
    "bytes": "GB read and written, logarithmic",
    "intensity": "tensor FLOP/byte, logarithmic",
    "memory": "GB",
    "parts-flops": "TFLOP",
    "parts-bytes": "GB",
    "kv-cache": "MB of keys and values at the stage's end",
    "required-flops": "tensor TFLOP/s, logarithmic",
    "required-bytes": "compulsory GB/s, logarithmic",
    "change": "change since the baseline, %",
}


@cache
def h200() -> Report:
    """Six grids, given in no order."""
    return recorded.report(ROOT / "baselines", "deepseek-ocr", "nvidia-h200", "3x3,1x1,2x1,1x2,1x9,2x3")


def document(
    *grids: str, attention: tuple[str, ...] = tuple(ATTENTION), stages: tuple[str, ...] = tuple(STAGES)
) -> Report:
    """Counted only, without a device."""
    model, found = load_model("deepseek-ocr"), []
    for grid in grids:
        work = Workload(CropGrid.parse(grid))
        for stage in stages:
            for kind in attention:
                ledger = model.ledger(stage, work, kind)
                parts = components(ledger)
                found.append(PointResult.of(stage, work, kind, analytic(ledger), components=parts))
    workload = SweepWorkload.of(Workload(CropGrid(1, 1)))
    return Report.of("deepseek-ocr", workload, SweepEnvironment(), found)


def each_point(report: Report, change: Callable[[PointResult], PointResult]) -> Report:
    return replace(report, points=tuple(map(change, report.points)))


def slower(point: PointResult) -> PointResult:
    time = point.vendor.device_ns
    return replace(point, vendor=replace(point.vendor, device_ns=replace(time, median=2 * time.median)))


@cache
def all_charts() -> dict[str, Chart]:
    """Every chart there is: measured, and beside a baseline."""
    now = each_point(h200(), slower)
    return {chart.name: chart for chart in charts(now, baseline=h200())}


def text_of(svg: str) -> set[str]:
    return {element.text or "" for element in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")}


def test_every_chart_of_the_list_is_there() -> None:
    assert set(all_charts()) == set(UNITS)


def test_the_chart_of_time_by_component_has_the_profiled_points_and_sums_to_their_device_time() -> None:
    table = points(h200())
    parts = [name for name in table.columns if name.endswith(" time")]
    assert "between kernels time" in parts
    for at, point in enumerate(h200().points):
        found = [table.columns[name][at] for name in parts if table.columns[name][at] is not None]
        profile = point.vendor.profile
        assert bool(found) == (profile is not None) == (str(point.grid) in ("1x1", "2x3"))
        if profile:
            assert sum(found) == profile.device_ns


def test_what_was_not_measured_is_left_out() -> None:
    assert [chart.name for chart in charts(document("1x1", "2x3"))] == [*COUNTED, "required-flops"]
    assert charts(document()) == []


def test_without_decode_or_prefill_nothing_is_required_and_nothing_cached() -> None:
    names = {chart.name for chart in charts(document("1x1", stages=("vision",)))}
    assert not names & {*REQUIRED, "kv-cache"}
    assert "flops" in names


@pytest.mark.parametrize("name", UNITS)
def test_a_chart_is_valid_and_is_drawn_with_its_units_and_title(name: str) -> None:
    chart = all_charts()[name]
    chart.altair.to_dict(validate=True)
    words = text_of(chart.svg())
    assert {chart.title, chart.note, UNITS[name]} <= words


@pytest.mark.parametrize("name", sorted(UNITS.keys() - {"roofline", "parts-time"}))
def test_grids_are_labelled_by_crops_and_then_rows(name: str) -> None:
    labels = [each.text for each in ElementTree.fromstring(all_charts()[name].svg()).iter() if each.text]
    grids = [text for text in labels if text[0].isdigit() and "x" in text]
    assert grids[:6] == ["1x1", "1x2", "2x1", "2x3", "1x9", "3x3"]


@pytest.mark.parametrize("name", [name for name in UNITS if name not in ("memory", "roofline") and "parts" not in name])
def test_lines_are_told_apart_by_shape_as_well_as_by_colour(name: str) -> None:
    text = json.dumps(all_charts()[name].spec())
    assert '"shape": {' in text
    assert '"strokeDash": {' in text


def test_no_two_series_look_alike_in_grey() -> None:
    looks = [pair for each in ATTENTION.values() for pair in zip(each.markers, style.DASHES, strict=True)]
    assert len(set(looks)) == len(looks)
    assert len({each.colour for each in ATTENTION.values()}) == len(ATTENTION)


def test_memory_names_the_device_and_its_share() -> None:
    note = all_charts()["memory"].note
    assert note.endswith("the fullest point takes 10.2 GB of the 141 GB of NVIDIA H200, 7.2 %")


def test_the_ridge_and_the_peaks_are_named() -> None:
    assert "ridge of NVIDIA H200, 206" in text_of(all_charts()["intensity"].svg())
    assert {"NVIDIA H200, its sheet", "NVIDIA H200, as measured"} <= text_of(all_charts()["roofline"].svg())
    assert "NVIDIA H200, 990 TFLOP/s" in text_of(all_charts()["required-flops"].svg())


def test_a_device_that_nobody_knows_has_floors_and_no_roof() -> None:
    unknown = each_point(h200(), lambda point: replace(point, floor=replace(point.floor, device="Somebody's GPU")))
    names = {chart.name for chart in charts(unknown)}
    assert "roofline" not in names
    assert {"time", "intensity", "memory"} <= names


def marks_of(chart: Chart, attribute: str) -> int:
    return chart.svg().count(attribute)


def test_the_roofline_has_every_point_at_its_floor_and_where_it_was_measured() -> None:
    chart = all_charts()["roofline"]
    assert marks_of(chart, 'aria-roledescription="point"') == 2 * chart.points.count


def test_change_is_against_the_baseline_that_is_given() -> None:
    rows = all_charts()["change"].points.rows(["device_ns", "was_device_ns", "flops", "was_flops"])
    assert all(row["device_ns"] == 2 * row["was_device_ns"] and row["flops"] == row["was_flops"] for row in rows)
    labels = text_of(all_charts()["change"].svg())
    assert {"100", "eager, device time", "flash, FLOPs"} <= labels


def test_the_gates_own_word_is_drawn_where_no_baseline_is_given() -> None:
    gate = GateResult("PASS", 0.004, 0.0126)
    judged = each_point(h200(), lambda point: replace(point, vendor=replace(point.vendor, gate=gate)))
    assert "change" in {chart.name for chart in charts(judged)}
    assert "change" not in {chart.name for chart in charts(h200())}


def test_one_attention_alone_can_be_drawn() -> None:
    chart = charts(document("1x1", "2x3", attention=("flash",)))[0]
    assert "flash" in text_of(chart.svg())
    assert "eager" not in text_of(chart.svg())


@pytest.fixture(scope="module")
def many() -> dict[str, Chart]:
    return {chart.name: chart for chart in charts(document(*(f"{rows}x7" for rows in range(1, 60))))}


@pytest.mark.parametrize("name", [*COUNTED, "required-flops"])
def test_many_grids_are_drawn_by_their_number_of_crops(many: dict[str, Chart], name: str) -> None:
    words = text_of(many[name].svg())
    assert "crops" in words
    assert not any("x7" in word for word in words)


def test_many_grids_of_as_many_crops_are_their_mean(many: dict[str, Chart]) -> None:
    both = {chart.name: chart for chart in charts(document(*(f"{n}x7" for n in range(1, 42)), "7x8"))}
    assert both["flops"].note.endswith(", the mean of grids with as many crops")
    assert "mean" not in many["flops"].note
    assert '"op": "mean"' in json.dumps(both["flops"].spec())
    assert '"op": "mean"' not in json.dumps(many["flops"].spec())


def test_parts_add_up_to_the_whole() -> None:
    found = points(h200())
    for what, whole in (("flops", "flops"), ("bytes", "moved_bytes")):
        parts = [column for name, column in found.columns.items() if name.endswith(f" {what}")]
        for at, total in enumerate(found.columns[whole]):
            assert sum(column[at] or 0 for column in parts) == total


def test_a_point_without_a_number_has_none() -> None:
    mixed = document("1x1", stages=("vision", "decode"))
    columns = points(mixed).columns
    assert columns["sam:read_bytes"][-1] is None
    assert columns["device_ns"] == [None] * 4
