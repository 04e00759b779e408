"""What a report says first: a page's time and parts, what bounds it, and nothing that is not known."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from documents import own, point, report, vendor, with_own

from pytest_ocrsweep.baselines.moved import Moved
from pytest_ocrsweep.baselines.result_json import from_json, to_json
from pytest_ocrsweep.report import summary_json
from pytest_ocrsweep.report.page_answer import How, Interval, PageAnswer, answer
from pytest_ocrsweep.report.trends import Trends

MS = 1_000_000


def stages(**changed: Any) -> list[dict[str, Any]]:
    """A vision, a prefill and a decode that took 10, 30 and 200 ms."""
    times = {"vision": 10 * MS, "prefill": 30 * MS, "decode": 200 * MS}
    return [point(stage, vendor=vendor(ns), **changed) for stage, ns in times.items()]


def first(*points: dict[str, Any]) -> PageAnswer:
    found = answer(report(*points)).first
    assert found
    return found


def test_a_page_is_its_prefill_and_its_decode_and_vision_is_in_the_prefill() -> None:
    page = first(*stages())
    assert (page.how, page.time_ns, page.pages_per_s) == (How.MEASURED, 230 * MS, pytest.approx(1000 / 230))
    assert [(part.name, part.time_ns) for part in page.parts] == [
        ("vision", 10 * MS),
        ("decoder", 20 * MS),
        ("decode", 200 * MS),
    ]
    assert sum(part.ratio or 0 for part in page.parts) == pytest.approx(1)


def test_dollars_need_a_price_and_joules_the_power_of_both_stages() -> None:
    page = first(*stages())
    assert page.dollars_per_million(None) is None
    assert page.dollars_per_million(3.6) == pytest.approx(230)
    assert page.joules == pytest.approx(612.5 * 0.230)
    unknown = [point("prefill", vendor=vendor(power_w=None)), point("decode")]
    assert first(*unknown).joules is None


def test_a_batch_of_pages_takes_its_time_together() -> None:
    page = first(*stages(batch=4))
    assert page.pages_per_s == pytest.approx(4000 / 230)
    assert page.joules == pytest.approx(612.5 * 0.230 / 4)


def test_without_a_measured_time_of_both_stages_the_page_is_estimated() -> None:
    page = first(point("prefill"), point("decode", vendor=None))
    assert (page.how, page.time_ns, page.low_ns, page.high_ns) == (How.ESTIMATED, 38 * MS, 36_200_000, 39_800_000)
    assert [part.name for part in page.parts] == ["prefill", "decode"]
    assert page.joules is None


def test_without_an_estimate_it_is_at_least_its_floor_and_serves_no_pages_a_second() -> None:
    page = first(*(point(stage, vendor=None, estimate=None) for stage in ("vision", "prefill", "decode")))
    assert (page.how, page.time_ns, page.pages_per_s) == (How.FLOOR, 2 * 1_152_063, None)
    assert [part.name for part in page.parts] == ["prefill", "decode"]  # a floor is not the sum of its parts'


@pytest.mark.parametrize("stage", ["vision", "prefill", "decode"])
def test_a_page_that_lacks_a_stage_has_no_time(stage: str) -> None:
    page = first(point(stage))
    assert (page.how, page.time_ns, page.parts, page.pages_per_s, page.joules) == (None, None, (), None, None)


def test_what_is_not_known_is_none_and_never_zero() -> None:
    (stage,) = first(point("decode", vendor=None, floor=None, estimate=None)).stages
    known = (stage.measured_ns, stage.estimate, stage.floor_ns, stage.attained, stage.limit, stage.shares_are)
    assert known == (None,) * 6


def test_a_vision_that_took_longer_than_its_prefill_is_no_part_of_it() -> None:
    page = first(point("vision", vendor=vendor(40 * MS)), *stages()[1:])
    assert [part.name for part in page.parts] == ["prefill", "decode"]


def test_a_stage_says_what_bounds_it_and_how_far_the_floor_is() -> None:
    stage = first(*stages()).stages[1]
    assert (stage.floor_bound, stage.attained) == ("tensor", pytest.approx(1_152_063 / (30 * MS)))
    assert stage.estimate == Interval(19 * MS, 18_100_000, 19_900_000)
    assert stage.limit
    assert (stage.limit.name, stage.limit.ratio) == ("products", pytest.approx(15 / 19))
    assert [share.name for share in stage.shares] == ["products", "launches"]
    assert stage.shares_are is How.ESTIMATED


def test_a_profile_gives_the_share_of_each_component_and_of_the_time_between_kernels() -> None:
    parts = {"head": {"time_ns": 20, "share": 0.2}, "decoder/attn": {"time_ns": 70, "share": 0.7}}
    profile = {"device_ns": 100, "gap_ns": 10, "kernels": 3, "components": parts, "lines": parts, "causes": []}
    stage = first(point("prefill", vendor=vendor(profile=profile)), point("decode")).stages[0]
    assert stage.shares_are is How.MEASURED
    assert [(share.name, share.ratio) for share in stage.shares] == [
        ("decoder/attn", 0.7),
        ("head", 0.2),
        ("between kernels", 0.1),
    ]


def test_the_usual_page_is_first_unless_another_failed() -> None:
    points = [point(stage, grid) for grid in ("1x1", "2x3", "3x3") for stage in ("prefill", "decode")]
    assert str(first(*points).grid) == "2x3"
    slower = Moved("device_ns", 100, 110, 0.1, 0.02)
    red = report(*points)
    changed = replace(red.points[-1], verdict=type(red.points[0].verdict).FAIL, moved=(slower,))
    found = answer(replace(red, points=(*red.points[:-1], changed)))
    assert found.first
    assert str(found.first.grid) == "3x3"
    assert [str(each) for each in found.moved] == ["decode 3x3 flash"]
    assert dict(found.verdicts) == {"FAIL": 1, "PASS": 5}


def test_a_sweep_of_nothing_has_no_page() -> None:
    found = answer(replace(report(), points=()))
    assert (found.first, found.pages, found.moved, dict(found.verdicts)) == (None, (), (), {})


def test_what_moved_is_in_the_document_of_points_that_moved_alone() -> None:
    found = report(point("prefill"), point("decode"))
    moved = Moved("read_bytes", 10, 11, 0.1, None, ("decoder/attn +1",), "pytest --ocrsweep-update")
    red = replace(found, points=(found.points[0], replace(found.points[1], moved=(moved,), absent=frozenset())))
    document = to_json(red)
    assert "moved" not in document["points"][0]
    assert document["points"][1]["moved"] == [
        {
            "metric": "read_bytes",
            "old": 10,
            "new": 11,
            "change": 0.1,
            "margin": None,
            "causes": ["decoder/attn +1"],
            "accept": "pytest --ocrsweep-update",
        }
    ]
    assert from_json(json.loads(json.dumps(document)), "a test") == red


def test_the_summary_is_json_in_base_units() -> None:
    found = report(*stages())
    document = json.loads(json.dumps(summary_json.document(found, answer(found), Trends(), 2.5), allow_nan=False))
    assert document["schema"] == 1
    assert document["first"] == {"page": "2x3", "attention": "flash"}
    (page,) = document["pages"]
    assert (page["grid"], page["how"], page["time_ns"]) == ("2x3", "measured", 230 * MS)
    assert page["stages"][1]["estimate"] == {"time_ns": 19 * MS, "low_ns": 18_100_000, "high_ns": 19_900_000}
    assert page["dollars_per_million_pages"] == pytest.approx(2.5 / 3600 * 0.230 * 1e6)
    assert document["runs"] == []


def test_code_of_the_users_own_that_moved_is_an_answer_and_no_page() -> None:
    found = with_own(own(), own("render", "call", verdict="PASS", moved=[]), points=(point(), point("decode")))
    said = answer(found)
    assert [(str(each), each.fails, each.moved.change) for each in said.moved] == [
        ("tuned at decode 2x3 flash", True, 0.25)
    ]
    assert (dict(said.verdicts), dict(said.own_verdicts)) == ({"PASS": 2}, {"FAIL": 1, "PASS": 1})
    document = summary_json.document(found, said, Trends())
    (moved,) = document["moved"]
    assert (moved["own"], moved["stage"], moved["grid"], moved["old"], moved["new"]) == (
        *("tuned", "decode", "2x3"),
        *(16 * MS, 20 * MS),
    )
    assert moved["accept"] == "pytest test_mine.py --ocrsweep-update"
    assert [(each["own"], each["grid"], each["verdict"], each["time_ns"]) for each in document["own"]] == [
        ("tuned", "2x3", "FAIL", 20 * MS),
        ("render", None, "PASS", 20 * MS),
    ]
