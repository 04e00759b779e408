"""Two sides that were compared, as a page: what a page takes on each, what moved, and all that was compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from ..errors import ReportError
from ..files import atomic, untrusted
from . import changes
from .charts import drawing
from .comparison import TIME, Change, Comparison, ComparisonKey
from .page_answer import DECODE, PREFILL, USUAL
from .table import points

TEMPLATES = Path(__file__).parent / "templates"
OURS = b"<!doctype html>\n<!-- ocrsweep compare -->\n"
FEW, SHOWN, MOST = 6, 40, 1000  # pages and changes on the first screen, and changes on the page


def write(found: Comparison, file: Path) -> None:
    """Write the page. Raises ReportError for a file that is not one of ours, and without the library that makes it."""
    text = page(found)
    try:
        if file.exists() and not untrusted.read(file).startswith(OURS):
            raise ReportError(f"{file} was not written by ocrsweep:", "move it away, or give another file")
        atomic.write(file, text)
    except OSError as error:
        raise ReportError(f"{file} cannot be written ({error.strerror or error}): {atomic.remedy(error)}") from None


def page(found: Comparison) -> str:
    """A page without a script that needs no network."""
    try:
        import jinja2
    except ImportError:
        raise ReportError("no page: jinja2 is not installed:", "pip install 'pytest-ocrsweep[report]'") from None

    moved = [_row(change) for change in found.moved]
    loader = jinja2.FileSystemLoader(TEMPLATES)
    environment = jinja2.Environment(
        loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    style = (TEMPLATES / "page.css").read_text(encoding="utf-8")
    return environment.get_template("compare.html.j2").render(
        a=found.a.name,
        b=found.b.name,
        said=said(found),
        sides=[
            (name, _about(side.name, side.about, len(side.points))) for name, side in (("A", found.a), ("B", found.b))
        ],
        notes=[*found.notes, *_only("A", found.only_a), *_only("B", found.only_b)],
        pages=pages(found),
        moved=moved,
        kinds=moved if len(moved) <= FEW else changes.gathered(moved),
        metrics=summary(found),
        style=f"{style}\n{drawing.STYLE}{drawing.colours()}",
        FEW=FEW,
        SHOWN=SHOWN,
        MOST=MOST,
    )


def said(found: Comparison) -> str:
    """The comparison in one line."""
    numbers = f"{sum(found.compared.values()):,} numbers"
    if not found.moved:
        return f"Nothing moved: {numbers} were compared"
    return f"{len(found.moved):,} of {numbers} moved, at {points(len({change.key for change in found.moved}))}"


def pages(found: Comparison) -> list[changes.Row]:
    """The time of each page of which both sides have a prefill and a decode; the usual one first, then the largest."""
    times = {change.key: change for change in found.changes if change.metric == TIME}
    rows = []
    for key, prefill in times.items():
        decode = times.get(key._replace(stage=DECODE))
        if key.stage == PREFILL and decode:
            old, new = prefill.old + decode.old, prefill.new + decode.new
            name = " ".join(filter(None, (key.own, str(key.grid), key.attention)))
            by = [f"{each.key.stage} {changes.percent(each.ratio)}" for each in (prefill, decode) if each.moved]
            row = changes.row(name, TIME, old, new, new / old - 1, None).because(
                by or ["within the margin"], None, bad=new > old if by else None
            )
            usual = (key.grid, key.attention) == USUAL and not key.own
            rows.append((not usual, -abs(new / old - 1), replace(row, margin="–")))  # a sum has no margin of its own
    return [row for _, _, row in sorted(rows, key=lambda each: each[:2])]


def _row(change: Change) -> changes.Row:
    stage = None if change.key.own else change.key.stage
    row = changes.row(str(change.key), change.metric, change.old, change.new, change.ratio, change.margin, stage)
    return row.because([change.why] if change.why else [], None, bad=change.new > change.old)


def summary(found: Comparison) -> list[list[str]]:
    """A line for each metric: how many points moved, and the smallest and the largest change."""
    cells = [["metric", "points", "moved", "least", "most", "margin"]]
    for metric, count in found.compared.items():
        of = [change for change in found.changes if change.metric == metric]
        ratios = [float("inf") if change.ratio is None else change.ratio for change in of] or [0.0]
        if len(of) < count:
            ratios.append(0.0)
        margins = [change.margin for change in of if change.margin is not None]
        margin = f"{100 * min(margins):.2f} to {100 * max(margins):.2f} %" if margins else "exact"
        moved = sum(change.moved for change in of)
        cells.append(
            [metric, f"{count:,}", f"{moved:,}", changes.percent(min(ratios)), changes.percent(max(ratios)), margin]
        )
    return cells


def _about(name: str, about: Mapping[str, str | None], count: int) -> str:
    known = ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in about.items() if value)
    return f"{name}: {points(count)}, {known}"


def _only(name: str, keys: Sequence[ComparisonKey]) -> list[str]:
    shown = ", ".join(map(str, keys[:FEW]))
    return [f"Only {name} has {points(len(keys))}: {shown}{', …' if len(keys) > FEW else ''}"] if keys else []
