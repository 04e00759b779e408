"""The JSON of a sweep, both ways: what xdist's workers send, `sweep.json`, SQLite, and what is read back from them.

Fields stand in the order in which they are written. What an earlier version did not write is read as its default,
what a later one has beside them stays.
"""

from __future__ import annotations

import reprlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ..errors import ReportError
from ..files.text import printable
from ..model.attention import ATTENTION
from ..model.geometry import CropGrid
from ..model.stages import STAGES
from .energy import ENERGY_RESULT
from .estimate_json import ESTIMATE
from .host_speed import HOST_SPEED
from .json_layout import (
    NOTHING,
    Field,
    Json,
    Layout,
    Plain,
    Wrong,
    each,
    flag,
    known,
    later,
    many,
    number,
    one_of,
    positive,
    text,
    unknown,
    whole,
)
from .measurement import ENVIRONMENT, SINCE, Environment, GateResult, Measurement, TimeSummary
from .metrics import analytic_names
from .moved import MOVED
from .own import CALL, OwnCount, OwnResult
from .point_profile import PROFILE
from .power_cap import POWER_CAPPED
from .result import COSTS, Analytic, Costs, FloorResult, PointResult, order
from .sweep_report import SCHEMA, WORKLOAD, PastTime, Report, SweepEnvironment, SweepWorkload
from .verdict import Verdict

REMEDY = "make it again with --ocrsweep-report=DIR"


def _grid(value: Any) -> CropGrid:
    try:
        grid = CropGrid.parse(value)
    except (TypeError, ValueError):
        grid = None
    if grid is None or str(grid) != value:
        raise Wrong(f"must be ROWSxCOLUMNS, such as 2x3, got {reprlib.repr(value)}")
    return grid


def _summary(value: object) -> TimeSummary:
    """Quartiles in order; those of a recorded baseline have no samples, and of its wall time only the median."""
    made = _SUMMARY.read(value)
    given = [ns for ns in (made.min, made.q1, made.median, made.q3) if ns is not None]
    if given != sorted(given):
        raise Wrong("must have min, q1, median and q3 in ascending order")
    return made


def _verdict(value: object) -> Verdict:
    verdict: str = text.read(value)
    return Verdict(verdict)


def _analytic(*, extra: Mapping[str, object] = NOTHING, **numbers: int) -> Analytic:
    return Analytic(numbers, extra=extra)


