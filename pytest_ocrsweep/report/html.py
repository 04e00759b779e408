"""A report as one page that needs no network: `page` puts data, pictures, style and script into its template."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

from ..baselines.json_layout import Json
from ..baselines.metrics import METRICS, column_names
from ..baselines.result import NAMES
from ..baselines.result_json import to_json
from ..baselines.sweep_report import Report, SweepEnvironment
from ..baselines.verdict import FAILED, Verdict
from . import changes, charts, own
from .charts import Chart, drawing
from .columns import Points, points
from .first_screen import Screens, screens
from .page_answer import answer
from .time_lines import time_lines
from .trends import Trends

TEMPLATES = Path(__file__).parent / "templates"
FACTS = (
    *("flops", "moved_bytes", "weight_bytes", "kv_cache_bytes", "peak_activation_bytes", "flops_per_token"),
    *("moved_bytes_per_token", "floor_ns", "estimate_ns", "estimate_low_ns", "estimate_high_ns"),
    *("device_ns", "attained", "wall_ns"),
)
LEFT_OUT = ("flops_per_token", "moved_bytes_per_token")  # of the table: facts of a point alone
GOOD = (Verdict.PASS, Verdict.RECORDED)
JUDGED = (Verdict.PASS, Verdict.IMPROVED, *FAILED)
FEW, KINDS, MOST = 8, 15, 200  # numbers that moved: one by one, by their kinds, and in all on the page
SWITCHES = ("engine", "device", "page", "attention")


def page(
    report: Report, drawn: Sequence[Chart] | None = None, trends: Trends | None = None, price: float | None = None
) -> str:
    """A report as HTML, its data compressed inside, with its charts or others of it: those beside a baseline.

    `trends` are of earlier runs; `price` is of an hour of the device, in dollars.
    """
    import jinja2

    document, found = to_json(replace(report, points=())), points(report)
    drawn = charts.charts(report, table=found) if drawn is None else drawn
    said, profiles = answer(report), time_lines(report)
    moved = changes.of_points(said.moved)
    strict = jinja2.StrictUndefined
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=strict)
    environment.loader = jinja2.FileSystemLoader(TEMPLATES)
    shown = screens(report, said, trends or Trends(), environment, price)
    script = _read("page.js")
    return environment.get_template("index.html.j2").render(
        title=f"{report.model}, {found.count:,} points",
        model=report.model,
        workload=document["workload"],
        environment=_known(report.environment, document["environment"]),
        device=said.device,
        verdicts=list(said.verdicts.items()),
        failed=FAILED,
        filters={name: found.distinct(name) for name in ("stage", "attention")},
        table=_table(found),
        charts=drawn,
        first=shown.by_key.get(shown.first, ""),
        switches=_switches(shown),
        price=price,
        moved=moved,
        kinds=moved if len(moved) <= FEW else changes.gathered(moved),
        KINDS=KINDS,
        MOST=MOST,
        judged=any(verdict in JUDGED for verdict in (*said.verdicts, *said.own_verdicts)),
        profiled={place: str(report.points[place]) for place in profiles["points"]},
        recorded=list(report.history),
        own=own.cells(report.own),
        own_header=own.HEADER,
        own_words=own.WORDS,
        own_said=own.counts(report.own),
        nothing=" hidden" if report.own and not report.points else "",
        own_notes=list(own.notes(report.own)),
        style=f"{_read('page.css')}\n{drawing.STYLE}{drawing.colours()}",
        script=script,
        hash=_hash(script),
        data=_packed(_data(found) | {"profiles": profiles, "history": document.get("history", {})}),
        pages=_packed(dict(shown.by_key)),
    )


def _switches(shown: Screens) -> list[Json]:
    """Each with its choices and the one to begin with; one of a single choice is a word."""
    first = shown.first.split("|") if shown.first else [""] * len(SWITCHES)
    return [
        {"name": name, "choices": shown.choices(at), "first": first[at]}
        for at, name in enumerate(SWITCHES)
        if shown.by_key
    ]


def _data(found: Points) -> Json:
    paths = dict.fromkeys(name.rpartition(":")[0] for name in found.columns if ":" in name)
    used = ("id", "crops", "rows", "bound", "verdict", *NAMES, *METRICS)
    return {
        "columns": {name: column for name, column in found.columns.items() if ":" in name or name in used},
        "paths": list(paths),
        "classes": {
            **{name: drawing.stage_class(name) for name in found.distinct("stage")},
            **{name: drawing.attention_class(name) for name in found.distinct("attention")},
        },
        "failed": FAILED,
        "good": GOOD,
        "facts": [[name, METRICS[name].heading, METRICS[name].scale, METRICS[name].digits] for name in _facts(found)],
    }


def _table(found: Points) -> list[Json]:
    """The table's columns: as a run's own table, and verdicts first."""
    names = [name for name in column_names() if name not in LEFT_OUT and found.has(name)]
    numbers = [
        {"name": name, "heading": METRICS[name].heading, "scale": METRICS[name].scale, "digits": METRICS[name].digits}
        for name in names
    ]
    words = [{"name": name, "heading": name, "scale": None, "digits": None} for name in ("verdict", *NAMES)]
    bound = [{"name": "bound", "heading": "bound", "scale": None, "digits": None}] if found.has("bound") else []
    return [*words, *numbers, *bound]


def _facts(found: Points) -> list[str]:
    """The numbers that stand above a point's ledger."""
    return [name for name in FACTS if found.has(name)]


def _known(environment: SweepEnvironment, document: Json) -> dict[str, str]:
    """What its document holds, in words."""
    known = {}
    for name, value in document.items():
        if name == "hosts":
            value = "; ".join(map(str, environment.hosts))
        elif isinstance(value, dict):
            value = ", ".join(f"{of}: {text}" for of, text in value.items())
        if value is not None:
            known[name.replace("_", " ")] = str(value)
    return known


def _packed(data: Json) -> str:
    """JSON, compressed, in letters that HTML gives no meaning."""
    text = json.dumps(data, separators=(",", ":"))
    return base64.b64encode(gzip.compress(text.encode(), mtime=0)).decode("ascii")


@cache
def _read(name: str) -> str:
    return (TEMPLATES / name).read_text(encoding="utf-8")


def _hash(script: str) -> str:
    """A script as a Content-Security-Policy names it."""
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
