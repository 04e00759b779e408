"""A report read back: from any of its forms, or refused in one line that says where and what."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
from documents import document, documents, point, vendor
from hypothesis import HealthCheck, given, settings

from pytest_ocrsweep.baselines.result_json import from_json, to_json
from pytest_ocrsweep.errors import ReportError
from pytest_ocrsweep.report import sqlite
from pytest_ocrsweep.report.load import load


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "sweep.json"


def refused(source: Path | str) -> str:
    with pytest.raises(ReportError) as error:
        load(source)
    text = str(error.value)
    assert "\n" not in text
    assert len(text) < 400
    return text


def trouble(source: Path) -> str:
    """What is wrong with a source; nothing if it is sound."""
    try:
        load(source)
    except ReportError as error:
        return str(error)
    return ""


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(documents())
def test_any_document_comes_back_from_json(path, whole):
    path.write_text(json.dumps(whole))
    assert to_json(load(path)) == whole


def test_a_run_is_found_in_each_form(tmp_path, path):
    runs = [document(point(tensor_flops=n)) for n in (1, 2)]
    database = tmp_path / "runs.db"
    for run in runs:
        sqlite.write(from_json(run, "a run"), database)
    path.write_text(json.dumps(runs[0]))
    assert load(path) == load(tmp_path) == load(str(path)) == load(f"{database}#1")
    assert load(database) == load(f"{database}#2")
    assert [to_json(load(source)) for source in (path, f"{database}#1", database)] == [runs[0], *runs]


def test_a_folder_of_a_database_alone_gives_its_runs(tmp_path):
    runs = [document(point(tensor_flops=n)) for n in (1, 2)]
    for run in runs:
        sqlite.write(from_json(run, "a run"), tmp_path / "sweep.sqlite")
    assert to_json(load(tmp_path)) == runs[1]
    assert to_json(load(f"{tmp_path}#1")) == runs[0]


def test_a_file_whose_own_name_has_the_mark_is_itself(tmp_path):
    path = tmp_path / "night#2"
    path.write_text(json.dumps(document()))
    assert to_json(load(path)) == document()


def test_what_earlier_reports_lack_is_null_and_points_are_put_in_order(path):
    early = document(point("decode"), point("vision", vendor=None))
    early["points"].reverse()
    for each in early["points"]:
        del each["components"], each["floor"]
    path.write_text(json.dumps(early))
    found = load(path)
    assert [each.stage for each in found.points] == ["vision", "decode"]
    assert {each.floor for each in found.points} == {None}
    assert [each.components for each in found.points] == [{}, {}]
    assert to_json(found)["points"] == early["points"][::-1]  # as it was
    assert {each["floor"] for each in to_json(found, fill=True)["points"]} == {None}


def test_what_earlier_reports_called_an_estimate_is_read_as_the_kernel_limit(path):
    old = document()
    floor = old["points"][0]["floor"]
    floor["estimate_ns"] = floor.pop("kernel_limit_ns")
    del old["points"][0]["estimate"]
    path.write_text(json.dumps(old))
    found = load(path).points[0]
    assert found.floor is not None
    assert (found.floor.kernel_limit_ns, found.floor.extra, found.estimate) == (15_000_000, {}, None)


def test_what_later_reports_have_beside_it_stays(path):
    later = document(point(mood="good", vendor=vendor(l2_hits=3))) | {"suite": ["a"]}
    path.write_text(json.dumps(later))
    assert to_json(load(path)) == later
    sqlite.write(load(path), path.with_name("later.db"))
    assert to_json(load(path.with_name("later.db"))) == later


BYTES = {
    "empty": (b"", "line 1 is not JSON (Expecting value)"),
    "text": (b"# a report", "line 1 is not JSON (Expecting value)"),
    "not UTF-8": (b'{"schema": 1, "model": "\xff"}', "byte 24 is not UTF-8"),
    "UTF-16": ('{"schema": 1}'.encode("utf-16"), "byte 0 is not UTF-8"),
    "nested": (b"[" * 100_000, "it is nested too deeply"),
    "NaN": (b'{"schema": NaN}', "NaN is not a number"),
    "infinite": (b'{"schema": -Infinity}', "-Infinity is not a number"),
    "digits": (b'{"schema": ' + b"9" * 5000 + b"}", "Exceeds the limit"),
    "a list": (b"[]", "it is not the report of a sweep"),
    "a number": (b"3", "it is not the report of a sweep"),
    "baselines": (b'{"schema": 1, "model": "m", "stage": "decode", "points": []}', "workload is missing"),
    "another schema": (b'{"schema": 2, "points": []}', "schema is 2, but this version reads 1"),
    "no schema": (b'{"schema": true, "points": []}', "schema is True, but this version reads 1"),
}


@pytest.mark.parametrize("name", BYTES)
def test_what_is_no_report_is_one_clear_line(path, name):
    content, what = BYTES[name]
    path.write_bytes(content)
    assert refused(path).startswith(f"{path}: {what}")


def edit(*at: str | int, value: Any) -> dict[str, Any]:
    """A good document with one value in it changed."""
    found = json.loads(json.dumps(document(point(), point("decode"))))
    inner: Any = found
    for name in at[:-1]:
        inner = inner[name]
    inner[at[-1]] = value
    return found


WRONG = {
    "model must be text, got 3": edit("model", value=3),
    "points must be a list, got {}": edit("points", value={}),
    "points[0] must be an object, got 7": edit("points", 0, value=7),
    "points[0].stage must be one of vision, prefill, decode, got 'train'": edit("points", 0, "stage", value="train"),
    "points[0].stage must be one of vision, prefill, decode, got []": edit("points", 0, "stage", value=[]),
    "points[0].grid must be ROWSxCOLUMNS, such as 2x3, got '2 x 3'": edit("points", 0, "grid", value="2 x 3"),
    "points[0].grid must be ROWSxCOLUMNS, such as 2x3, got 6": edit("points", 0, "grid", value=6),
    "points[0].analytic.read_bytes must be a whole number of at least 0, got 1.5": edit(
        "points", 0, "analytic", "read_bytes", value=1.5
    ),
    "points[0].analytic.read_bytes must be a whole number of at least 0, got True": edit(
        "points", 0, "analytic", "read_bytes", value=True
    ),
    "points[0].vendor.device_ns.median must be a whole number of at least 1, got 0": edit(
        "points", 0, "vendor", "device_ns", "median", value=0
    ),
    "points[0].vendor.device_ns must have min, q1, median and q3 in ascending order": edit(
        "points", 0, "vendor", "device_ns", "q1", value=10**12
    ),
    "points[0].vendor.device_ns.samples[1] must be a whole number of at least 0, got '2'": edit(
        "points", 0, "vendor", "device_ns", "samples", value=[1, "2"]
    ),
    "points[0].estimate must have low_ns, time_ns and high_ns in ascending order, and a time above 0": edit(
        "points", 0, "estimate", "low_ns", value=10**12
    ),
    "points[0].estimate must have low_ns, time_ns and high_ns in ascending order": edit(
        "points", 0, "estimate", value={"device": "d", "time_ns": 0, "low_ns": 0, "high_ns": 0}
    ),
    "points[0].estimate must have terms that sum to its time_ns, 9, got 7": edit(
        "points", 0, "estimate", value={"device": "d", "time_ns": 9, "low_ns": 8, "high_ns": 9, "terms": {"norms": 7}}
    ),
    "points[0].floor.attained must be a number, got 'half'": edit("points", 0, "floor", "attained", value="half"),
    "points[0].floor.attained must be a number, got inf": edit("points", 0, "floor", "attained", value=1e999),
    "points[0].of_mine holds -inf, which is not a number": edit("points", 0, "of_mine", value=[{"deep": -1e999}]),
    "points[0].components.head.tensor_flops is missing": edit("points", 0, "components", "head", value={}),
    "environment.gpu must be text, got 1": edit("environment", "gpu", value=1),
    "environment.hosts must be a list, got None": edit("environment", "hosts", value=None),
    "points[0].vendor.objections must be a list, got None": edit("points", 0, "vendor", "objections", value=None),
    "workload.batch must be a whole number": edit("workload", "batch", value=None),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_wrong_value_is_named_by_its_place(path, what):
    path.write_text(json.dumps(WRONG[what]).replace("Infinity", "1e999"))
    assert refused(path).startswith(f"{path}: {what}")


def test_a_point_that_is_there_twice_is_named(path):
    path.write_text(json.dumps(document(point(), point())))
    assert refused(path).startswith(f"{path}: points[1] is prefill 2x3 flash a second time")


def test_no_cut_of_a_file_is_believed(path):
    text = json.dumps(document(point(), point("decode")))
    for end in range(0, len(text), 101):
        path.write_text(text[:end])
        refused(path)


def test_no_scrambled_value_is_a_traceback(path):
    """Every value of a document in turn, as something of another type."""
    draw = random.Random(0)
    text = json.dumps(document(point()))
    for _ in range(300):
        found = json.loads(text)
        inner = found
        while True:
            keys = list(inner) if isinstance(inner, dict) else range(len(inner))
            key = draw.choice(list(keys))
            if draw.random() < 0.3 or not isinstance(inner[key], dict | list) or not inner[key]:
                break
            inner = inner[key]
        inner[key] = draw.choice([None, -1, 0.5, "x", [], {}, True, [[]], 10**30])
        path.write_text(json.dumps(found))
        assert "\n" not in trouble(path)


@pytest.mark.parametrize(
    ("source", "what"),
    [
        ("nowhere", "there is no such file: give a sweep.json"),
        ("", "the folder has neither sweep.json nor sweep.sqlite"),
        ("sweep.json#1", "#1 names a run of a SQLite file, which this is not: leave it out"),
        ("runs.db#9", "it has no run 9: choose from 1"),
        ("runs.db#last", "#last is not the number of a run: write one, such as #1"),
    ],
)
def test_a_source_that_is_not_there_says_what_is(tmp_path, source, what):
    if source:
        sqlite.write(from_json(document(), "a run"), tmp_path / "runs.db")
        (tmp_path / "sweep.json").write_text(json.dumps(document()))
    assert what in refused(f"{tmp_path}/{source}")
