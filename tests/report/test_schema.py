"""docs/sweep.schema.json is true of each report, and says no where our reader says no."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import documents
import pytest
from hypothesis import given
from jsonschema import Draft202012Validator

from pytest_ocrsweep.baselines import result_json
from pytest_ocrsweep.baselines.sweep_report import Report
from pytest_ocrsweep.errors import ReportError
from pytest_ocrsweep.report import past, recorded

ROOT = Path(__file__).parents[2]
SCHEMA = json.loads((ROOT / "docs/sweep.schema.json").read_text(encoding="utf-8"))


def strict(schema: Any) -> Any:
    """The same, where an object may have no field that is not described."""
    if isinstance(schema, list):
        return [strict(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    made = {name: strict(each) for name, each in schema.items()}
    return made | {"additionalProperties": False} if "properties" in made and "type" in made else made


VALID = Draft202012Validator(SCHEMA)
DESCRIBED = Draft202012Validator(strict(SCHEMA))


def test_it_is_a_schema() -> None:
    Draft202012Validator.check_schema(SCHEMA)


def _recorded() -> Report:
    report = recorded.report(ROOT / "baselines", "deepseek-ocr", "nvidia-h200")
    profiled = [point for point in report.points if point.vendor and point.vendor.profile]
    some = replace(report, points=(*report.points[:2], *profiled[:2]))
    return some.beside(past.histories(some, ROOT / "baselines"))


def _own() -> Report:
    return documents.with_own(documents.own(), documents.own("render", "call"))


@pytest.mark.parametrize(
    "report", [documents.report, _recorded, _own], ids=["a made-up one", "the recorded H200", "code of one's own"]
)
def test_each_field_of_a_report_that_we_write_is_described(report: Callable[[], Report]) -> None:
    document = json.loads(json.dumps(result_json.to_json(report(), fill=True)))
    assert [f"{error.json_path}: {error.message}" for error in DESCRIBED.iter_errors(document)] == []


@given(documents.documents())
def test_it_is_true_of_whatever_we_read(document: dict[str, Any]) -> None:
    result_json.from_json(document, "a test")
    assert [error.message for error in VALID.iter_errors(document)] == []


def _places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, each in inner:
        yield (*at, name)
        yield from _places(each, (*at, name))


def _with(document: dict[str, Any], at: tuple[Any, ...], value: object) -> dict[str, Any]:
    made = deepcopy(document)
    inner: Any = made
    for name in at[:-1]:
        inner = inner[name]
    if value is ...:
        del inner[at[-1]]
    else:
        inner[at[-1]] = value
    return made


def _reads(document: dict[str, Any]) -> str | None:
    try:
        result_json.from_json(document, "a test")
    except ReportError as error:
        return str(error)
    return None


# What a schema cannot say: an order of numbers, a sum, and that no name or point comes twice.
BEYOND = ("ascending order", "sum to its time_ns", "a second time")


@pytest.mark.parametrize("value", [..., None, -1, 1.5, "x", True, [], {}], ids=repr)
def test_the_schema_and_the_reader_agree_on_each_damaged_field(value: object) -> None:
    measured = documents.vendor(power_cap={"share": 0.5, "sm_clock_mhz": 1700})
    whole = documents.document(documents.point(vendor=measured)) | {"own": [documents.own()]}
    disagree = []
    for at in _places(whole):
        if isinstance(at[-1], int) and value is ...:
            continue  # a list without one of its items
        damaged = _with(whole, at, value)
        refused, valid = _reads(damaged), VALID.is_valid(damaged)
        if (refused is None) != valid and not (refused and any(words in refused for words in BEYOND)):
            disagree.append((".".join(map(str, at)), refused))
    assert disagree == []
