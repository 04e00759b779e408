"""Judged serving points as lines for a terminal, as Markdown for a pull request, and as JSON in base units."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ..baselines.counted import SCHEMA
from ..baselines.json_layout import Json
from ..baselines.recorded_file import Recorded
from ..baselines.serving import KEY, ServingKey
from ..baselines.serving_gate import CAP, Judged, ServingVerdict, percent, worst
from ..baselines.serving_metrics import SERVING_METRICS
from ..files.text import markdown
from .table import aligned, points

HEAD = ("", "recorded", "now", "change", "margin", "runs", "verdict")
JUDGED = (ServingVerdict.PASS, ServingVerdict.FAIL, ServingVerdict.IMPROVED)


@dataclass(frozen=True, slots=True)
class JudgedServing:
    """A point of some files: its metrics, those whose recorded runs drifted, and what a person should know."""

    model: str
    gpu: str
    engine: str
    key: ServingKey
    files: tuple[str, ...]
    judged: tuple[Judged, ...]
    drifted: tuple[Judged, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def verdict(self) -> ServingVerdict:
        return ServingVerdict.FAIL if self.drifted else worst(self.judged)

    @property
    def is_red(self) -> bool:
        return self.verdict is ServingVerdict.FAIL

    @property
    def is_judged(self) -> bool:
        """Whether at least one metric was compared with what is recorded."""
        return any(each.verdict in JUDGED for each in self.judged)

    @property
    def place(self) -> str:
        """The file of baselines that it belongs to, in words."""
        return f"{self.model} on {self.gpu}, {self.engine}"


def lines(found: Sequence[JudgedServing]) -> Iterator[str]:
    """For a terminal: a table a point, then the summary."""
    place = None
    for point in found:
        if point.place != place:
            yield point.place
        place = point.place
        several = f" ({len(point.files)} runs, judged together)" if len(point.files) > 1 else ""
        yield f"{point.key}{several}"
        yield from aligned([HEAD, *map(_row, point.judged)], left=(0, -1))
        yield from (f"  {note}" for note in notes(point))
        yield ""
    yield from summary(found)


def _row(each: Judged) -> tuple[str, ...]:
    metric = SERVING_METRICS[each.metric]
    change = "-" if each.change is None else percent(each.change)
    runs = str(each.runs) if each.runs else "-"
    return (
        metric.heading,
        metric.show(each.recorded),
        metric.show(each.value),
        change,
        _percent(each.margin),
        runs,
        each.verdict,
    )


def notes(point: JudgedServing) -> Iterator[str]:
    """What a person should know of a point, each once."""
    for each in point.drifted:
        yield f"{_changed(each)}: so far have the recorded runs drifted from the first ones; --accept takes new ones"
    reasons: dict[str, list[str]] = {}
    for each in point.judged:
        if each.why:
            reasons.setdefault(each.why, []).append(SERVING_METRICS[each.metric].heading)
    yield from (f"{', '.join(headings)}: {why}" for why, headings in reasons.items())
    yield from dict.fromkeys(point.notes)


def summary(found: Sequence[JudgedServing]) -> Iterator[str]:
    """What all came to, worst last."""
    for point in found:
        if blind := [each for each in point.judged if each.is_blind]:
            named = ", ".join(f"{SERVING_METRICS[each.metric].heading} ({_percent(each.margin)})" for each in blind)
            yield f"cannot see {100 * CAP:g} %, by their margins: {named} at {point.key}; record more runs"
    if new := [point for point in found if point.verdict is ServingVerdict.NEW and not point.is_judged]:
        yield f"{points(len(new))} without a baseline: record with --update"
    red = [point for point in found if point.is_red]
    for point in red:
        yield f"RED: {', '.join(map(_changed, (*_failed(point.judged), *point.drifted)))} at {point.key}"
    judged = sum(each.verdict in JUDGED for point in found for each in point.judged)
    if judged and not red:
        yield f"GREEN: {_metrics(judged)} of {points(sum(point.is_judged for point in found))} judged, none worse"


def _changed(each: Judged) -> str:
    return f"{SERVING_METRICS[each.metric].heading} {percent(each.change or 0)}"


def _percent(ratio: float | None) -> str:
    return "-" if ratio is None else f"{100 * ratio:.1f} %"


def _metrics(count: int) -> str:
    return f"{count} metric{'' if count == 1 else 's'}"


def _failed(judged: Sequence[Judged]) -> list[Judged]:
    return [each for each in judged if each.verdict is ServingVerdict.FAIL]


def page(found: Sequence[JudgedServing]) -> str:
    """Markdown: what fails first, then a table a point."""
    red = [point for point in found if point.is_red]
    text = [f"## Serving: {points(len(found))}, {f'{len(red)} red' if red else 'none red'}", ""]
    for point in sorted(found, key=lambda point: not point.is_red):
        text += [f"### {markdown(point.place)}: {markdown(point.key)}", ""]
        text += ["| | " + " | ".join(HEAD[1:]) + " |", "|---|--:|--:|--:|--:|--:|---|"]
        text += ["| " + " | ".join(map(markdown, _row(each))) + " |" for each in point.judged]
        text += ["", *(f"- {markdown(note)}" for note in (*notes(point), *map("from {}".format, point.files))), ""]
    return "\n".join([*text, *map(markdown, summary(found)), ""])


def as_json(found: Sequence[JudgedServing], recorded: Sequence[Recorded] = ()) -> Json:
    """All of it, in base units; null is what is not known."""
    return {
        "schema": SCHEMA,
        "red": any(point.is_red for point in found),
        "points": [_point(point) for point in found],
        "recorded": [
            {"file": str(done.path), **{name: getattr(done, name) for name in ("added", "changed", "same", "kept")}}
            for done in recorded
        ],
    }


def _point(point: JudgedServing) -> Json:
    metrics = {each.metric: each for each in point.judged}
    return {
        "model": point.model,
        "gpu": point.gpu,
        "engine": point.engine,
        "pages": str(point.key.pages),
        **{name: getattr(point.key, name) for name in KEY[1:]},
        "verdict": point.verdict,
        "metrics": {name: _metric(metrics[name]) if name in metrics else None for name in SERVING_METRICS},
        "drifted": {each.metric: each.change for each in point.drifted},
        "files": list(point.files),
        "notes": list(notes(point)),
    }


def _metric(each: Judged) -> Json:
    return {
        "value": each.value,
        "unit": SERVING_METRICS[each.metric].unit,
        "better": SERVING_METRICS[each.metric].better,
        "recorded": each.recorded,
        "change": each.change,
        "margin": each.margin,
        "runs": each.runs,
        "verdict": each.verdict,
    }
