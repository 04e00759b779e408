"""A report as a page of Markdown for a pull request: what failed first, and short however much was swept."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from ..baselines.measurement import ENVIRONMENT, GateResult
from ..baselines.metrics import METRICS, columns, values
from ..baselines.own import OwnResult
from ..baselines.result import NAMES, PointResult
from ..baselines.sweep_report import WORKLOAD, Report
from ..files.text import markdown
from ..model.stages import STAGES
from . import own, terminal
from .table import points as counted
from .terminal import HEAVIEST, MANY

FAILING = 50  # failing points that a page shows
LONG = 12  # rows of a table that are not folded away

LEFT_OUT = ("launch_overhead_ns",)  # a page is narrower than a terminal


def page(report: Report) -> str:
    """Verdicts, failing points, and a table a stage; the heaviest points alone where there are many."""
    points = report.points
    failing = [point for point in points if point.verdict.failed]
    what = f"{len(failing)} of {len(points)} points failed" if failing else f"{counted(len(points))}, none failed"
    if red := [each for each in report.own if each.verdict.failed]:
        what += f"; of your own code failed {', '.join(markdown(str(each)) for each in red)}"
    parts = [f"## {markdown(report.model)}: {what}", _about(report), _verdicts(points)]
    if failing:
        shown, left = failing[:FAILING], len(failing) - FAILING
        parts += ["### Failing points", _table(shown, NAMES, changes=True)]
        parts += [f"… and {left:,} failing points more: `sweep.json` has all."] if left > 0 else []
        parts += list(filter(None, map(_grown, shown)))
    for stage in STAGES:
        if of_stage := [point for point in points if point.stage == stage]:
            parts.append(_stage(stage, of_stage, whole=len(points) <= MANY))
    if report.own:
        parts.append(_own(report.own))
    return "\n\n".join([*parts, *_notes(points)]) + "\n"


def _own(results: Sequence[OwnResult]) -> str:
    """Code of the user's own: a row each, and what it counts otherwise than the reference model."""
    rows = [[markdown(cell) for cell in row] for row in own.cells(results)]
    lines = [f"- {markdown(note)}" for note in own.notes(results)]
    table = _grid(own.HEADER, rows, names=2)
    return "\n\n".join(["### Own code", table, *(["\n".join(lines)] if lines else [])])


def _grown(point: PointResult) -> str:
    """What accounts for a failed point's time, if it was profiled."""
    profile = point.vendor.profile if point.vendor else None
    causes = [f"- {markdown(cause)}" for cause in profile.causes] if profile else []
    return (
        "\n".join([f"What grew in {markdown(str(point))}, in one call or a decode's last step:\n", *causes])
        if causes
        else ""
    )


def _about(report: Report) -> str:
    """The workload, and what is known of where it ran."""
    environment = report.environment
    words = [f"{name}={getattr(report.workload, name)}" for name in WORKLOAD]
    known = [(name, getattr(environment, name)) for name in ENVIRONMENT]
    words += [f"{name} {markdown(value)}" for name, value in known if value]
    return "\n".join([", ".join(words), *(f"- {markdown(each)}" for each in environment.hosts)])


def _verdicts(points: Sequence[PointResult]) -> str:
    """How many points of each stage got which verdict, failures first."""
    counts = Counter((point.verdict, point.stage) for point in points)
    stages = [stage for stage in STAGES if any(point.stage == stage for point in points)]
    verdicts = sorted({point.verdict for point in points}, key=lambda verdict: (not verdict.failed, verdict))
    rows = [[markdown(verdict) or "-", *(str(counts[verdict, stage]) for stage in stages)] for verdict in verdicts]
    return _grid(["verdict", *stages], rows, names=1) if rows else "Nothing was swept."


def _stage(stage: str, points: Sequence[PointResult], *, whole: bool) -> str:
    """The points of a stage; folded where they are many, and cut to the heaviest where the sweep is large."""
    shown, title = list(points), f"{stage}: {counted(len(points))}"
    if not whole:
        heavy = {point.key for point in sorted(points, key=terminal.flops, reverse=True)[:HEAVIEST]}
        shown = [point for point in points if point.key in heavy]
        title = f"{stage}: the heaviest {len(shown)} of {len(points):,} points; `sweep.json` has all"
    table = _table(shown, ("grid", "attention"))
    if len(shown) <= LONG:
        return f"### {title}\n\n{table}"
    return f"<details>\n<summary>{title}</summary>\n\n{table}\n\n</details>"


def _table(points: Sequence[PointResult], names: Sequence[str], *, changes: bool = False) -> str:
    """A row a point; columns that no point has a number for are left out."""
    numbers = [values(point) for point in points]
    metrics = [name for name in columns(points) if name not in LEFT_OUT]
    gated = changes and any(point.vendor for point in points)
    header = [*names, "verdict", *(METRICS[name].heading for name in metrics), *(["change %", "margin %"] * gated)]
    bounds = any(point.floor for point in points)
    rows = []
    for point, number in zip(points, numbers, strict=True):
        cells = [str(getattr(point, name)) for name in names]
        cells += [markdown(point.verdict) or "-", *(METRICS[name].show(number[name]) for name in metrics)]
        if gated:
            gate = point.vendor.gate if point.vendor else GateResult()
            cells += [_percent(gate.change, "+.2f"), _percent(gate.margin, ".2f")]
        if bounds:
            cells.append(markdown(point.floor.bound) if point.floor else "-")
        rows.append(cells)
    return _grid([*header, *(["bound"] * bounds)], rows, names=len(names) + 1)


def _grid(header: Sequence[str], rows: Iterable[Sequence[str]], names: int) -> str:
    """A table whose first columns are `names`, to the left, and the others numbers, to the right."""
    ruler = ["---" if at < names else "---:" for at in range(len(header))]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (header, ruler, *rows))


def _notes(points: Sequence[PointResult]) -> list[str]:
    notes = []
    if stages := terminal.per_token(points):
        tokens = min(point.new_tokens for point in points if point.stage in stages)
        whose = " and ".join(stages).capitalize()
        notes.append(f"{whose}'s numbers are totals over {tokens} new tokens; those per token are their mean.")
    if devices := sorted({markdown(point.floor.device) for point in points if point.floor}):
        notes.append(f"Floors are for {', '.join(devices)}: nothing runs faster there.")
    notes += [f"{line[0].upper()}{markdown(line[1:])}." for line in terminal.estimates(points)]
    if points and not any(point.vendor for point in points):
        notes.append("Nothing was measured.")
    return [" ".join(notes)] if notes else []


def _percent(ratio: float | None, form: str) -> str:
    return "-" if ratio is None else f"{100 * ratio:{form}}"
