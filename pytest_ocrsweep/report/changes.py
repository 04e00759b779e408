"""What moved, in words: the same for a page, for Markdown, and for two sides that are compared."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from ..baselines.metrics import METRICS
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

    def because(self, causes: Iterable[str], accepts: str | None, *, bad: bool | None) -> Row:
        """The same with its causes, and the command that takes it as it is."""
        return replace(self, causes=tuple(causes), accepts=accepts, bad=bad)


def of_points(moved: Iterable[PointMoved]) -> list[Row]:
    """A row for each number that moved since its baseline."""
    return [
        row(str(each), each.moved.metric, each.moved.old, each.moved.new, each.moved.change, each.moved.margin).because(
            each.moved.causes, each.moved.accept, bad=each.verdict != "IMPROVED"
        )
        for each in moved
    ]


def row(point: str, metric: str, old: int, new: int, change: float | None, margin: float | None) -> Row:
    """One change, of which nothing more is known; a larger number is bad."""
    by = "exact" if margin is None else f"{100 * margin:.1f} %"
    return Row(point, *texts(metric, old, new), percent(change), by, bad=new > old)


def commands(rows: Sequence[Row]) -> list[str]:
    """The commands that accept these, each once."""
    return list(dict.fromkeys(row.accepts for row in rows if row.accepts))


def texts(metric: str, old: int, new: int) -> tuple[str, str, str]:
    """The metric with its unit and both numbers as tables show them; in base units if they would look alike."""
    if metric in METRICS:
        both = METRICS[metric].show(old), METRICS[metric].show(new)
        if both[0] != both[1]:
            return METRICS[metric].heading, *both
    return metric, f"{old:,}", f"{new:,}"


def percent(ratio: float | None) -> str:
    """A change that is not 0 is never printed as 0."""
    if ratio is None or ratio == float("inf"):
        return "from 0"
    if not ratio:
        return "="
    return f"{100 * ratio:+.2f} %" if abs(ratio) >= 1e-4 else f"{100 * ratio:+.1e} %"
