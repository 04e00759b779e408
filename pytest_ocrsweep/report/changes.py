"""What moved, in words: the same for a page, for Markdown, and for two sides that are compared."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from ..baselines.metrics import METRICS
from ..files.text import is_command
from .what_moved import PointMoved


@dataclass(frozen=True, slots=True)
class Row:
    """A change as texts; `bad` is one that fails, `accepts` the command that takes it as it is."""

    point: str
    metric: str
    old: str
    new: str
    change: str
    margin: str
    causes: tuple[str, ...] = ()
    accepts: str | None = None
    bad: bool | None = True  # None: nothing that anybody need look at
    kind: tuple[str, str] | None = None  # the stage and the metric; None for what stands alone
    ratio: float | None = None  # the change, and the margin; None from zero, and for what is compared exactly
    margin_ratio: float | None = None

    def because(self, causes: Iterable[str], accepts: str | None, *, bad: bool | None) -> Row:
        """The same with its causes, and the command that takes it as it is."""
        return replace(self, causes=tuple(causes), accepts=accepts, bad=bad)


def of_points(moved: Iterable[PointMoved]) -> list[Row]:
    """A row for each number that moved since its baseline."""
    rows = []
    for each in moved:
        found, stage = each.moved, None if each.own else each.stage
        of = row(str(each), found.metric, found.old, found.new, found.change, found.margin, stage)
        accept = found.accept if found.accept and is_command(found.accept) else None  # who wrote the report is unknown
        rows.append(of.because(found.causes, accept, bad=each.verdict != "IMPROVED"))
    return rows


def gathered(rows: Sequence[Row]) -> list[Row]:
    """One row for all points of a stage of which the same number moved in the same way, with its range.

    It has the numbers and the causes of the first of them, which is the largest if the rows are sorted so.
    """
    kinds: dict[tuple[object, ...], list[Row]] = {}
    for at, row in enumerate(rows):
        kinds.setdefault((*row.kind, row.bad) if row.kind else (at,), []).append(row)
    return [_together(alike) if len(alike) > 1 else alike[0] for alike in kinds.values()]


def _together(alike: Sequence[Row]) -> Row:
    first = alike[0]
    assert first.kind is not None
    stage, _ = first.kind
    point = f"{stage}, {len(alike):,} points; most at {first.point.removeprefix(stage).strip()}"
    changes = [percent(each.ratio) for each in sorted(alike, key=lambda each: each.ratio or 0.0)]
    margins = sorted(each.margin_ratio for each in alike if each.margin_ratio is not None)
    by = _range(f"{100 * margins[0]:.1f}", f"{100 * margins[-1]:.1f} %") if margins else first.margin
    return replace(first, point=point, change=_range(changes[0], changes[-1]), margin=by)


def _range(least: str, most: str) -> str:
    return most if least.removesuffix(" %") == most.removesuffix(" %") else f"{least} to {most}"


def row(
    point: str, metric: str, old: int, new: int, change: float | None, margin: float | None, stage: str | None = None
) -> Row:
    """One change, of which nothing more is known; a larger number is bad. Without a `stage` it stands alone."""
    kind = (stage, metric) if stage else None
    by = "exact" if margin is None else f"{100 * margin:.1f} %"
    shown = texts(metric, old, new)
    return Row(point, *shown, percent(change), by, bad=new > old, kind=kind, ratio=change, margin_ratio=margin)


def commands(rows: Sequence[Row]) -> list[str]:
    """The commands that accept these, each once."""
    return list(dict.fromkeys(row.accepts for row in rows if row.accepts))


def texts(metric: str, old: int, new: int) -> tuple[str, str, str]:
    """The metric with its unit and both numbers as tables show them; in base units if they would look alike."""
    if metric in METRICS:
        both = METRICS[metric].show(old), METRICS[metric].show(new)
        if both[0] != both[1]:
            return METRICS[metric].heading, *both
        metric = METRICS[metric].word or metric
    return metric, f"{old:,}", f"{new:,}"


def percent(ratio: float | None) -> str:
    """A change that is not 0 is never printed as 0."""
    if ratio is None or ratio == float("inf"):
        return "from 0"
    if not ratio:
        return "="
    return f"{100 * ratio:+.2f} %" if abs(ratio) >= 1e-4 else f"{100 * ratio:+.1e} %"
