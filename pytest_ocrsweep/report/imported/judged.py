"""Runs of tools, grouped by their points, beside what is recorded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ...baselines.serving import ServingKey
from ...baselines.serving_gate import ServingNoise, judge
from ...baselines.serving_memory import ServingPoints, differences, drifts, incomparable
from ...baselines.serving_metrics import SERVING_METRICS
from ...baselines.serving_store import nearest
from ..serving import JudgedServing
from .placed import Placed


def judged(
    model: str, gpu: str, engine: str, placed: Sequence[Placed], stored: ServingPoints, noise: ServingNoise
) -> Iterator[JudgedServing]:
    """Each point of the runs; runs of one point are judged together."""
    for key, group in by_point(placed, stored).items():
        runs = [each.run for each in group]
        recorded = stored.get(key)
        other = incomparable(recorded.runs, runs[-1]) if recorded else []
        known = ServingNoise({k: v for k, v in noise.points.items() if k != key}) if other else noise
        yield JudgedServing(
            model,
            gpu,
            engine,
            key,
            tuple(each.where for each in group),
            tuple(judge(key, runs, known)),
            tuple(drifts(key, recorded, noise)) if recorded and not other else (),
            tuple(_notes(key, group, stored, other)),
        )


def by_point(placed: Sequence[Placed], stored: ServingPoints) -> dict[ServingKey, list[Placed]]:
    """The runs by the recorded point that is nearest; those of a new one by the first of them."""
    groups: dict[ServingKey, list[Placed]] = {}
    for each in placed:
        key = nearest(stored, each.key)
        groups.setdefault(key if key in stored else nearest(groups, key), []).append(each)
    return groups


def _notes(key: ServingKey, group: Sequence[Placed], stored: ServingPoints, other: Sequence[str]) -> Iterator[str]:
    for each in group:
        yield from (f"{each.where}: {note}" for note in each.notes)
    if other:
        yield f"other work than what is recorded: {', '.join(other)}"
    if recorded := stored.get(key):
        yield from differences(recorded.runs, group[-1].run)
        gone = {name for run in recorded.runs for name in run.metrics} - {m for each in group for m in each.run.metrics}
        headings = [metric.heading for name, metric in SERVING_METRICS.items() if name in gone]
        if headings:
            yield f"recorded, and not in what was given: {', '.join(headings)}"
        if count := len(recorded.pending):
            runs = "1 recorded run disagrees" if count == 1 else f"{count} recorded runs disagree"
            yield f"{runs} with the others, and nothing is compared with {'it' if count == 1 else 'them'}"
