"""A chart as a reader sees it: every mark inside its plot and at the value that its axis says."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from itertools import combinations, pairwise
from math import log10

import pytest
from chart_reports import GRIDS, UNITS, all_charts, document, each_point, h200, slower

from pytest_ocrsweep.baselines.result import FloorResult, PointResult
from pytest_ocrsweep.baselines.sweep_report import Report
from pytest_ocrsweep.report.charts import Chart, charts, drawing, scales
from pytest_ocrsweep.report.charts.drawing import Panel
from pytest_ocrsweep.report.columns import PARTS, points
from pytest_ocrsweep.sweep.config import devices

SVG = "{http://www.w3.org/2000/svg}"
GPU_OF_24_GB = "NVIDIA GeForce RTX 4090"
Element = ElementTree.Element
Place = tuple[float, float]


def with_floor(point: PointResult) -> PointResult:
    """The point, with a floor for an H200 that its counted numbers give."""
    tensor, moved = point.analytic["tensor_flops"], point.analytic["read_bytes"] + point.analytic["write_bytes"]
    device = devices()["h200"]
    times = round(1e9 * tensor / device.tensor_flops_per_s), round(1e9 * moved / device.bandwidth_bytes_per_s)
    floor = replace(h200().points[0].floor, tensor_ns=times[0], bandwidth_ns=times[1], time_ns=max(times))
    assert isinstance(floor, FloorResult)
    return replace(point, floor=floor)


@cache
def many() -> Report:
    """102 grids, more than are labelled or drawn one by one; one of them has as many crops as another."""
    return each_point(document(*(f"{n}x7" for n in range(1, 102)), "7x8"), with_floor)


@cache
def drawn() -> dict[str, Chart]:
    """Every chart: measured, of few grids; of many grids; and counted only."""
    others = {"many": charts(many()), "counted": charts(document("1x1", "2x3"))}
    return all_charts() | {f"{kind} {chart.name}": chart for kind, found in others.items() for chart in found}


def shapes(panel: Panel, tag: str, first: str) -> list[Element]:
    """The panel's elements of this tag whose first class is `first`."""
    body = ElementTree.fromstring(f"<g>{panel.body}</g>")
    return [each for each in body.iter(tag) if each.get("class", "").split()[0] == first]


def corners(shape: Element) -> list[Place]:
    at = {name: float(value) for name, value in shape.attrib.items() if re.fullmatch(r"c?[xy]|width|height|r", name)}
    if shape.tag.endswith("circle"):
        return [(at["cx"], at["cy"])]
    if shape.tag.endswith("rect"):
        return [(at["x"], at["y"]), (at["x"] + at["width"], at["y"] + at["height"])]
    found = [(float(x), float(y)) for x, y in re.findall(r"([\d.-]+) ([\d.-]+)", shape.get("d", ""))]
    across = re.findall(r"H([\d.-]+)", shape.get("d", ""))
    return found + [(float(x), found[0][1]) for x in across]


def labels(panel: Panel, *, turned: bool = False) -> list[Element]:
    """The numbers of the y axis, or the names of grids below the x axis, which are turned."""
    ends = [each for each in shapes(panel, "text", "soft") if each.get("class") == "soft end"]
    return [each for each in ends if ("transform" in each.attrib) == turned]


def number(label: Element) -> float:
    return float((label.text or "").replace(",", ""))


def y_axis(panel: Panel, *, log: bool = False) -> Callable[[float], float]:
    """Reads a value from how high a mark is, by the lines behind it and their labels."""
    values = [number(label) for label in labels(panel)]
    at = [corners(line)[0][1] for line in shapes(panel, "path", "grid")]
    return _axis(values, at, log=log)


def x_axis(panel: Panel, *, log: bool = False) -> Callable[[float], float]:
    """Reads a value from how far right a mark is, by the numbers below the plot."""
    *ticks, _ = (each for each in shapes(panel, "text", "soft") if each.get("class") == "soft mid")
    return _axis([number(tick) for tick in ticks], [float(tick.get("x", "")) for tick in ticks], log=log)


def _axis(values: list[float], at: list[float], *, log: bool) -> Callable[[float], float]:
    low, high = (log10(values[0]), log10(values[-1])) if log else (values[0], values[-1])

    def read(place: float) -> float:
        value = low + (place - at[0]) / (at[-1] - at[0]) * (high - low)
        return 10**value if log else value

    return read


