"""Code of a user's own as values: its key, its count in words, its JSON, its row in a file, and reports merged."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from documents import point, report, vendor

from pytest_ocrsweep.baselines import counted, history, result_json, timed
from pytest_ocrsweep.baselines.attribution import UNSEEN
from pytest_ocrsweep.baselines.evidence import Process
from pytest_ocrsweep.baselines.measurement import Environment
from pytest_ocrsweep.baselines.merge import merge as merge_baselines
from pytest_ocrsweep.baselines.own import CALL, OwnCount, OwnKey, OwnResult, checked_name
from pytest_ocrsweep.baselines.point_key import PointKey, call_key
from pytest_ocrsweep.baselines.recorded_time import TimedProcess
from pytest_ocrsweep.baselines.verdict import Verdict
from pytest_ocrsweep.errors import ArgumentError, BaselineError, ReportError
from pytest_ocrsweep.model.geometry import CropGrid, Workload
from pytest_ocrsweep.report import markdown
from pytest_ocrsweep.report.merge import Part, merge

HERE = Environment("node1", "cpu", dtype="fp32", weights="own")
KEY = call_key(Workload(CropGrid(2, 3)))
ABOUT = ("m/own/render", "cpu", CALL)


def result(name: str = "tuned", stage: str = "decode", **changed: object) -> OwnResult:
    grid, attention = (None, None) if stage == CALL else (CropGrid(2, 3), "flash")
    measured = result_json.MEASUREMENT.read(vendor())
    whole = OwnResult(name, stage, grid, attention, OwnCount(7, 7), None, measured, HERE, Verdict.PASS)
    return replace(whole, **changed)


def time(ns: float = 1000) -> TimedProcess:
    return TimedProcess("host", None, UNSEEN, None, Process(ns, ns, ns, 10), HERE)


@pytest.mark.parametrize("name", ["", ".x", "-x", "a/b", "..", "a\nb", "ä" * 3, "x" * 101, None, 7])
def test_a_name_that_is_no_plain_folder_is_refused(name):
    with pytest.raises(ArgumentError, match="is the folder of its times"):
        checked_name(name)


@pytest.mark.parametrize("name", ["a", "fine-tuned", "v1.2_int8", "x" * 100])
def test_a_plain_name_is_taken(name):
    assert checked_name(name) == name


def test_a_call_is_its_name_and_a_model_stands_at_its_point():
    assert str(OwnKey.of("render", CALL, CropGrid(1, 1), "")) == "render"
    assert str(OwnKey.of("tuned", "decode", CropGrid(2, 3), "flash")) == "tuned at decode 2x3 flash"


@pytest.mark.parametrize(
    ("count", "said"),
    [
        (OwnCount(why="it is compiled"), "not counted: it is compiled"),
        (OwnCount(1200), "1,200 tensor FLOPs"),
        (OwnCount(100, 100), "as many tensor FLOPs as the reference model"),
        (OwnCount(150, 100, {"mm": 50}), "50 tensor FLOPs more than the reference model (+50 %): mm +50"),
        (
            OwnCount(90, 100, {"mm": 10, "bmm": -20}),
            "10 tensor FLOPs fewer than the reference model (-10 %): mm +10, bmm -20",
        ),
    ],
)
def test_a_count_says_how_it_differs_from_the_reference_models(count, said):
    assert str(count) == said


def test_only_equal_counts_agree_and_what_was_not_counted_agrees_with_nothing():
    assert OwnCount(5, 5).agrees
    assert not OwnCount(5, 6).agrees
    assert not OwnCount(None, None).agrees


def test_a_call_is_recorded_without_grid_and_attention_and_read_back(tmp_path):
    path = timed.file_of(tmp_path, *ABOUT)
    path.parent.mkdir(parents=True)
    timed.record(path, *ABOUT, {KEY: (time(), None)})
    (row,) = json.loads(path.read_text())["points"]
    assert (row["grid"], row["attention"], row["batch"]) == (None, None, 1)
    assert list(timed.read(path, *ABOUT)) == [KEY]
    assert [entry.key for entry in history.read(history.file_of(path)).entries] == [KEY]
    assert timed.own_names(tmp_path, "m") == ["render"]


def test_a_row_of_a_call_among_points_is_refused_and_a_point_among_calls(tmp_path):
    for stage, key in (("decode", KEY), (CALL, PointKey(Workload(CropGrid(2, 3)), "flash"))):
        path = timed.file_of(tmp_path, "m", "cpu", stage)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(timed.dump("m", "cpu", stage, {}))
        timed.record(path, "m", "cpu", stage, {key: (time(), None)})
        with pytest.raises(BaselineError, match="grid and attention must"):
            timed.read(path, "m", "cpu", stage)


def test_folders_of_baselines_are_merged_with_the_times_of_own_code(tmp_path):
    folder, sources = tmp_path / "whole", [tmp_path / "a", tmp_path / "b"]
    for source, name in zip(sources, ("one", "two"), strict=True):
        path = timed.file_of(source, f"m/own/{name}", "cpu", CALL)
        path.parent.mkdir(parents=True)
        timed.record(path, f"m/own/{name}", "cpu", CALL, {KEY: (time(), None)})
    assert [done.added for done in merge_baselines(sources, folder)] == [1, 1]
    assert timed.own_names(folder, "m") == ["one", "two"]


def test_a_report_with_own_code_is_read_back_and_one_without_is_as_before():
    whole = report(point()).with_own([result(), result("render", CALL)])
    again = result_json.from_json(json.loads(json.dumps(result_json.to_json(whole))), "it")
    assert again == whole
    assert "own" not in result_json.to_json(report(point()))


def test_a_page_names_own_code_that_failed_and_escapes_its_words():
    why = OwnCount(None, 7, why="no rule for `x|y`")
    page = markdown.page(report(point()).with_own([result(verdict=Verdict.FAIL, counted=why)]))
    assert page.startswith("## ")
    assert "of your own code failed tuned at decode 2x3 flash" in page.splitlines()[0]
    assert r"not counted: no rule for \`x\|y\`" in page


def test_merged_reports_have_own_code_once_and_refuse_what_both_timed():
    one, other = result(), result("render", CALL)
    untimed = replace(one, measured=None, verdict=Verdict.NOT_TIMED)
    counted_only = report(point(vendor=None))
    parts = [Part("a", report(point()).with_own([one])), Part("b", counted_only.with_own([other, untimed]))]
    assert merge(parts).own == merge(parts[::-1]).own == (other, one)
    parts[1] = Part("b", counted_only.with_own([one]))
    with pytest.raises(ReportError, match="tuned at decode 2x3 flash was timed in a and in b"):
        merge(parts)


def test_a_file_of_counted_numbers_has_no_calls(tmp_path):
    path = counted.file_of(tmp_path, "m", "decode")
    path.parent.mkdir(parents=True)
    path.write_text(counted.dump("m", "decode", {KEY: dict.fromkeys(counted.exact_names(), 1)}))
    with pytest.raises(BaselineError, match="grid and attention must not be null"):
        counted.read(path, "m", "decode")
