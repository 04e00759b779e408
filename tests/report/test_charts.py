"""Each chart: what it asks, what it draws, in what units, and that no two lines lie on one another."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from chart_reports import GRIDS, UNITS, all_charts, document, each_point, h200, slower

from pytest_ocrsweep.baselines.measurement import GateResult
from pytest_ocrsweep.baselines.result import Analytic, PointResult
from pytest_ocrsweep.baselines.sweep_report import Report
from pytest_ocrsweep.model.stages import STAGES
from pytest_ocrsweep.report import recorded
from pytest_ocrsweep.report.charts import charts, drawing, scales
from pytest_ocrsweep.report.columns import PARTS, Points, points

ROOT = Path(__file__).parents[2]
COUNTED = ["flops", "bytes", "memory"]


def named(report: Report) -> list[str]:
    return [chart.name for chart in charts(report)]


def text_of(svg: str) -> list[str]:
    return [each.text or "" for each in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]


def test_every_chart_of_the_list_is_there_and_each_asks_one_question() -> None:
    assert list(all_charts()) == list(UNITS)
    titles = [chart.title for chart in all_charts().values()]
    assert all(title.endswith("?") for title in titles)
    assert len(set(titles)) == len(titles)


def test_what_was_not_measured_is_left_out() -> None:
    assert named(document("1x1", "2x3")) == [*COUNTED, "required"]
    assert charts(document()) == []


def test_one_grid_has_no_chart_of_single_dots() -> None:
    assert named(document("2x3")) == COUNTED
    assert named(recorded.report(ROOT / "baselines", "deepseek-ocr", "nvidia-h200", "2x3")) == ["roofline", *COUNTED]


def test_without_decode_or_prefill_no_rate_is_required() -> None:
    assert named(document("1x1", "1x2", stages=("vision",))) == COUNTED


@pytest.mark.parametrize("name", UNITS)
def test_a_picture_is_whole_and_has_its_units_and_title_and_stays_inside(name: str) -> None:
    chart = all_charts()[name]
    picture = chart.svg()
    root = ElementTree.fromstring(picture)
    assert {chart.title, chart.note, UNITS[name]} <= set(text_of(picture))
    assert "nan" not in picture
    assert "href" not in picture
    for circle in root.iter("{http://www.w3.org/2000/svg}circle"):
        assert 0 <= float(circle.get("cx", "")) <= drawing.WIDE
        assert 0 <= float(circle.get("cy", "")) <= drawing.TALL


@pytest.mark.parametrize("name", sorted(UNITS.keys() - {"roofline"}))
def test_grids_are_labelled_by_crops_and_then_rows(name: str) -> None:
    labels = [text for text in text_of(all_charts()[name].svg()) if re.fullmatch(r"\d+x\d+", text)]
    assert labels[: len(GRIDS)] == GRIDS


def classes(body: str, tag: str) -> list[str]:
    return re.findall(rf'<{tag} class="([^"]*)"', body)


def test_the_colour_is_the_stage_in_every_chart_of_lines() -> None:
    for name in ("time", "required"):
        for panel in all_charts()[name].panels:
            stage = panel.name.partition(",")[0]
            drawn = {found.split()[1] for found in classes(panel.body, "path") if found.split()[0] in ("line", "band")}
            assert drawn == {drawing.stage_class(stage)}
    (attained,) = all_charts()["attained"].panels
    assert {found.split()[1] for found in classes(attained.body, "path") if "line" in found} == {"s0", "s1", "s2"}


def test_attentions_differ_in_dashes_and_marks_and_what_is_the_same_is_one_line() -> None:
    decode = all_charts()["time"].panels[-1].body
    lines = [found for found in classes(decode, "path") if found.startswith("line")]
    assert sorted(lines) == ["line s2 a0", "line s2 a1"]
    assert {found.split()[0] for found in classes(decode, "circle")} == {"dot", "ring"}
    assert [found for found in classes(decode, "path") if found.startswith("thin")] == ["thin s2 a0 both"]
    assert "floor, eager and flash" in [key.label for key in all_charts()["time"].keys]


def test_what_is_the_same_in_both_attentions_has_one_panel() -> None:
    assert [panel.name for panel in all_charts()["flops"].panels] == ["vision", "prefill", "decode, all 100 new tokens"]
    assert len(all_charts()["bytes"].panels) == 6


def test_a_chart_of_changes_leaves_out_what_did_not_change() -> None:
    change = all_charts()["change"]
    assert [panel.name for panel in change.panels] == ["device time"]
    assert "100" in text_of(change.svg())
    rows = points(each_point(h200(), slower), h200()).rows(["device_ns", "was_device_ns", "flops", "was_flops"])
    assert all(row["device_ns"] == 2 * row["was_device_ns"] and row["flops"] == row["was_flops"] for row in rows)


def test_a_counted_number_that_changed_since_a_baseline_is_drawn_without_any_time() -> None:
    def fewer(point: PointResult) -> PointResult:
        numbers = {**point.analytic.numbers, "tensor_flops": point.analytic["tensor_flops"] // 2}
        return replace(point, analytic=Analytic(numbers))

    now = document("1x1", "2x3")
    (change,) = (chart for chart in charts(now, baseline=each_point(now, fewer)) if chart.name == "change")
    assert [panel.name for panel in change.panels] == ["FLOPs"]
    assert "change" not in [chart.name for chart in charts(now, baseline=now)]


def test_the_gates_own_change_is_drawn_if_no_baseline_is_given() -> None:
    gate = GateResult("PASS", 0.004, 0.0126)

    def gated(point: PointResult) -> PointResult:
        assert point.vendor
        return replace(point, vendor=replace(point.vendor, gate=gate))

    assert "change" in named(each_point(h200(), gated))
    assert "change" not in named(h200())


def test_memory_names_the_device_and_its_share() -> None:
    note = all_charts()["memory"].note
    assert note == "The fullest point takes 10.2 GB of the 141 GB of NVIDIA H200, 7.2 %"


def test_roofs_and_peaks_are_named() -> None:
    assert {"roof, by the data sheet", "roof, as measured"} <= set(text_of(all_charts()["roofline"].svg()))
    assert "NVIDIA H200, 990 TFLOP/s" in text_of(all_charts()["required"].svg())


def test_the_roofline_has_every_point_where_it_was_measured_and_a_line_up_to_its_floor() -> None:
    (panel,) = all_charts()["roofline"].panels
    assert sorted(map(int, re.findall(r'data-id="(\d+)"', panel.body))) == list(range(len(h200().points)))
    assert len([found for found in classes(panel.body, "path") if found.startswith("thin")]) == len(h200().points)


def test_a_device_that_nobody_knows_has_floors_and_no_roof() -> None:
    def unknown(point: PointResult) -> PointResult:
        assert point.floor
        return replace(point, floor=replace(point.floor, device="Somebody's GPU"))

    names = named(each_point(h200(), unknown))
    assert "roofline" not in names
    assert {"time", "memory"} <= set(names)


def test_one_attention_alone_can_be_drawn() -> None:
    alone = replace(h200(), points=tuple(point for point in h200().points if point.attention == "flash"))
    labels = [key.label for chart in charts(alone) for key in chart.keys]
    assert "measured, flash" in labels
    assert not any("eager" in label for label in labels)


def test_many_grids_are_drawn_by_their_number_of_crops() -> None:
    many = charts(document(*(f"{rows}x7" for rows in range(1, 60))))
    assert [chart.name for chart in many] == [*COUNTED, "required"]
    for chart in many:
        words = text_of(chart.svg())
        assert "crops" in words
        assert not any("x7" in word for word in words)
        assert "mean" not in chart.note


def test_many_grids_of_as_many_crops_are_their_mean() -> None:
    columns = points(document(*(f"{n}x7" for n in range(1, 42)), "7x8", attention=("flash",), stages=("prefill",)))
    assert scales.averaged(columns)
    axis = scales.grids(columns)
    found = scales.means(axis, range(columns.count), columns.columns["flops"])
    of_56 = [
        flops for flops, crops in zip(columns.columns["flops"], columns.columns["crops"], strict=True) if crops == 56
    ]
    assert len(of_56) == 2
    assert [value for at, value, _ in found if axis.keys[at] == 56] == [sum(of_56) / 2]
    notes = [chart.note for chart in charts(document(*(f"{n}x7" for n in range(1, 42)), "7x8"))]
    assert sum("mean of grids with as many crops" in note for note in notes) == 2


def test_parts_add_up_to_the_whole() -> None:
    found = points(h200())
    for what, whole in (("flops", "flops"), ("bytes", "moved_bytes")):
        parts = [column for name, column in found.columns.items() if name.endswith(f" {what}")]
        for at, total in enumerate(found.columns[whole]):
            assert sum(column[at] or 0 for column in parts) == total


@pytest.mark.parametrize(
    "grids", [("1x1",), ("1x1", "2x3"), ("1x1", "1x2", "2x3"), tuple(f"1x{n}" for n in range(1, 25))]
)
def test_no_bar_reaches_over_the_numbers_of_its_axis_or_its_neighbour(grids: tuple[str, ...]) -> None:
    for chart in charts(document(*grids)):
        for panel in chart.panels:
            bars = re.findall(r'<rect class="block[^>]* x="([\d.-]+)"[^>]* width="([\d.]+)"', panel.body)
            spans = sorted({(float(x), float(x) + float(width)) for x, width in bars})
            if bars:
                assert len(spans) == len(grids)
                assert spans[0][0] >= drawing.LEFT
                assert spans[-1][1] <= drawing.WIDTH - drawing.RIGHT
                assert all(left[1] <= right[0] for left, right in pairwise(spans))


def test_a_component_has_one_colour_in_every_report() -> None:
    colours: dict[str, set[str]] = {}
    for stages in (("vision",), ("decode",), tuple(STAGES)):
        for chart in charts(document("1x1", "2x3", stages=stages)):
            if chart.name in ("flops", "bytes"):
                for key in chart.keys:
                    colours.setdefault(key.label, set()).add(key.classes)
    assert {"SAM", "experts", "head"} <= colours.keys()
    assert {len(each) for each in colours.values()} == {1}
    assert len(set.union(*colours.values())) == len(colours)
    assert len(PARTS) == drawing.OF_MEMORY
    assert len(drawing.PART_COLOURS) == len(PARTS) + 3


def test_a_point_without_a_number_has_none() -> None:
    columns = points(document("1x1", stages=("vision", "decode"))).columns
    assert columns["sam:read_bytes"][-1] is None
    assert columns["device_ns"] == [None] * 4


@pytest.mark.parametrize(
    ("values", "ticks"),
    [
        ([3, 61], [0, 20, 40, 60, 80]),
        ([6], [0, 1, 2, 3, 4, 5, 6]),
        ([0.1, 0.23], [0, 0.05, 0.1, 0.15, 0.2, 0.25]),
        ([-2.5, 4], [-4, -2, 0, 2, 4]),
        ([0, 0], [0, 0.2, 0.4, 0.6, 0.8, 1]),
        ([], [0, 0.2, 0.4, 0.6, 0.8, 1]),
    ],
)
def test_an_axis_has_round_ticks_around_its_values(values: list[float], ticks: list[float]) -> None:
    assert scales.linear(values, 0, 100).ticks == pytest.approx(ticks)


def test_an_axis_that_need_not_begin_at_zero_begins_at_the_least_value() -> None:
    assert scales.linear([50, 61], 0, 100, zero=False).ticks == pytest.approx([50, 52, 54, 56, 58, 60, 62])
    assert scales.linear([50, 50], 0, 100, zero=False).ticks == pytest.approx([50, 60, 70, 80, 90, 100])


def test_a_logarithmic_axis_has_powers_of_ten_or_if_they_are_few_more() -> None:
    assert scales.logarithmic([1, 900], 0, 100).ticks == pytest.approx([1, 10, 100, 1000])
    assert scales.logarithmic([20, 90], 0, 100).ticks == pytest.approx([20, 50, 100])
    assert scales.logarithmic([1, 80], 0, 100).ticks == pytest.approx([1, 10, 100])
    assert scales.logarithmic([0.002, 9], 0, 100).ticks == pytest.approx([0.01, 0.1, 1, 10])
    scale = scales.logarithmic([1, 100], 10, 20)
    assert scale(10) == pytest.approx(15)


def test_names_of_a_document_are_text_in_a_picture() -> None:
    hostile = "</text><script>alert(1)</script>"
    found = all_charts()["memory"]
    assert hostile not in replace(found, title=hostile, note=hostile).svg()
    assert hostile not in drawing.text(0, 0, hostile)


def test_a_patch_encoder_stands_in_sams_place_under_its_own_name() -> None:
    assert Points({"id": ["x"], "sam:tensor_flops": [3]}).named("SAM") == "SAM"
    patches = Points({"id": ["x"], "patch_encoder:tensor_flops": [3]})
    assert [patches.named(part) for part in ("SAM", "projector")] == ["patch encoder", "projector"]