def of_points(panel: Panel) -> Iterator[tuple[int, Place]]:
    """Each dot or ring: of which point it is, and where."""
    for mark in (*shapes(panel, "circle", "dot"), *shapes(panel, "circle", "ring")):
        yield int(mark.get("data-id", "")), corners(mark)[0]


def heights(chart: Chart) -> Iterator[tuple[int, float]]:
    """The value of each dot or ring, by its axis."""
    for panel in chart.panels:
        yield from ((at, y_axis(panel)(y)) for at, (_, y) in of_points(panel))


def place_of(label: Element) -> Place:
    return float(label.get("x", "")), float(label.get("y", ""))


def column(report: Report, name: str) -> list[float]:
    found: list[float] = points(report).columns[name]
    return found


INSIDE = [*UNITS, "counted memory", *(f"many {name}" for name in ("time", "roofline", "flops", "memory", "required"))]


@pytest.mark.parametrize("name", INSIDE)
def test_every_mark_is_inside_its_plot_and_every_word_inside_its_panel(name: str) -> None:
    for panel in drawn()[name].panels:
        for shape in ElementTree.fromstring(f"<g>{panel.body}</g>"):
            if shape.tag == "text":
                x, y = place_of(shape)
                assert 0 < x < panel.width
                assert 0 < y < panel.height
            assert re.fullmatch(r"[MLHhZ\d. -]*", shape.get("d", ""))
            for x, y in corners(shape) if shape.tag != "text" else ():
                assert drawing.LEFT - 0.1 <= x <= panel.width - drawing.RIGHT + 0.1
                assert drawing.TOP - 0.1 <= y <= panel.height - drawing.BOTTOM + 0.1


@pytest.mark.parametrize("name", UNITS)
def test_a_number_of_the_y_axis_stands_left_of_its_line(name: str) -> None:
    for panel in drawn()[name].panels:
        lines = shapes(panel, "path", "grid")
        assert len(lines) > 1
        for line, label in zip(lines, labels(panel), strict=True):
            (left, y), (right, _) = corners(line)
            assert (left, right) == (drawing.LEFT, panel.width - drawing.RIGHT)
            assert left - 10 < place_of(label)[0] < left
            assert 3 <= place_of(label)[1] - y <= 4  # half as high as its capitals


@pytest.mark.parametrize("name", ["time", "attained", "change", "required", "flops", "memory"])
def test_a_mark_stands_above_the_name_of_its_grid(name: str) -> None:
    for panel in drawn()[name].panels:
        names = labels(panel, turned=True)
        assert [name.text for name in names] == GRIDS
        assert all(name.get("transform") == f"rotate(-90 {name.get('x')} {name.get('y')})" for name in names)
        assert all(0 < place_of(name)[1] - (panel.height - drawing.BOTTOM) < 10 for name in names)
        below = {name.text: place_of(name)[0] - 3.5 for name in names}
        bars = [(int(bar.get("data-id", "")), corners(bar)) for bar in shapes(panel, "rect", "block")]
        marks = [*of_points(panel), *((at, ((left + right) / 2, 0.0)) for at, ((left, _), (right, _)) in bars)]
        assert marks
        grids = [str(h200().points[at].grid) for at, _ in marks]
        assert [x for _, (x, _) in marks] == pytest.approx([below[grid] for grid in grids], abs=0.2)


def per_step(report: Report, name: str, scale: float) -> list[float]:
    """A column, scaled; of one of the 100 new tokens of a decode."""
    steps = (100 if point.stage == "decode" else 1 for point in report.points)
    return [value / scale / count for value, count in zip(column(report, name), steps, strict=True)]


def test_a_dot_is_as_high_as_its_value() -> None:
    slow = each_point(h200(), slower)
    attained = [100 * value for value in column(slow, "attained")]
    for name, values in (("time", per_step(slow, "device_ns", 1e6)), ("attained", attained)):
        dots = sorted(heights(drawn()[name]))
        assert [at for at, _ in dots] == list(range(len(values)))  # the floor has none
        assert [value for _, value in dots] == pytest.approx(values, rel=0.02)
    changes = [value for _, value in heights(drawn()["change"])]
    assert changes == pytest.approx([100.0] * 3 * len(GRIDS), rel=0.01)  # the same in both attentions


