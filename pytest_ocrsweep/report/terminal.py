"""Rows as the table that ends a run: aligned, scaled, worst first when there are too many."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from ..baselines.metrics import METRICS, columns, values
from ..baselines.result import NAMES, EstimateResult, PointResult, order
from ..baselines.verdict import Verdict
from ..hardware.calibration_file import REMEDY
from ..model.geometry import CropGrid
from ..model.stages import STAGES
from .table import BETWEEN, fitted, left_out
from .table import points as counted

PER_TOKEN = ("moved_bytes_per_token", "flops_per_token")
IMPORTANT = (  # columns, in the order in which a narrow terminal gives them room
    *("device_ns", "attained", "floor_ns", "estimate_ns", "flops", "moved_bytes", "peak_activation_bytes"),
    *("bound", "context_tokens", "kv_cache_bytes", "intensity", "energy_mj", "wall_ns", "launch_overhead_ns"),
    *PER_TOKEN,
)
BOUND = "bound"
COLOURS: dict[str, str] = {
    Verdict.FAIL: "red",
    Verdict.NO_SAMPLE: "red",
    Verdict.NO_BASELINE: "yellow",
    Verdict.IMPROVED: "cyan",
    Verdict.RECORDED: "cyan",
    Verdict.PASS: "green",
}
MANY = 150  # points: the default sweep is shown whole, a table of more is cut
WORST = 30  # failing points that a cut table shows
HEAVIEST = 4  # points a stage that a cut table shows beside them


def table(
    points: Sequence[PointResult],
    labels: Mapping[CropGrid, str],
    option: str = "--ocrsweep-report",
    expected: Callable[[PointResult], PointResult] = lambda point: point,
    width: int | None = None,
    wider: str = "-v shows them",
) -> list[str]:
    """A line a point under a header that has the units; decode's totals are over all new tokens.

    `option` is what writes all of the points where a table of many is cut. `expected` adds its estimate to a point: to
    those alone that are shown. In a `width` some columns may have no room; `wider` says what shows them.
    """
    points = sorted(points, key=order)
    shown = [expected(point) for point in (points if len(points) <= MANY else _worst(points))]
    metrics = columns(shown)
    header = [*NAMES, *(METRICS[name].heading for name in metrics), BOUND, "verdict"]
    cells = [header, *(_cells(point, labels.get(point.grid), metrics) for point in shown)]
    important = [METRICS[name].heading if name in METRICS else name for name in IMPORTANT]
    lines, absent = fitted(cells, (*range(len(NAMES)), -1), width, important)
    lines += left_out(absent, wider)
    if len(shown) < len(points):
        failed = sum(point.verdict.failed for point in points)
        lines.append(
            f"{len(shown)} of {len(points)} points, {failed} failed: at most {WORST} of those and the heaviest of "
            f"each stage are shown; {option}=DIR has all of them in DIR/sweep.json"
        )
    if stages := per_token(shown):
        tokens = min(point.new_tokens for point in shown if point.stage in stages)
        means = all(METRICS[name].heading in absent for name in PER_TOKEN)
        mean = "" if means else "; the columns per token are their mean"
        lines.append(f"{' and '.join(stages)} rows are totals over {tokens} new tokens{mean}")
    if devices := sorted({point.floor.device for point in shown if point.floor}):
        bound = "" if BOUND in absent else "; bound is the resource that sets the floor"
        lines.append(f"floors are for {', '.join(devices)}: nothing runs faster{bound}")
    return [*lines, *estimates(shown)]


def verdict_of(line: str) -> tuple[str, str, str | None]:
    """A line of a table before its verdict, the verdict, and its colour; of another line all of it, and no colour."""
    before, between, last = line.rpartition(BETWEEN)
    colour = COLOURS.get(last) if between else None
    return (before + between, last, colour) if colour else (line, "", None)


def counts(points: Iterable[PointResult]) -> str:
    """ "6 points: 2 FAIL, 4 PASS"."""
    by_verdict = Counter(point.verdict for point in points)
    each = ", ".join(f"{by_verdict[verdict]:,} {verdict}" for verdict in sorted(by_verdict, key=lambda v: v.rank))
    return f"{counted(by_verdict.total())}: {each}"


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
            are = "is" if len(wide) == 1 else "are"
            yield f"{len(wide)} of {len(found)} intervals {are} wider than usual; the widest, {point}: {why}"
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
