"""Recorded serving points as JSON: a row a point, read strictly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields

from ..files.text import quoted
from .counted import exactly, whole
from .json_layout import Json
from .recorded_time import KEPT
from .serving import KEY, Pages, Provenance, ServingKey, ServingRun
from .serving_memory import RecordedServing
from .serving_metrics import SERVING_METRICS, Figure
from .timed_rows import text

LISTS = ("runs", "anchor", "pending")
FIELDS = (*KEY, *LISTS)
RUN = ("provenance", "date", "requests", "metrics", "samples")
PROVENANCE = tuple(each.name for each in fields(Provenance))


def row(key: ServingKey, stored: RecordedServing, known: list[Provenance]) -> Json:
    """A point as the file holds it; `known` are the file's provenances, which runs name by their place."""
    lists = {name: [_run(run, known) for run in getattr(stored, name)] for name in LISTS}
    return {"pages": str(key.pages), **{name: getattr(key, name) for name in KEY[1:]}, **lists}


def _run(run: ServingRun, known: list[Provenance]) -> Json:
    figures = {name: run.metrics[name] for name in SERVING_METRICS if name in run.metrics}
    return {
        "provenance": known.index(run.provenance),
        "date": run.date,
        "requests": run.requests,
        "metrics": {name: run.value(name) for name in SERVING_METRICS},
        "samples": {name: [figure.q1, figure.q3, figure.samples] for name, figure in figures.items() if figure.samples},
    }


def point(raw: object, known: Sequence[Provenance]) -> tuple[ServingKey, RecordedServing]:
    """A row's key and what is recorded there. Raises ValueError."""
    fields = exactly(raw, FIELDS)
    key = ServingKey(Pages.parse(fields["pages"]), **{name: fields[name] for name in KEY[1:]})
    runs, anchor, pending = (_runs(fields, name, known, least=name != "pending") for name in LISTS)
    return key, RecordedServing(runs, anchor, pending)


def _runs(raw: Json, name: str, known: Sequence[Provenance], least: int) -> tuple[ServingRun, ...]:
    if not isinstance(raw[name], list) or not least <= len(raw[name]) <= KEPT:
        raise ValueError(f"{name} must be a list of {int(least)} to {KEPT}")
    return tuple(_read_run(each, known) for each in raw[name])


def _read_run(raw: object, known: Sequence[Provenance]) -> ServingRun:
    fields = exactly(raw, RUN)
    at = whole(fields, "provenance")
    if at >= len(known):
        raise ValueError(f"provenance {at} is not there: the file has {len(known)}, counted from 0")
    values, spreads = exactly(fields["metrics"], tuple(SERVING_METRICS)), fields["samples"]
    measured = {name for name, value in values.items() if value is not None}
    if not isinstance(spreads, dict) or not spreads.keys() <= measured:
        raise ValueError("samples must be an object of metrics that were measured")
    metrics = {name: _figure(values[name], spreads.get(name)) for name in SERVING_METRICS if name in measured}
    return ServingRun(metrics, whole(fields, "requests", least=1), known[at], text(fields, "date"))


def _figure(value: float, spread: object) -> Figure:
    if spread is None:
        return Figure(value)
    if not isinstance(spread, list) or len(spread) != 3:
        raise ValueError(f"samples must be [q1, q3, number], got {quoted(spread)}")
    return Figure(value, *spread)


def about(provenance: Provenance) -> dict[str, str | None]:
    return {name: getattr(provenance, name) for name in PROVENANCE}


def read_provenance(raw: object) -> Provenance:
    """What measured runs, with every field. Raises ValueError."""
    fields = exactly(raw, PROVENANCE)
    return Provenance(*(text(fields, name) for name in PROVENANCE))
