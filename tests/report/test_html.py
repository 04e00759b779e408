"""The page as text: nothing in it leaves it, nothing in a document becomes a part of it, and it is small."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import documents
import pytest
import red_run

from pytest_ocrsweep import CropGrid, Workload, load_model
from pytest_ocrsweep.baselines.metrics import METRICS, analytic, analytic_names
from pytest_ocrsweep.baselines.moved import Moved
from pytest_ocrsweep.baselines.result import FloorResult, PointResult, components
from pytest_ocrsweep.baselines.sweep_report import PastTime, Report, SweepEnvironment, SweepWorkload
from pytest_ocrsweep.baselines.verdict import Verdict
from pytest_ocrsweep.hardware.calibration import TERMS
from pytest_ocrsweep.model.attention import ATTENTION
from pytest_ocrsweep.model.stages import STAGES
from pytest_ocrsweep.report import html, recorded
from pytest_ocrsweep.report.charts import charts
from pytest_ocrsweep.report.columns import Points
from pytest_ocrsweep.report.time_lines import time_lines
from pytest_ocrsweep.sweep.config import devices
from pytest_ocrsweep.sweep.grid_sources import NAMED

pytest.importorskip("jinja2", reason="the page needs pytest-ocrsweep[report]")

ROOT = Path(__file__).parents[2]
MOST_BYTES = 5_000_000
MOST_BYTES_OF_138 = 1_000_000
HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(1)>'\"&"


@pytest.fixture(scope="module")
def h200() -> Report:
    return recorded.report(ROOT / "baselines", "deepseek-ocr", "nvidia-h200")


@pytest.fixture(scope="module")
def page(h200: Report) -> str:
    return html.page(h200)


def dense() -> Report:
    """1,000 grids, 3 stages, 2 attentions, with floors, components and a verdict."""
    model, device, found = load_model("deepseek-ocr"), devices()["h200"], []
    for grid in NAMED["dense"]():
        for stage in STAGES:
            for attention in ATTENTION:
                ledger = model.ledger(stage, work := Workload(grid), attention)
                floor, parts = FloorResult.of(ledger, device), components(ledger)
                verdict = Verdict.NO_BASELINE
                of_point = (stage, work, attention, analytic(ledger), floor, None, verdict, parts)
                found.append(PointResult.of(*of_point))
    return Report.of("deepseek-ocr", SweepWorkload.of(Workload(CropGrid(1, 1))), SweepEnvironment(), found)


class Tags(HTMLParser):
    """Every tag with its attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def of(self, tag: str) -> Iterator[dict[str, str | None]]:
        return (attributes for name, attributes in self.found if name == tag)


def data(page: str, name: str = "data") -> dict[str, Any]:
    """What the page's script reads."""
    packed = re.search(rf'<script type="application/octet-stream" id="{name}">([A-Za-z0-9+/=]*)</script>', page)
    assert packed
    found: dict[str, Any] = json.loads(gzip.decompress(base64.b64decode(packed[1])))
    return found


def test_nothing_in_the_page_points_out_of_it(page: str) -> None:
    targets = [
        value for _, attributes in Tags(page).found for name, value in attributes.items() if name in ("src", "href")
    ]
    assert targets
    assert [target for target in targets if not (target or "").startswith(("#", "data:"))] == []
    style = "".join(re.findall(r"<style>(.*?)</style>", page, re.S))
    assert "url(" not in style
    assert "@import" not in style


def test_the_policy_allows_its_own_scripts_and_no_request(page: str) -> None:
    (policy,) = (tag["content"] for tag in Tags(page).of("meta") if tag.get("http-equiv") == "Content-Security-Policy")
    assert policy
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    assert "connect-src" not in rules
    scripts = re.findall(r"<script>(.*?)</script>", page, re.S)
    digests = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in scripts]
    assert rules["script-src"].split() == [f"'sha256-{digest}'" for digest in digests]
    assert len(scripts) == 1


def test_nothing_in_a_document_becomes_a_part_of_the_page(h200: Report) -> None:
    hostile = replace(
        h200,
        model=HOSTILE,
        environment=replace(h200.environment, weights=HOSTILE),
        workload=replace(h200.workload, resolution=HOSTILE),
        points=tuple(replace(point, verdict=Verdict(HOSTILE)) for point in h200.points),
    )
    before = Tags(html.page(replace(h200, model="my-own"))).found
    after = Tags(made := html.page(hostile)).found
    assert [tag for tag, _ in after] == [tag for tag, _ in before]
    assert HOSTILE not in made
    assert data(made)["columns"]["verdict"][0] == HOSTILE


def test_the_page_holds_every_point_with_its_components(page: str, h200: Report) -> None:
    columns = data(page)["columns"]
    assert columns["grid"] == [str(point.grid) for point in h200.points]
    assert columns["device_ns"] == [point.vendor.device_ns.median for point in h200.points]
    assert columns["sam:read_bytes"][0] == h200.points[0].components["sam"].read_bytes