_SUMMARY = Layout(
    TimeSummary,
    {
        "min": unknown(whole),
        "median": positive,
        "q1": unknown(whole),
        "q3": unknown(whole),
        "samples": Field(many(whole), ()),
    },
)
GRID = Plain(_grid, lambda grid, _: str(grid))
VERDICT = Plain(_verdict, lambda verdict, _: verdict.value)
SUMMARY = Plain(_summary, _SUMMARY.write)
GATE = Layout(
    GateResult,
    {
        "outcome": unknown(text),
        **dict.fromkeys(("change", "margin"), unknown(number)),
        **dict.fromkeys(("shared", "shared_limit"), later(number)),
    },
)
MEASUREMENT = Layout(
    Measurement,
    {
        "host": later(text),
        "gpu": unknown(text),
        "tensor_flops": known(whole),
        "device_ns": SUMMARY,
        "wall_ns": known(SUMMARY),
        "peak_bytes": known(whole),
        "clock": unknown(text),
        "experts": unknown(text),
        "kernels": unknown(whole),
        "token_ns": later(many(whole)),
        "stopped": unknown(text),
        "rounds": unknown(whole),
        "objections": later(many(text), ()),
        "sm_clock_mhz": unknown(whole),
        "power_w": unknown(number),
        "power_cap": later(POWER_CAPPED),
        "gate": Field(GATE, GateResult()),
        "profile": later(PROFILE),
        "energy": later(ENERGY_RESULT),
        "host_speed": later(HOST_SPEED),
    },
)
FLOOR = Layout(
    FloorResult,
    {
        "device": text,
        "compulsory_bytes": unknown(whole),
        "time_ns": whole,
        "bound": text,
        **dict.fromkeys(("tensor_ns", "vector_ns", "bandwidth_ns", "dram_bytes", "kernel_limit_ns"), unknown(whole)),
        **dict.fromkeys(("attained", "mfu", "mbu"), unknown(number)),
    },
    renamed={"estimate_ns": "kernel_limit_ns"},
)
POINT = Layout(
    PointResult,
    {
        "stage": one_of(STAGES),
        "grid": GRID,
        "attention": one_of(ATTENTION),
        **dict.fromkeys(("image_tokens", "context_tokens", "new_tokens", "batch"), whole),
        "analytic": Layout(_analytic, dict.fromkeys(analytic_names(), whole), get=Analytic.__getitem__),
        "floor": unknown(FLOOR),
        "estimate": unknown(ESTIMATE),
        "vendor": known(MEASUREMENT),
        "verdict": VERDICT,
        "components": Field(each(Layout(Costs, dict.fromkeys(COSTS, whole))), {}),
        "moved": later(many(MOVED), ()),
    },
)
HOST = Layout(
    Environment, {**dict.fromkeys(ENVIRONMENT[:-1], known(text)), **dict.fromkeys(SINCE, later(text))}
)  # a revision is the project's, not a host's
OWN_RESULT = Layout(
    OwnResult,
    {
        "name": text,
        "stage": one_of((*STAGES, CALL)),
        "grid": known(GRID),
        "attention": known(one_of(ATTENTION)),
        "counted": Layout(
            OwnCount,
            {
                **dict.fromkeys(("tensor_flops", "analytic_flops"), known(whole)),
                "differences": each(number),
                "why": known(text),
            },
        ),
        "floor": known(FLOOR),
        "measured": known(MEASUREMENT),
        "environment": known(HOST),
        "verdict": VERDICT,
        "moved": later(many(MOVED), ()),
    },
)
PAST = Layout(
    PastTime,
    {
        "date": known(text),
        "host": known(text),
        "median_ns": positive,
        "change": number,
        "became": known(text),
        "moved": flag,
    },
)
REPORT = Layout(
    Report,
    {
        "schema": positive,
        "model": text,
        "workload": Layout(SweepWorkload, {**dict.fromkeys(WORKLOAD[:-1], whole), "resolution": text}),
        "environment": Layout(
            SweepEnvironment,
            {
                "host": later(text),
                **dict.fromkeys(("gpu", "driver", "torch", "transformers", "weights", "dtype"), unknown(text)),
                "attention_implementation": later(each(text)),
                "experts_implementation": later(each(text)),
                "git_revision": unknown(text),
                "hosts": later(many(HOST), ()),
            },
        ),
        "points": many(POINT),
        "own": later(many(OWN_RESULT), ()),
        "history": Field(each(many(PAST)), NOTHING, fills=False),
    },
)


def to_json(report: Report, *, fill: bool = False) -> Json:
    """The report as JSON; `fill` adds null for what earlier versions did not write."""
    return REPORT.write(report, fill)


def from_json(document: object, where: str) -> Report:
    """The report that a document holds, its points in order.

    Raises ReportError, in one line that begins with `where`, for what is not such a document.
    """
    try:
        return _report(document)
    except Wrong as wrong:
        at = printable(".".join(wrong.at).replace(".[", "["))
        raise ReportError(f"{where}: {f'{at} ' if at else 'it '}{wrong.what};", REMEDY) from None


def _report(value: object) -> Report:
    if not isinstance(value, dict) or not {"schema", "points"} <= value.keys():
        raise Wrong("is not the report of a sweep: that is an object with schema, model, workload and points")
    if type(value["schema"]) is not int or value["schema"] != SCHEMA:
        raise Wrong(f"is {reprlib.repr(value['schema'])}, but this version reads {SCHEMA}", "schema")
    report = REPORT.read(value)
    seen = set()
    for index, point in enumerate(report.points):
        if point.key in seen:
            raise Wrong(f"is {point} a second time", "points", f"[{index}]")
        seen.add(point.key)
    return replace(report, points=tuple(sorted(report.points, key=order)))
