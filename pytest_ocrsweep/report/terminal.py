"""Rows as the table that ends a run: aligned, scaled, worst first when there are too many."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from ..baselines.metrics import METRICS, columns, values
from ..baselines.result import NAMES, EstimateResult, PointResult, order
from ..hardware.calibration_file import REMEDY
from ..model.geometry import CropGrid
from ..model.stages import STAGES
from .table import aligned

MANY = 150  # points: the default sweep is shown whole, a table of more is cut
WORST = 30  # failing points that a cut table shows
HEAVIEST = 4  # points a stage that a cut table shows beside them


def table(
    points: Sequence[PointResult],
    labels: Mapping[CropGrid, str],
    option: str = "--ocrsweep-report",
    expected: Callable[[PointResult], PointResult] = lambda point: point,
) -> list[str]:
    """A line a point under a header that has the units; decode's totals are over all new tokens.

    `option` is what writes all of the points where a table of many is cut. `expected` adds its estimate to a point: to
    those alone that are shown.
    """
    points = sorted(points, key=order)
    shown = [expected(point) for point in (points if len(points) <= MANY else _worst(points))]
    metrics = columns(shown)
    header = [*NAMES, *(METRICS[name].heading for name in metrics), "bound", "verdict"]
    cells = [header, *(_cells(point, labels.get(point.grid), metrics) for point in shown)]
    lines = aligned(cells, left=(*range(len(NAMES)), -1))
    if len(shown) < len(points):
        failed = sum(point.verdict.failed for point in points)
        lines.append(
            f"{len(shown)} of {len(points)} points, {failed} failed: at most {WORST} of those and the heaviest of "
            f"each stage are shown; {option}=DIR has all of them in DIR/sweep.json"
        )
    if stages := per_token(shown):
        tokens = min(point.new_tokens for point in shown if point.stage in stages)
        lines.append(
            f"{' and '.join(stages)} rows are totals over {tokens} new tokens; the columns per token are their mean"
        )
    if devices := sorted({point.floor.device for point in shown if point.floor}):
        lines.append(
            f"floors are for {', '.join(devices)}: nothing runs faster; bound is the resource that sets the floor"
        )
    return [*lines, *estimates(shown)]


def estimates(points: Sequence[PointResult]) -> Iterator[str]:
    """What the estimates of these points are, how far they may be trusted, and why some points have none."""
    by_device: dict[str, list[tuple[PointResult, EstimateResult]]] = {}
    for point in points:
        if point.estimate:
            by_device.setdefault(point.estimate.device, []).append((point, point.estimate))
    for device, found in by_device.items():
        yield f"estimates are for {device}; nine of ten measured times lie within {_spreads(found)} of them"
        if wide := [each for each in found if each[1].reasons]:
            point, widest = max(wide, key=lambda each: each[1].spread)
            why = "; ".join(widest.reasons)
            yield f"{len(wide)} of {len(found)} intervals are wider than usual; the widest, {point}: {why}"
    unknown = [point for point in points if point.estimate is None and "estimate" not in point.absent]
    for device in dict.fromkeys(point.floor.device for point in unknown if point.floor):
        yield f"no estimate for {device}, which has no calibration; {REMEDY}"


def _spreads(found: Sequence[tuple[PointResult, EstimateResult]]) -> str:
    """The widest interval of each stage."""
    widest: dict[str, float] = {}
    for point, estimate in found:
        widest[point.stage] = max(widest.get(point.stage, 0), estimate.spread)
    return ", ".join(f"{100 * (spread - 1):.0f} % ({stage})" for stage, spread in widest.items())


def _cells(point: PointResult, label: str | None, metrics: Sequence[str]) -> list[str]:
    numbers = values(point)
    grid = f"{point.grid} {label}" if label else str(point.grid)
    shown = [METRICS[name].show(numbers[name]) for name in metrics]
    return [point.stage, grid, point.attention, *shown, point.floor.bound if point.floor else "-", point.verdict]


def _worst(points: Sequence[PointResult]) -> list[PointResult]:
    """Failing points, and the heaviest by FLOPs of each stage, in table order."""
    shown = {point.key: point for point in [point for point in points if point.verdict.failed][:WORST]}
    for stage in dict.fromkeys(point.stage for point in points):
        heaviest = sorted((point for point in points if point.stage == stage), key=flops)[-HEAVIEST:]
        shown |= {point.key: point for point in heaviest}
    return sorted(shown.values(), key=order)


def flops(point: PointResult) -> int:
    """What points are heavy by."""
    return point.analytic["tensor_flops"] + point.analytic["vector_flops"]


def per_token(points: Sequence[PointResult]) -> list[str]:
    """The stages of these points that run once for each new token."""
    found = {point.stage for point in points}
    return [name for name, stage in STAGES.items() if stage.per_token and name in found]
