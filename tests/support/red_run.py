"""A red run on an H200, made from the recorded times: one decode got slower, one prefill reads more, one got faster."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from pytest_ocrsweep.baselines.measurement import GateResult, TimeSummary
from pytest_ocrsweep.baselines.moved import Moved
from pytest_ocrsweep.baselines.result import Analytic, PointResult
from pytest_ocrsweep.baselines.sweep_report import Report
from pytest_ocrsweep.baselines.verdict import Verdict
from pytest_ocrsweep.report import recorded

ROOT = Path(__file__).parents[2]
SLOWER, HEAVIER, FASTER = "decode 2x3 flash", "prefill 2x3 flash", "vision 1x1 eager"
CAUSE = "decoder/experts +10.1 % (+54,408 ns), +2.5 % of the point: decoder/experts/down +31.0 % (+54,001 ns)"
MORE_BYTES = 1_000_000


def green(grids: str | None = None) -> Report:
    """What is recorded, and passes."""
    found = recorded.report(ROOT / "baselines", "deepseek-ocr", "nvidia-h200", grids)
    return replace(found, points=tuple(replace(point, verdict=Verdict.PASS) for point in found.points))


def timed(point: PointResult, change: float, verdict: Verdict, causes: tuple[str, ...] = ()) -> PointResult:
    """The point, so much slower, and what the gate says of it."""
    assert point.vendor
    old = point.vendor.device_ns.median
    new = round(old * (1 + change))
    vendor = replace(
        point.vendor,
        device_ns=TimeSummary(new),
        gate=GateResult(verdict.value.lower(), change, 0.019),
        power_w=410.0,
    )
    accept = f"pytest suites/test_{point.stage}.py --ocrsweep-update"
    moved = Moved("device_ns", old, new, change, 0.019, causes, accept)
    return replace(point, vendor=vendor, verdict=verdict, moved=(moved,), absent=frozenset())


def heavier(point: PointResult) -> PointResult:
    """The point, of which a component reads more bytes than the baseline says."""
    old = point.analytic["read_bytes"]
    numbers = {**point.analytic.numbers, "read_bytes": old + MORE_BYTES}
    part = point.components["decoder/attn"]
    components = {**point.components, "decoder/attn": replace(part, read_bytes=part.read_bytes + MORE_BYTES)}
    moved = Moved.counted("read_bytes", old, old + MORE_BYTES, "pytest suites/test_prefill.py --ocrsweep-update")
    found = replace(point, analytic=Analytic(numbers), components=components, verdict=Verdict.FAIL)
    return replace(found, moved=(moved,), absent=frozenset())


def red(report: Report) -> Report:
    """The same run, red."""
    changes = {
        SLOWER: lambda point: timed(point, 0.028, Verdict.FAIL, (CAUSE,)),
        FASTER: lambda point: timed(point, -0.05, Verdict.IMPROVED),
        HEAVIER: heavier,
    }
    points = (changes[str(point)](point) if str(point) in changes else point for point in report.points)
    return replace(report, points=tuple(points), environment=replace(report.environment, git_revision="8cd09ac0"))