def test_beside_names_units_ticks_and_grids_only_what_needs_a_name_has_one() -> None:
    for name in ("time", "change", "attained", "roofline"):
        for panel in drawn()[name].panels:
            title = [each.text for each in shapes(panel, "text", "name")]
            assert title == ([panel.name] if panel.name else [])
            assert [each.text for each in shapes(panel, "text", "soft") if each.get("class") == "soft"] == [UNITS[name]]
            assert shapes(panel, "text", "end") == []


def test_of_many_grids_a_line_has_no_dots() -> None:
    for name in ("many time", "many required"):
        assert [len(list(of_points(panel))) for panel in drawn()[name].panels] == [0] * len(drawn()[name].panels)


def test_a_panel_of_decode_says_of_how_many_tokens_it_is() -> None:
    names = {name: drawn()[name].panels[-1].name for name in ("time", "flops")}
    assert names == {"time": "decode, by new token", "flops": "decode, all 100 new tokens"}


def test_a_band_reaches_from_one_end_of_the_estimate_to_the_other_and_the_floor_is_a_line() -> None:
    vision = next(panel for panel in drawn()["time"].panels if panel.name == "vision")
    of_vision = {str(point.grid): at for at, point in enumerate(h200().points) if point.stage == "vision"}
    low, high, floor = (
        [per_step(h200(), name, 1e6)[of_vision[grid]] for grid in GRIDS]
        for name in ("estimate_low_ns", "estimate_high_ns", "floor_ns")
    )
    band, line = (
        [y_axis(vision)(y) for _, y in corners(shapes(vision, "path", kind)[-1])] for kind in ("band", "thin")
    )
    assert band == pytest.approx([*low, *reversed(high)], rel=0.02)
    assert line == pytest.approx(floor, rel=0.02)


