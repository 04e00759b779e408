"""Reports for tests of charts, and every chart of one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

from pytest_ocrsweep import CropGrid, Workload, load_model
from pytest_ocrsweep.baselines.metrics import analytic
from pytest_ocrsweep.baselines.result import PointResult, components
from pytest_ocrsweep.baselines.sweep_report import Report, SweepEnvironment, SweepWorkload
from pytest_ocrsweep.model.attention import ATTENTION
from pytest_ocrsweep.model.stages import STAGES
from pytest_ocrsweep.report import recorded
from pytest_ocrsweep.report.charts import Chart, charts

ROOT = Path(__file__).parents[2]
GRIDS = ["1x1", "1x2", "2x1", "2x3", "1x9", "3x3"]
UNITS = {
    "time": "ms",
    "attained": "floor as % of the measured time",
    "change": "change since the baseline, %",
    "roofline": "needed tensor TFLOP/s, logarithmic",
    "flops": "TFLOP",
    "bytes": "GB",
    "memory": "GB",
    "required": "tensor TFLOP/s, logarithmic",
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
    assert point.vendor
    time = point.vendor.device_ns
    return replace(point, vendor=replace(point.vendor, device_ns=replace(time, median=2 * time.median)))


@cache
def all_charts() -> dict[str, Chart]:
    """Every chart there is: measured, and beside a baseline."""
    return {chart.name: chart for chart in charts(each_point(h200(), slower), baseline=h200())}
