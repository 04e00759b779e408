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
from . import changes, own, terminal
from .first_screen import ms, percent, rate, since
from .page_answer import Answer, How, PageAnswer, StageAnswer, answer
from .past import plot
from .table import points as counted
from .terminal import HEAVIEST, MANY
from .trends import Trends

FAILING = 50  # failing points that a page shows
FEW = 5  # numbers that moved which stand one by one
KINDS = 15  # of more numbers: each a metric of a stage
SHARES = 4  # components of a stage, the largest

LEFT_OUT = ("launch_overhead_ns",)  # a page is narrower than a terminal


def page(report: Report, found: Answer | None = None, trends: Trends | None = None, price: float | None = None) -> str:
    """What a page costs and what moved; then, folded, verdicts, failing points, and a table a stage.

    Of many points the heaviest alone are shown. `price` is of an hour of the device, in dollars.
    """
    points, found = report.points, found or answer(report)
    failing = [point for point in points if point.verdict.failed]
    parts = [f"## {markdown(report.model)}: {'; '.join(_said(report, len(failing)))}"]
    if found.first:
        parts += [_first(found.first, found, price), *_trends(found.first, trends or Trends())]
    if found.moved:
        parts += _moved(found)
    if points or not report.own:
        parts.append(_verdicts(points))
    if failing:
        shown, left = failing[:FAILING], len(failing) - FAILING
        more = [f"… and {left:,} failing points more: `sweep.json` has all."] if left > 0 else []
        parts += filter(None, map(_grown, shown))
        parts.append(_folded(f"Failing points: {len(failing):,}", _table(shown, NAMES, changes=True), *more))
    for stage in STAGES:
        if of_stage := [point for point in points if point.stage == stage]:
            parts.append(_stage(stage, of_stage, whole=len(points) <= MANY))
    if report.own:
        parts.append(_own(report.own))
    return "\n\n".join([*parts, _folded("Workload and environment", _about(report)), *_notes(points)]) + "\n"


def _said(report: Report, failing: int) -> list[str]:
    """How many points and how much code of the user's own there is, and which of it failed."""
    count, own, said = len(report.points), report.own, []
    if count or not own:
        said.append(f"{failing} of {count} points failed" if failing else f"{counted(count)}, none failed")
    if red := [markdown(str(each)) for each in own if each.verdict.failed]:
        more = f" and {len(red) - FEW} more" if len(red) > FEW else ""
        said.append(f"of your own code failed {', '.join(red[:FEW])}{more}")
    elif own:
        said.append(f"{len(own)} of your own code, none failed")
    return said


def _folded(title: str, *texts: str) -> str:
    inside = "\n\n".join(texts)
    return f"<details>\n<summary>{title}</summary>\n\n{inside}\n\n</details>"


def _first(page: PageAnswer, found: Answer, price: float | None) -> str:
    """The page in one sentence, and its stages."""
    where = f", {page.attention}{f' on {markdown(found.device)}' if found.device else ''}"
    stages = {each.stage: each for each in page.stages}
    if page.how is None or page.time_ns is None:
        said = f"**A {page.grid} page{where}:** not known, because a prefill or a decode is missing."
    else:
        prefill, decode = (stages[name].best(page.how) or 0 for name in ("prefill", "decode"))
        inside = ", ".join(f"{part.name} {ms(part.time_ns)}" for part in page.parts[:2] if part.time_ns is not None)
        inside = f" ({inside})" if len(page.parts) == 3 else ""
        takes = f"takes {'at least ' if page.how is How.FLOOR else ''}{ms(page.time_ns)} ms ({page.how})"
        pages = "page" if page.batch == 1 else f"batch of {page.batch} pages"
        parts = f"prefill {ms(prefill)}{inside}, then {page.new_tokens} tokens {ms(decode)}"
        said = f"**One {page.grid} {pages} {takes}**{where}: {parts}."
        dollars = page.dollars_per_million(price)
        rates = [f"{rate(page.pages_per_s)} pages/s"] if page.pages_per_s else []
        rates += [f"$ {rate(dollars)} a million pages"] if dollars is not None else []
        rates += [f"{rate(page.joules)} J a page"] if page.joules is not None else []
        said += f" {', '.join(rates)}." if rates else ""
    header = ["stage", "measured ms", "estimate ms", "floor ms", "attained", "bound by", "where its time goes"]
    rows = [_stage_row(each) for each in page.stages]
    table = [header, ["---", "---:", "---:", "---:", "---:", "---", "---"], *rows]
    return "\n\n".join([said, "\n".join(f"| {' | '.join(cells)} |" for cells in table)])


