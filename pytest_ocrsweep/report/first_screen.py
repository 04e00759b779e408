"""The first screen of the page, for each grid, attention, engine and device: one template over the same values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..baselines.sweep_report import Report
from . import elsewhere
from .charts import drawing
from .page_answer import DECODER, PREFILL, Answer, How, PageAnswer, StageAnswer
from .trends import Trend, Trends

if TYPE_CHECKING:
    import jinja2

TEMPLATES = Path(__file__).parent / "templates"
UNKNOWN = "unknown device"
WIDTH, HEIGHT = 150, 22  # of a sparkline, in pixels
WHAT = {"device_ns": How.MEASURED.value, "estimate_ns": "estimate", "floor_ns": "floor"}


@dataclass(frozen=True, slots=True)
class TrendLine:
    """A stage's time over runs: a sparkline, and when it moved, in words."""

    stage: str
    what: str
    runs: int
    spark: str
    words: str


@dataclass(frozen=True, slots=True)
class Screens:
    """The first screen of each page by "engine|device|grid|attention", and the one to begin with."""

    by_key: Mapping[str, str]
    first: str

    def choices(self, place: int) -> list[str]:
        """What a switch offers: 0 is engine, 1 device, 2 page, 3 attention."""
        return list(dict.fromkeys(key.split("|")[place] for key in self.by_key))


def screens(
    report: Report, found: Answer, trends: Trends, environment: jinja2.Environment, price: float | None
) -> Screens:
    """Every page of the report, and of other engines and devices."""
    environment.filters |= {"ms": ms, "rate": rate, "percent": percent, "stage": _stage_class, "stages": _by_stage}
    template = environment.from_string((TEMPLATES / "answer.html.j2").read_text(encoding="utf-8"))
    here = elsewhere.engine_of(report), found.device or UNKNOWN
    pages = {here: found.pages, **elsewhere.elsewhere(report)}
    rendered = {
        _key(*where, page): template.render(
            page=page, price=price, lines=list(_lines(page, trends)) if where == here else []
        )
        for where, of in pages.items()
        for page in of
    }
    return Screens(rendered, _key(*here, found.first) if found.first else "")


def _key(engine: str, device: str, page: PageAnswer) -> str:
    return "|".join((engine, device.replace("|", "/"), str(page.grid), page.attention))


def ms(ns: float) -> str:
    """Milliseconds with three digits or more."""
    value = ns / 1e6
    return f"{value:,.1f}" if value >= 10 else f"{value:.2f}" if value >= 1 else f"{value:.3f}"


def rate(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def percent(value: float) -> str:
    return f"{value:.0f}" if value >= 10 or value == 0 else f"{value:.1f}"


def _stage_class(name: str) -> str:
    return drawing.stage_class(PREFILL if name == DECODER else name)


def _by_stage(stages: Sequence[StageAnswer]) -> dict[str, StageAnswer]:
    return {each.stage: each for each in stages}


def _lines(page: PageAnswer, trends: Trends) -> Iterator[TrendLine]:
    for stage in page.stages:
        if trend := trends[f"{stage.stage} {page.grid} {page.attention}"]:
            known = sum(value is not None for value in trend.values)
            if known > 1:
                yield TrendLine(stage.stage, WHAT[trend.metric], known, _spark(trend), since(trend, trends))


def since(trend: Trend, trends: Trends) -> str:
    """When the last value's level began, and how far from the one before."""
    if trend.since is None:
        return "as before in all of them"
    run, before = trends.runs[trend.since], next(v for v in reversed(trend.values[: trend.since]) if v is not None)
    by = (trend.values[-1] or 0) / before - 1 if before else 0.0
    revision = f", {run.git_revision[:9]}" if run.git_revision else ""
    return f"{100 * by:+.1f} % since run {run.run} ({run.written_utc[:10]}{revision})"


def _spark(trend: Trend) -> str:
    """From the bottom, unless the values differ by more than half: noise alone stays low."""
    known = [(at, value) for at, value in enumerate(trend.values) if value is not None]
    low, high = min(v for _, v in known), max(v for _, v in known)
    span = max(high - low, 0.02 * low, 1)
    last = max(1, len(trend.values) - 1)
    places = [(2 + at / last * (WIDTH - 6), HEIGHT - 3 - (value - low) / span * (HEIGHT - 6)) for at, value in known]
    x, y = places[-1]
    body = drawing.line(places, "line") + f'<circle class="dot" cx="{x:.1f}" cy="{y:.1f}" r="2.5"/>'
    label = f"{ms(known[0][1])} ms at first, {ms(known[-1][1])} ms at last"
    return f'<svg class="spark" width="{WIDTH}" height="{HEIGHT}" role="img" aria-label="{label}">{body}</svg>'