def test_the_page_says_of_each_profiled_point_where_its_time_goes(page: str, h200: Report) -> None:
    profiles = data(page)["profiles"]
    profiled = {str(at): point.vendor.profile for at, point in enumerate(h200.points) if point.vendor.profile}
    assert profiles["points"].keys() == profiled.keys() != set()
    for at, profile in profiled.items():
        times = {profiles["lines"][place][0]: ns for place, ns in profiles["points"][at]["times"]}
        assert times == profile.times
        assert sum(times.values()) + profiles["points"][at]["gap_ns"] == profile.device_ns
    lines = {tuple(line) for line in profiles["lines"]}
    assert len(lines) == len(profiles["lines"])
    kinds = {path: kind for path, _, kind in lines}
    assert kinds["decoder/attn/fused"] == kinds["clip/attn/fused"] == "attention"
    assert kinds["sam/window/mlp/lin1"] == "products"
    assert set(kinds.values()) < set(TERMS)


def test_a_path_is_of_the_kind_that_it_is_in_the_points_own_stage(page: str, h200: Report) -> None:
    profiles = data(page)["profiles"]
    for stage, kind in (("prefill", "products"), ("decode", "attention")):
        eager = [at for at, point in enumerate(h200.points) if (point.stage, point.attention) == (stage, "eager")]
        profiled = [profiles["points"][str(at)] for at in eager if str(at) in profiles["points"]]
        assert profiled
        for point in profiled:
            kinds = {profiles["lines"][place][0]: profiles["lines"][place][2] for place, _ in point["times"]}
            assert kinds["decoder/attn/scores"] == kinds["decoder/attn/values"] == kind


def test_the_kind_of_a_line_is_unknown_for_a_model_a_mode_or_a_stage_that_this_version_does_not_know(
    h200: Report,
) -> None:
    vision = tuple(point for point in h200.points if point.stage == "vision")  # a decode has the same lines in any mode
    other_mode = replace(h200, workload=replace(h200.workload, resolution="vast"), points=vision)
    other_stage = replace(h200, points=tuple(replace(point, stage="speech") for point in h200.points))
    for report in (replace(h200, model="my-own"), other_mode, other_stage):
        assert {kind for _, _, kind in time_lines(report)["lines"]} == {"unknown"}


def test_without_a_profile_the_page_has_no_place_for_one(h200: Report) -> None:
    unprofiled = [replace(point, vendor=replace(point.vendor, profile=None)) for point in h200.points]
    found = html.page(replace(h200, points=tuple(unprofiled)))
    assert 'id="time-lines"' not in found
    assert data(found)["profiles"] == {"lines": [], "points": {}}


def test_the_page_has_the_charts_that_are_files_too(page: str, h200: Report) -> None:
    found = charts(h200)
    assert [tag["id"] for tag in Tags(page).of("figure")] == [chart.name for chart in found]
    for chart in found:
        for panel in chart.panels:
            assert panel.body in page
            assert panel.body in chart.svg()


def test_the_header_says_of_what_the_numbers_are(page: str) -> None:
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", re.sub(r"(?s)<(style|script).*?</\1>", "", page)))
    for words in (
        "deepseek-ocr",
        "new tokens 100",
        "138 RECORDED",
        "resolution gundam, NVIDIA H200, revision",
        "torch 2.11.0+cu130",
        "experts implementation",
    ):
        assert words in text


FACTS = {
    "flops": "TFLOP",
    "moved_bytes": "GB moved",
    "weight_bytes": "weights GB",
    "kv_cache_bytes": "KV MB",
    "peak_activation_bytes": "peak GB",
    "flops_per_token": "GFLOP/token",
    "moved_bytes_per_token": "GB/token",
    "floor_ns": "floor ms",
    "estimate_ns": "estimate ms",
    "estimate_low_ns": "estimate from ms",
    "estimate_high_ns": "estimate to ms",
    "device_ns": "device ms",
    "attained": "attained",
    "wall_ns": "wall ms",
}


def test_above_a_points_ledger_stand_the_numbers_that_it_has(page: str) -> None:
    facts = data(page)["facts"]
    assert {name: heading for name, heading, *_ in facts} == FACTS
    assert [name for name, *_ in facts] == list(FACTS)
    assert [fact[2:] for fact in facts] == [[METRICS[name].scale, METRICS[name].digits] for name in FACTS]


def test_numbers_that_no_point_has_are_no_facts_and_no_columns(h200: Report) -> None:
    points = tuple(replace(point, vendor=None, floor=None, estimate=None) for point in h200.points)
    counted = html.page(replace(h200, points=points))
    left = [name for name in FACTS if not name.startswith(("floor", "estimate", "device", "attained", "wall"))]
    assert [name for name, *_ in data(counted)["facts"]] == left
    headings = headings_of(counted)
    assert "device ms" not in headings
    assert "bound" not in headings