def test_each_target_has_its_line_at_the_rate_that_keeps_it_and_its_name_at_the_lines_end() -> None:
    of_stage = (("tensor_flops", 1e12, (100, 250, 500, 1000)), ("compulsory_bytes", 1e9, (5, 10, 20, 50)))
    for panel, (of, scale, targets) in zip(drawn()["required"].panels, of_stage, strict=True):
        work, read, dots = per_step(h200(), of, scale), y_axis(panel, log=True), list(of_points(panel))
        needed = [1e3 * work[at] / targets[place // len(GRIDS)] for place, (at, _) in enumerate(dots)]
        assert [read(y) for _, (_, y) in dots] == pytest.approx(needed, rel=0.03)
        names = shapes(panel, "text", "end")
        assert [each.text for each in names] == [f"{ms} ms" for ms in targets]
        ends = [corners(line)[-1] for line in shapes(panel, "path", "line")]
        assert [x for x, _ in map(place_of, names)] == [x for x, _ in ends]
        assert all(0 < end[1] - place_of(each)[1] < 8 for end, each in zip(ends, names, strict=True))


def rule_of(panel: Panel, words: str) -> float:
    """How high the one line is that lies across the plot, with these words on it."""
    (rule,) = shapes(panel, "path", "rule")
    (left, y), (right, _) = corners(rule)
    (label,) = (each for each in shapes(panel, "text", "soft") if each.text == words)
    assert (left, right) == (drawing.LEFT, panel.width - drawing.RIGHT)
    assert left < place_of(label)[0] < left + 10
    assert 0 < y - place_of(label)[1] < 8
    return y


def test_what_a_device_reaches_is_a_line_across() -> None:
    prefill, decode = drawn()["required"].panels
    assert y_axis(prefill, log=True)(rule_of(prefill, "NVIDIA H200, 990 TFLOP/s")) == pytest.approx(990, rel=0.03)
    assert y_axis(decode, log=True)(rule_of(decode, "NVIDIA H200, 4,800 GB/s")) == pytest.approx(4800, rel=0.03)


def test_the_memory_of_a_device_is_a_line_if_a_quarter_of_it_is_taken() -> None:
    small = each_point(h200(), lambda point: replace(point, floor=replace(point.floor, device=GPU_OF_24_GB)))
    memory = {chart.name: chart for chart in charts(small)}["memory"]
    assert memory.note == f"The fullest point takes 10.2 GB of the 24 GB of {GPU_OF_24_GB}, 42.4 %"
    for panel in memory.panels:
        assert y_axis(panel)(rule_of(panel, f"{GPU_OF_24_GB}, 24 GB")) == pytest.approx(24, rel=0.01)
    for panel in (*drawn()["memory"].panels, *drawn()["counted memory"].panels):
        assert shapes(panel, "path", "rule") == []
    assert re.fullmatch(r"The fullest point takes [\d.]+ GB", drawn()["counted memory"].note)


@pytest.mark.parametrize(("name", "of", "scale"), [("flops", "flops", 1e12), ("bytes", "moved_bytes", 1e9)])
def test_the_blocks_of_a_bar_stand_on_one_another_up_to_the_whole(name: str, of: str, scale: float) -> None:
    columns = points(h200()).columns
    parts = [columns[column] for column in (f"{part} {name}" for part in PARTS) if column in columns]
    for panel in drawn()[name].panels:
        read, bars = y_axis(panel), dict[int, list[tuple[float, float]]]()
        for block in shapes(panel, "rect", "block"):
            (_, top), (_, bottom) = corners(block)
            bars.setdefault(int(block.get("data-id", "")), []).append((top, bottom))
        assert len(bars) == len(GRIDS)
        for at, blocks in bars.items():
            assert len(blocks) == sum(bool(part[at]) for part in parts)
            tops, bottoms = zip(*blocks, strict=True)
            assert read(bottoms[0]) == pytest.approx(0, abs=1e-9)
            assert bottoms[1:] == pytest.approx(tops[:-1], abs=0.25)
            assert read(tops[-1]) == pytest.approx(columns[of][at] / scale, rel=0.02)


def test_the_panels_of_memory_have_one_axis_and_those_of_flops_each_its_own() -> None:
    memory, flops = (
        [[number(each) for each in labels(panel)] for panel in drawn()[of].panels] for of in ("memory", "flops")
    )
    assert memory == [memory[0]] * len(memory)
    assert memory[0][-1] == 12
    assert len({each[-1] for each in flops}) == len(flops)
    assert [key.label for key in drawn()["memory"].keys] == ["weights", "KV cache", "peak activations"]


def test_the_kv_cache_that_a_vision_does_not_have_takes_no_room() -> None:
    measured = next(panel for panel in drawn()["memory"].panels if panel.name.startswith("vision"))
    assert {block.get("class") for block in shapes(measured, "rect", "block")} == {"block p9", "block p11"}
    (alone,) = (chart for chart in charts(document("1x1", "2x3", stages=("vision",))) if chart.name == "memory")
    tops = [y_axis(panel)(corners(bar)[0][1]) for panel in alone.panels for bar in shapes(panel, "rect", "block")]
    *_, below, highest = map(number, labels(alone.panels[0]))
    assert below < max(tops) <= highest


def test_of_many_grids_the_stacks_are_areas_over_the_number_of_crops() -> None:
    flops = column(many(), "flops")
    for panel in drawn()["many flops"].panels:
        read_x, read_y = x_axis(panel), y_axis(panel)
        areas = [corners(area) for area in shapes(panel, "path", "block")]
        crops = [7.0 * rows for rows in range(1, 102)]
        assert [read_x(x) for x, _ in areas[0][:101]] == pytest.approx(crops, abs=2)
        assert [read_y(y) for _, y in areas[0][:101]] == pytest.approx([0] * 101, abs=1e-9)
        assert all(below[:100:-1] == above[:101] for below, above in pairwise(areas))
        stage = panel.name.partition(",")[0]
        (largest,) = {flops[at] for at, p in enumerate(many().points) if (p.stage, p.grid.crops) == (stage, 707)}
        assert read_y(areas[-1][101][1]) == pytest.approx(largest / 1e12, rel=0.02)


@pytest.mark.parametrize("measured", [True, False])
def test_a_point_of_the_roofline_lies_at_its_intensity_and_rate(measured: bool) -> None:
    report = h200() if measured else each_point(h200(), lambda point: replace(point, vendor=None, estimate=None))
    roofline, device = {chart.name: chart for chart in charts(report)}["roofline"], devices()["h200"]
    (panel,) = roofline.panels
    read_x, read_y = x_axis(panel, log=True), y_axis(panel, log=True)
    for at, (x, y) in of_points(panel):
        floor, vendor = report.points[at].floor, report.points[at].vendor
        assert floor
        took = vendor.device_ns.median if vendor else floor.time_ns
        assert read_x(x) == pytest.approx(floor.tensor_ns / floor.bandwidth_ns * device.ridge, rel=0.03)
        assert read_y(y) == pytest.approx(floor.tensor_ns * device.tensor_flops_per_s / 1e12 / took, rel=0.05)
    lines = [corners(line) for line in shapes(panel, "path", "thin")]
    assert len(lines) == (len(report.points) if measured else 0)
    assert all(x == same_x and floor < y for (x, floor), (same_x, y) in lines)
    assert roofline.note.endswith("from a measured point up to its floor" if measured else "; points are floors")


def test_a_roof_rises_with_the_bandwidth_up_to_the_ridge_and_is_flat_from_there() -> None:
    (panel,) = drawn()["roofline"].panels
    read_x, read_y, sheet = x_axis(panel, log=True), y_axis(panel, log=True), devices()["h200"]
    for device, kind in ((sheet, "roof"), (sheet.as_measured, "rule")):
        (roof,) = shapes(panel, "path", kind)
        low, ridge, high = corners(roof)
        assert (low[0], high[0]) == (drawing.LEFT, panel.width - drawing.RIGHT)
        assert read_x(ridge[0]) == pytest.approx(device.ridge, rel=0.03)
        assert read_y(ridge[1]) == pytest.approx(device.tensor_flops_per_s / 1e12, rel=0.03)
        assert high[1] == ridge[1]
        assert read_y(low[1]) == pytest.approx(read_x(low[0]) * device.bandwidth_bytes_per_s / 1e12, rel=0.05)


def test_the_legend_of_the_roofline_has_every_kind_of_point_and_both_roofs() -> None:
    roofline = drawn()["roofline"]
    points = {each.get("class") for kind in ("dot", "ring") for each in shapes(roofline.panels[0], "circle", kind)}
    *kinds, sheet, measured = roofline.keys
    assert {f"{key.mark} {key.classes}" for key in kinds} == points
    assert (sheet.label, measured.label) == ("roof, by the data sheet", "roof, as measured")


def test_a_point_that_needs_no_tensor_arithmetic_has_no_place_in_the_roofline() -> None:
    first, *others = h200().points
    report = replace(h200(), points=(replace(first, floor=replace(first.floor, tensor_ns=0)), *others))
    (panel,) = {chart.name: chart for chart in charts(report)}["roofline"].panels
    assert sorted(at for at, _ in of_points(panel)) == list(range(1, len(report.points)))


def test_six_hundred_points_of_a_roofline_are_found_one_by_one_and_more_are_small_dots() -> None:
    some = replace(many(), points=many().points[:600])
    (one_by_one,) = {chart.name: chart for chart in charts(some)}["roofline"].panels
    assert sorted(at for at, _ in of_points(one_by_one)) == list(range(600))
    (panel,) = drawn()["many roofline"].panels
    assert list(of_points(panel)) == []
    kinds = [shape.get("class") for shape in shapes(panel, "path", "many")]
    assert sorted(kinds) == [f"many s{stage} a{kind}" for stage in range(3) for kind in range(2)]
    read, places = y_axis(panel, log=True), [corners(shape) for shape in shapes(panel, "path", "many")]
    assert all(len(set(each)) == len(each) for each in places)  # none on another
    rates = {read(y) for each in places for _, y in each}
    fastest = max(p.floor.tensor_ns * devices()["h200"].tensor_flops_per_s / p.floor.time_ns for p in many().points)
    assert max(rates) == pytest.approx(fastest / 1e12, rel=0.03)


@pytest.mark.parametrize("name", [*UNITS, "many flops"])
def test_the_panels_and_the_legend_of_a_picture_lie_inside_it_and_beside_one_another(name: str) -> None:
    chart = drawn()[name]
    root = ElementTree.fromstring(chart.svg())
    width, height = float(root.get("width", "")), float(root.get("height", ""))
    assert root.get("viewBox") == f"0 0 {width:g} {height:g}"
    starts = [re.findall(r"[\d.-]+", each.get("transform", "")) for each in root if each.tag == f"{SVG}g"]
    sizes = [
        *((27 + 5 * len(key.label), 12) for key in chart.keys),
        *((each.width, each.height) for each in chart.panels),
    ]
    boxes = [(float(x), float(y), float(x) + w, float(y) + h) for (x, y), (w, h) in zip(starts, sizes, strict=True)]
    for left, top, right, bottom in boxes:
        assert 0 <= left < right <= width
        assert 40 <= top < bottom <= height  # below the question and its note
    for (left, top, right, bottom), (x, y, end, below) in combinations(boxes, 2):
        assert right <= x or end <= left or bottom <= y or below <= top
    titles = {place_of(each)[0] for each in root.findall(f"{SVG}text")}
    assert titles == {boxes[0][0]} == {boxes[len(chart.keys)][0]}  # all begin at one line
    assert width - max(right for _, _, right, _ in boxes[len(chart.keys) :]) == boxes[0][0]
    keys, panels = ([top for _, top, _, _ in some] for some in (boxes[: len(chart.keys)], boxes[len(chart.keys) :]))
    assert min(panels) >= max(keys, default=0) + drawing.KEY
    assert panels == sorted(panels)
    assert [panels.count(top) for top in dict.fromkeys(panels)] in ([1], [2], [3], [3, 3])


@pytest.mark.parametrize("name", UNITS)
def test_a_picture_is_named_by_its_question_and_has_no_word_outside_its_texts(name: str) -> None:
    root = ElementTree.fromstring(drawn()[name].svg())
    assert (root.get("role"), root.get("aria-label")) == ("img", drawn()[name].title)
    outside = [each.text for each in root.iter() if each.tag not in (f"{SVG}text", f"{SVG}style")]
    assert "".join(word or "" for word in (*outside, *(each.tail for each in root.iter()))).strip() == ""


@pytest.mark.parametrize("dark", [True, False])
def test_every_class_of_a_mark_has_its_colour_or_its_dashes(dark: bool) -> None:
    rules = dict(re.findall(r"\.([spa]\d+) \{ (.*?); \}", drawing.colours(dark=dark)))
    body = "".join(panel.body for chart in drawn().values() for panel in chart.panels)
    assert set(re.findall(r"\b[spa]\d+\b", body)) <= rules.keys()
    colour = r"light-dark\(#[0-9a-f]{6}, #[0-9a-f]{6}\)" if dark else r"#[0-9a-f]{6}"
    assert all(re.fullmatch(f"--c: {colour}", rule) for name, rule in rules.items() if name[0] != "a")
    light = dict(re.findall(r"\.([spa]\d+) \{ (.*?); \}", drawing.colours(dark=False)))
    assert all(rule.replace("light-dark(", "").startswith(light[name].rstrip(";")) for name, rule in rules.items())
    assert rules["a0"] == "stroke-dasharray: none"
    assert all(re.fullmatch(r"stroke-dasharray: [\d ]+", rules[f"a{at}"]) for at in range(1, len(drawing.DASHES)))


@pytest.mark.parametrize("name", ["time", "attained", "change", "flops", "memory", "roofline"])
def test_a_legend_shows_each_mark_that_its_chart_has(name: str) -> None:
    chart = drawn()[name]
    body = "".join(panel.body for panel in chart.panels)
    assert len({(key.mark, key.label) for key in chart.keys}) == len(chart.keys)
    for key in chart.keys:
        shape = ElementTree.fromstring(key.svg())
        assert shape.tag == {"dot": "circle", "ring": "circle", "band": "rect", "block": "rect"}.get(key.mark, "path")
        assert shape.get("class", "").split() == [key.mark, *key.classes.split()]
        assert re.search(rf'class="{key.mark}\b[^"]*{key.classes}[" ]', body)
        assert all(0 <= x <= 22 and 0 <= y <= 12 for x, y in corners(shape))


def test_a_grid_stands_at_the_same_place_in_charts_of_bars_and_of_lines() -> None:
    flops, *_, required = charts(document(*(f"1x{columns}" for columns in range(1, 25))))
    bars, lines = (labels(chart.panels[0], turned=True) for chart in (flops, required))
    assert list(map(place_of, bars)) == list(map(place_of, lines))


@pytest.mark.parametrize(("count", "keys"), [(40, (0, 1, 2)), (41, (7, 14, 21))])
def test_forty_grids_are_named_and_of_more_their_number_of_crops_counts(count: int, keys: tuple[int, ...]) -> None:
    axis = scales.grids(points(document(*(f"{rows}x7" for rows in range(1, count + 1)), stages=("vision",))))
    assert axis.keys[:3] == keys
    assert len(axis.labels) == (40 if count == 40 else 0)
