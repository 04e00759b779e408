"""Committed baselines, counted and timed, as a report document: the reports of a GPU without the GPU."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..baselines import result
from ..hardware import roofline
from ..model.stages import Model
from . import times
from .times import Point, Source, TimesError


def document(baselines: Path, model: str, gpu: str, grids: str | None = None) -> dict[str, Any]:
    """The points of `model` recorded on `gpu`, a folder's name, of a sweep source or all of them.

    Components and floors are of the analytic model as it is now. Raises TimesError, BaselineError, ConfigError.
    """
    from ..sweep.config import compose, device_of

    found = times.recorded(Source(baselines, model, gpu), grids)
    works = dict.fromkeys(_workload(point) for point in found)
    if len(works) > 1:
        raise TimesError(f"{len(works)} workloads are recorded of {model} on {gpu}: a report is of one")
    architecture = compose([f"model={model}"]).model
    analytic = Model(architecture)
    environment = dict(found[-1].stored.environments[-1])
    device = device_of(environment["gpu"])
    rows = [_row(analytic, point, device) for point in found]
    measured = {name: text for name, text in environment.items() if name != "git_revision"}
    about = result.environment(architecture, environment["git_revision"], measured)
    return result.document(model, dict(next(iter(works))), about, rows)


def _workload(point: Point) -> tuple[tuple[str, Any], ...]:
    """A point's workload without its grid, as a document holds it."""
    return tuple((name, value) for name, value in asdict(point.key.work).items() if name != "grid")


def _row(analytic: Model, point: Point, device: roofline.Device | None) -> Mapping[str, Any]:
    work, stored = point.key.work, point.stored
    ledger = analytic.ledger(point.stage, work, point.key.attention)
    row = result.row(point.stage, work, point.key.attention, ledger, _vendor(point))
    if device:
        row["floor"] = result.timed_floor(ledger, device, round(stored.baseline.time_ns))
    row["verdict"] = "RECORDED"
    return {**row, "components": result.components(ledger)}


def _vendor(point: Point) -> dict[str, Any]:
    """What was measured, over all recorded processes; samples are not kept."""
    stored = point.stored
    processes, seen = stored.baseline.processes, stored.baseline.observed
    quartiles = [min(each.q1_ns for each in processes), max(each.q3_ns for each in processes)]
    wall = stored.wall_median_ns
    return {
        **{name: stored.environments[-1][name] for name in ("host", "gpu")},
        "tensor_flops": seen.tensor_flops,
        "device_ns": {"median": round(stored.baseline.time_ns), "q1": round(quartiles[0]), "q3": round(quartiles[1])},
        "wall_ns": None if wall is None else {"median": wall},
        "peak_bytes": seen.peak_bytes,
        "clock": stored.clock,
        "experts": stored.experts,
        "kernels": seen.kernels,
        "sm_clock_mhz": seen.sm_clock_mhz,
    }