def headings_of(page: str) -> list[str]:
    """The table's, in order."""
    head = re.search(r'(?s)<section id="points".*?</thead>', page)
    assert head
    return re.findall(r'<button type="button">(.*?)</button>', head[0])


def test_the_table_has_verdict_and_names_first_then_numbers_and_the_bound_last(page: str) -> None:
    headings = headings_of(page)
    assert headings[:4] == ["verdict", "stage", "grid", "attention"]
    assert headings[-1] == "bound"
    assert {"KV MB", "device ms", "wall ms", "estimate ms"} <= set(headings)
    assert "GFLOP/token" not in headings


def test_the_parts_of_a_points_ledger_are_its_components(page: str, h200: Report) -> None:
    of_points = dict.fromkeys(name for point in h200.points for name in point.components)
    paths = data(page)["paths"]
    assert sorted(paths) == sorted(of_points)
    assert all(f"{path}:tensor_flops" in data(page)["columns"] for path in paths)


def test_points_are_filtered_by_stage_by_attention_and_by_their_number_of_crops(page: str, h200: Report) -> None:
    boxes = [(tag["name"], tag["value"]) for tag in Tags(page).of("input") if tag.get("type") == "checkbox"]
    assert boxes == [*(("stage", name) for name in STAGES), ("attention", "eager"), ("attention", "flash")]
    for name in ("crops", "rows"):  # grids sort by both
        assert data(page)["columns"][name] == [getattr(point.grid, name) for point in h200.points]


def test_a_part_with_a_colon_in_its_name_keeps_it() -> None:
    assert html._data(Points({"id": [0], "a:b:read_bytes": [1]}))["paths"] == ["a:b"]


def test_the_page_has_the_history_that_its_report_has(page: str, h200: Report) -> None:
    assert data(page)["history"] == {}
    past = PastTime("2026-03-01T12:00:00Z", "node7", 100, 0.0, "first", moved=False)
    found = data(html.page(h200.beside({"decode 1x1 flash": (past,)})))["history"]
    assert found["decode 1x1 flash"][0]["median_ns"] == 100


def test_a_report_of_several_hosts_names_each(h200: Report) -> None:
    hosts = tuple(replace(h200.environment.measured[0], host=name) for name in ("node7", "node8"))
    text = html.page(replace(h200, environment=h200.environment.on(*hosts)))
    assert all(str(host) in text for host in hosts)


def test_hostile_names_are_text(h200: Report) -> None:
    assert "<b>bold" not in html.page(replace(h200, model="<b>bold"))


def test_the_script_of_the_charts_ends_no_script(page: str) -> None:
    assert page.count("</script") == len(re.findall(r"<script\b", page))


def test_verdicts_that_fail_come_first(h200: Report) -> None:
    verdicts = chain((Verdict.PASS, Verdict.NO_BASELINE, Verdict.FAIL, Verdict.NO_SAMPLE), repeat(Verdict.RECORDED))
    points = tuple(replace(point, verdict=verdict) for point, verdict in zip(h200.points, verdicts, strict=False))
    judged = replace(h200, points=points)
    shown = [tag["data-verdict"] for tag in Tags(html.page(judged)).of("button") if "data-verdict" in tag]
    assert shown == ["FAIL", "NO SAMPLE", "NO BASELINE", "RECORDED", "PASS"]


def test_a_page_of_no_points_is_a_page(h200: Report) -> None:
    empty = html.page(replace(h200, points=()))
    assert data(empty)["columns"] == {"id": []}
    assert first_screen(empty) == "Nothing was swept."


@pytest.mark.parametrize("points", [(), (documents.point(),)], ids=["alone", "beside points"])
def test_code_of_the_users_own_is_said_first_with_what_moved_and_how_to_accept_it(points: tuple[Any, ...]) -> None:
    made = html.page(
        documents.with_own(documents.own(), documents.own("render", "call", verdict="PASS", moved=[]), points=points)
    )
    said = words(made)
    assert "Moved since the baseline: 1 number" in said
    assert "tuned at decode 2x3 flash device ms 16.000 20.000 +25.00 % 2.0 % not known" in said
    assert "If that is meant, accept it: pytest test_mine.py --ocrsweep-update" in said
    assert said.index("render call 20.000") < said.index("Reset")
    assert "Nothing was" not in said
    (table,) = (tag for tag in Tags(made).of("section") if tag["id"] == "points")
    assert table.keys() == {"id", "aria-labelledby", *(() if points else ("hidden",))}
    hidden = [tag.get("id") for name in ("form", "section") for tag in Tags(made).of(name) if "hidden" in tag]
    assert hidden == ([] if points else ["filters", "points", "charts"])
    assert ("Your own code: 1 FAIL, 1 PASS." in first_screen(made)) == (not points)


