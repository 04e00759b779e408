"""A report as one page that needs no network: `page` puts data, charts, style and scripts into its template."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
from collections import Counter
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
from . import own
from .charts import Chart, charts
from .columns import Points, points
from .time_lines import time_lines

TEMPLATES = Path(__file__).parent / "templates"
FACTS = (
    *("flops", "moved_bytes", "weight_bytes", "kv_cache_bytes", "peak_activation_bytes", "flops_per_token"),
    *("moved_bytes_per_token", "floor_ns", "estimate_ns", "estimate_low_ns", "estimate_high_ns"),
    *("device_ns", "attained", "wall_ns"),
)
LEFT_OUT = ("flops_per_token", "moved_bytes_per_token")  # of the table: facts of a point alone
GOOD = (Verdict.PASS, Verdict.RECORDED)


def page(report: Report, drawn: Sequence[Chart] | None = None) -> str:
    """A report as HTML, its data compressed inside, with its charts or others of it: those beside a baseline."""
    import jinja2

    document = to_json(replace(report, points=()))
    drawn = charts(report) if drawn is None else drawn
    found, profiles = drawn[0].points if drawn else points(report), time_lines(report)
    scripts = [_read("page.js"), _vega()]
    strict = jinja2.StrictUndefined
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=strict)
    return environment.from_string(_read("index.html.j2")).render(
        title=f"{report.model}, {found.count:,} points",
        model=report.model,
        workload=document["workload"],
        environment=_known(report.environment, document["environment"]),
        device=_devices(report),
        verdicts=_verdicts(found),
        failed=FAILED,
        filters={name: found.distinct(name) for name in ("stage", "attention")},
        table=_table(found),
        charts=drawn,
        profiled={place: str(report.points[place]) for place in profiles["points"]},
        recorded=list(report.history),
        own=own.cells(report.own),
        own_header=own.HEADER,
        own_notes=list(own.notes(report.own)),
        style=_read("page.css"),
        scripts=scripts,
        hashes=[_hash(script) for script in scripts],
        data=_packed(_data(found, drawn) | {"profiles": profiles, "history": document.get("history", {})}),
    )


def _data(found: Points, drawn: Sequence[Chart]) -> Json:
    paths = dict.fromkeys(name.rpartition(":")[0] for name in found.columns if ":" in name)
    return {
        "columns": found.columns,
        "charts": [{"name": chart.name, "spec": chart.spec(), "fields": chart.fields()} for chart in drawn],
        "paths": list(paths),
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


def _verdicts(found: Points) -> list[tuple[str, int]]:
    """How many of each, those that fail first."""
    counts = Counter(found.columns.get("verdict", ()))
    return sorted(counts.items(), key=lambda item: (item[0] not in FAILED, item[0] in GOOD, item[0]))


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


def _devices(report: Report) -> str:
    return ", ".join(sorted({point.floor.device for point in report.points if point.floor}))


def _packed(data: Json) -> str:
    """JSON, compressed, in letters that HTML gives no meaning."""
    text = json.dumps(data, separators=(",", ":"))
    return base64.b64encode(gzip.compress(text.encode(), mtime=0)).decode("ascii")


def _read(name: str) -> str:
    return (TEMPLATES / name).read_text(encoding="utf-8")


def _hash(script: str) -> str:
    """A script as a Content-Security-Policy names it."""
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")


@cache
def _vega() -> str:
    """Vega-Embed, Vega-Lite and Vega as one script; making it takes a second."""
    import vl_convert

    script: str = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed; window.dispatchEvent(new Event('vega'));")
    return script.replace("</script", "<\\/script")
