"""`summary.json`: the first screen of a report for programs; base units, null for what is not known."""

from __future__ import annotations

from dataclasses import asdict

from ..baselines.json_layout import Json
from ..baselines.moved import MOVED
from ..baselines.own import OwnResult
from ..baselines.sweep_report import WORKLOAD, Report
from .elsewhere import engine_of
from .page_answer import Answer, PageAnswer
from .trends import Trends
from .what_moved import PointMoved

SCHEMA = 1


def document(report: Report, found: Answer, trends: Trends, price: float | None = None) -> Json:
    """Pages, what moved, and how points went over the runs of the database beside it."""
    first = found.first
    return {
        "schema": SCHEMA,
        "model": report.model,
        "engine": engine_of(report),
        "device": found.device,
        "git_revision": report.environment.git_revision,
        "workload": _workload(report),
        "dollars_per_hour": price,
        "first": {"page": str(first.grid), "attention": first.attention} if first else None,
        "verdicts": dict(found.verdicts),
        "moved": [_at(each, each.own) | {"verdict": each.verdict} | MOVED.write(each.moved) for each in found.moved],
        "own": [_at(each, each.name) | _own(each) for each in report.own],
        "pages": [_page(page, price) for page in found.pages],
        "runs": [asdict(run) for run in trends.runs],
        "trends": {
            name: {"metric": trend.metric, "values": list(trend.values), "since_run": _since(trend.since, trends)}
            for name, trend in (trends.of or {}).items()
        },
    }


def _at(found: PointMoved | OwnResult, own: str | None) -> Json:
    """Where it was found; `own` is the name of the user's own code, null for a point."""
    grid = None if found.grid is None else str(found.grid)
    return {"own": own, "stage": found.stage, "grid": grid, "attention": found.attention}


def _own(result: OwnResult) -> Json:
    measured = result.measured
    return {
        "verdict": result.verdict.value,
        "time_ns": measured.device_ns.median if measured else None,
        "change": measured.gate.change if measured else None,
        "margin": measured.gate.margin if measured else None,
        "tensor_flops": result.counted.tensor_flops,
    }


def _workload(report: Report) -> Json:
    return {name: getattr(report.workload, name) for name in WORKLOAD}


def _page(page: PageAnswer, price: float | None) -> Json:
    whole = asdict(page)
    return whole | {"grid": str(page.grid), "dollars_per_million_pages": page.dollars_per_million(price)}


def _since(place: int | None, trends: Trends) -> int | None:
    return None if place is None else trends.runs[place].run