def words(markup: str) -> str:
    """What a reader sees of it."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", markup)).replace(" ,", ",").strip()


def first_screen(page: str) -> str:
    """Its words, without script."""
    found = re.search(r'(?s)<section id="page".*?</section>', page)
    assert found
    return words(found[0])


def test_the_first_screen_says_what_a_page_costs_without_script(page: str) -> None:
    said = first_screen(page)
    assert said.startswith(
        "One 2x3 page takes 261.6 ms : prefill 39.3 (vision 31.6, decoder 7.75), then 100 tokens 222.3. measured"
    )
    for answer in ("3.82 pages/s", "price not given", "energy not measured", "launches: 78 %", "floor: bandwidth"):
        assert answer in said
    assert "decode 100 tokens 222.3 220.8 to 240.9 23.8 0.107" in said
    assert "decoder/attn 27 %, decoder/experts 24 %, between kernels 11 %" in said


def test_a_price_gives_dollars(h200: Report) -> None:
    assert "$ 182 a million pages" in first_screen(html.page(h200, (), price=2.5))


def test_the_switches_offer_every_page_engine_and_device(page: str, h200: Report) -> None:
    pages = data(page, "pages")
    grids = {str(point.grid) for point in h200.points}
    here = {f"transformers|NVIDIA H200|{grid}|{kind}" for grid in grids for kind in ("eager", "flash")}
    assert here <= pages.keys()
    assert "takes 158.7 ms" in words(pages["vllm|NVIDIA H100 80GB HBM3|2x3|flash"])
    assert "estimated" in words(pages["vllm|NVIDIA H100 80GB HBM3|2x3|flash"])
    assert "takes at least" in words(pages["transformers|AMD Instinct MI300X|2x3|flash"])
    assert "not measured" in words(pages["transformers|NVIDIA B200|2x3|flash"])


def test_a_device_with_a_bar_in_its_name_is_one_choice(h200: Report) -> None:
    page = html.page(replace(h200, environment=replace(h200.environment, gpu="A|B")), ())
    assert "transformers|A/B|2x3|flash" in data(page, "pages")
    assert "<option selected>flash</option>" in page


def test_a_red_run_says_what_moved_by_how_much_why_and_how_to_accept_it(h200: Report) -> None:
    said = words(html.page(red_run.red(h200), ()))
    for answer in (
        "Moved since the baseline: 3 numbers",
        "decode 2x3 flash device ms 222.264 228.488 +2.80 % 1.9 % decoder/experts +10.1 %",
        "prefill 2x3 flash GB read 27.53 27.54 +3.6e-03 % exact",
        "vision 1x1 eager device ms 21.504 20.428 -5.00 % 1.9 %",
        "pytest suites/test_decode.py --ocrsweep-update",
        "2 FAIL",
    ):
        assert answer in said


def moved(report: Report, count: int) -> Report:
    """The report, with so many counted numbers that moved: all seven of its first points, grid by grid."""
    names, points = analytic_names(), []
    for at, point in enumerate(sorted(report.points, key=lambda point: point.grid.crops)):
        few = names[: max(0, count - at * len(names))]
        points.append(replace(point, moved=tuple(Moved.counted(name, 1000, 1001, "accept") for name in few)))
    return replace(report, points=tuple(points))


def rows_of_moved(page: str) -> list[int]:
    """How many rows each table of what moved has: of kinds, and of each number."""
    return [table.count('<th scope="row"') for table in re.findall(r'(?s)<table class="moved.*?</table>', page)]


def test_eight_numbers_that_moved_are_shown_one_by_one_and_nine_by_their_kinds(h200: Report) -> None:
    two = replace(h200, points=h200.points[:2])  # of one stage
    assert rows_of_moved(html.page(moved(two, 8), ())) == [8]
    assert rows_of_moved(html.page(moved(two, 9), ())) == [7, 9]


def test_of_what_moved_fifteen_kinds_and_two_hundred_numbers_are_shown(h200: Report) -> None:
    page = html.page(moved(h200, 207), ())
    assert rows_of_moved(page) == [15, 200]
    assert "Moved since the baseline: 207 numbers" in words(page)
    assert "… and 7 more: sweep.json" in words(page)
    assert "more: sweep.json" not in html.page(moved(h200, 200), ())


def test_a_page_of_138_points_is_below_a_megabyte(page: str) -> None:
    assert len(page.encode()) <= MOST_BYTES_OF_138


def test_a_thousand_grids_are_written_in_few_bytes() -> None:
    report = dense()
    assert len(report.points) == 6000
    assert len(html.page(report, charts(report)).encode()) <= MOST_BYTES