def _stage_row(each: StageAnswer) -> list[str]:
    expected = each.estimate
    goes = ", ".join(f"{markdown(share.name)} {_share(share.ratio)}" for share in each.shares[:SHARES])
    limit = f"{markdown(each.limit.name)}, {_share(each.limit.ratio)} of the estimate; " if each.limit else ""
    return [
        each.stage,
        "not measured" if each.measured_ns is None else ms(each.measured_ns),
        f"{ms(expected.low_ns)} to {ms(expected.high_ns)}" if expected else "-",
        "-" if each.floor_ns is None else ms(each.floor_ns),
        "-" if each.attained is None else f"{each.attained:.3f}{'' if each.measured_ns else ' expected'}",
        f"{limit}floor: {markdown(each.floor_bound or 'not known')}",
        goes or "not known",
    ]


def _share(ratio: float | None) -> str:
    return "-" if ratio is None else f"{percent(100 * ratio)} %"


def _trends(page: PageAnswer, trends: Trends) -> list[str]:
    """Each stage of the page over the runs of the database."""
    lines = []
    for each in page.stages:
        trend = trends[f"{each.stage} {page.grid} {page.attention}"]
        known = [value for value in trend.values if value is not None] if trend else []
        if trend and len(known) > 1:
            lines.append(f"- {each.stage} over {len(known)} runs: {plot(known)}; {markdown(since(trend, trends))}")
    return ["\n".join(lines)] if lines else []


def _moved(found: Answer) -> list[str]:
    """What moved, the largest first; of more than a few numbers each kind is a row, and all are folded."""
    rows = changes.of_points(found.moved)
    kinds = rows if len(rows) <= FEW else changes.gathered(rows)
    numbers = f"{len(rows):,} number{'' if len(rows) == 1 else 's'}"
    parts = [f"### Moved since the baseline: {numbers}", _changes(kinds[:KINDS])]
    if commands := changes.commands(rows):
        shown = "\n".join(commands[:FEW])
        parts.append(f"If that is meant, accept it:\n\n```\n{shown}\n```")
    if len(rows) > FEW:
        left = [f"… and {len(rows) - FAILING:,} more: `sweep.json` has all."] if len(rows) > FAILING else []
        parts.append(_folded(f"Each of these {len(rows):,} numbers", _changes(rows[:FAILING]), *left))
    return parts


def _changes(rows: Sequence[changes.Row]) -> str:
    header = ["point", "number", "old", "new", "change", "margin", "component or line"]
    cells = [
        [markdown(row.point), markdown(row.metric), row.old, row.new, row.change, row.margin, _causes(row)]
        for row in rows
    ]
    return _grid(header, cells, names=2)


def _causes(row: changes.Row) -> str:
    return "; ".join(map(markdown, row.causes)) or "not known"


def _own(results: Sequence[OwnResult]) -> str:
    """Code of the user's own: a row each, and what it counts otherwise than the reference model."""
    rows = [[markdown(cell) for cell in row] for row in own.cells(results)]
    lines = [f"- {markdown(note)}" for note in own.notes(results)]
    table = _grid(own.HEADER, rows, names=2)
    return "\n\n".join(["### Own code", table, *(["\n".join(lines)] if lines else [])])


def _grown(point: PointResult) -> str:
    """What accounts for a failed point's time, in a report of a version that did not say what moved."""
    profile = point.vendor.profile if point.vendor and not point.moved else None
    causes = [f"- {markdown(cause)}" for cause in profile.causes] if profile else []
    what = f"What grew in {markdown(str(point))}, in one call or a decode's last step:"
    return "\n".join([f"{what}\n", *causes]) if causes else ""


def _about(report: Report) -> str:
    """The workload, and what is known of where it ran."""
    environment = report.environment
    words = [f"{name}={markdown(getattr(report.workload, name))}" for name in WORKLOAD]
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
    """The points of a stage, folded; cut to the heaviest where the sweep is large."""
    shown, title = list(points), f"{stage}: {counted(len(points))}"
    if not whole:
        heavy = {point.key for point in sorted(points, key=terminal.flops, reverse=True)[:HEAVIEST]}
        shown = [point for point in points if point.key in heavy]
        title = f"{stage}: the heaviest {len(shown)} of {len(points):,} points; `sweep.json` has all"
    table = _table(shown, ("grid", "attention"))
    return _folded(title, table)


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
    notes += [f"{markdown(line[0].upper() + line[1:])}." for line in terminal.estimates(points)]
    if points and not any(point.vendor for point in points):
        notes.append("Nothing was measured.")
    return [" ".join(notes)] if notes else []


def _percent(ratio: float | None, form: str) -> str:
    return "-" if ratio is None else f"{100 * ratio:{form}}"
