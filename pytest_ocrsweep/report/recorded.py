"""Committed baselines, counted and timed, as a report document: the reports of a GPU without the GPU."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

from ..baselines import counted, gate, result, timed
from ..baselines.counted import Key
from ..baselines.metrics import values
from ..baselines.result import Row
from ..hardware import roofline
from ..model.analytic import Model
from ..model.stages import STAGES
from ..sweep.grid_sources import SourceError, entries

REMEDY = "record both with pytest suites/ --ocrsweep-update"


class TimesError(ValueError):
    """Times that cannot be shown, in one line that says what to do."""


class Source(NamedTuple):
    """Which recorded times: below a folder of baselines, of a model, on a GPU by its folder's name."""

    folder: Path
    model: str
    gpu: str


@dataclass(frozen=True, slots=True)
class RecordedPoint:
    """A recorded time and the counted costs of the same point; `margin` is the gate's, a ratio."""

    stage: str
    key: Key
    stored: timed.Stored
    counted: dict[str, int]
    margin: float

    @property
    def name(self) -> str:
        """Stage, grid and attention."""
        return f"{self.stage} {self.key.work.grid} {self.key.attention}"

    @property
    def processes(self) -> int:
        """How many the time was recorded in."""
        return len(self.stored.baseline.processes)

    @property
    def apart(self) -> float | None:
        """How far the processes' medians lie apart, as a ratio; None for a single process."""
        medians = [process.median_ns for process in self.stored.baseline.processes]
        return (max(medians) - min(medians)) / self.stored.baseline.time_ns if len(medians) > 1 else None

    @property
    def peak_off(self) -> float | None:
        """How far the counted peak memory lies from the measured, as a ratio; None where it was not measured."""
        measured = self.stored.baseline.observed.peak_bytes
        return self.counted["peak_activation_bytes"] / measured - 1 if measured else None

    @property
    def values(self) -> dict[str, float | None]:
        """Every metric of the point, as a run that found it would show it; decode's are of all its new tokens."""
        work, stored = self.key.work, self.stored
        measured = {"device_ns": stored.baseline.time_ns, "wall_ns": stored.wall_median_ns}
        row: Row = {
            "stage": self.stage,
            "grid": str(work.grid),
            "attention": self.key.attention,
            "image_tokens": work.image_tokens,
            "context_tokens": work.context_tokens,
            "new_tokens": work.new_tokens,
            "batch": work.batch,
            "analytic": self.counted,
            "floor": None,
            "vendor": {"clock": stored.clock, **{name: {"median": ns} for name, ns in measured.items()}},
            "verdict": "",
        }
        return values(row)


def recorded(source: Source, grids: str | None = None) -> list[RecordedPoint]:
    """The points of a sweep source, or all, by stage, grid and attention. Raises TimesError, BaselineError."""
    try:
        wanted = {entry.grid for entry in entries(grids)} if grids else None
    except SourceError as error:
        raise TimesError(f"--grids: {error}") from None
    folder, model, gpu = source
    found = []
    for stage in STAGES:
        numbers = counted.read(counted.file_of(folder, model, stage), model, stage)
        times = timed.read(timed.file_of(folder, model, gpu, stage), model, gpu, stage)
        expected = gate.expected_noise(stored.baseline for stored in times.values())
        for key, stored in times.items():
            if wanted is not None and key.work.grid not in wanted:
                continue
            if key not in numbers:
                raise TimesError(f"{stage} {key.work.grid} {key.attention} has a time, but no counted costs: {REMEDY}")
            found.append(RecordedPoint(stage, key, stored, numbers[key], gate.margin(stored.baseline, expected)))
    if not found:
        what = f"of {model} on {gpu}{f' at {grids}' if grids else ''}"
        raise TimesError(f"no times {what} are recorded in {folder}: {REMEDY}")
    return found


def document(baselines: Path, model: str, gpu: str, grids: str | None = None) -> dict[str, Any]:
    """The points of `model` recorded on `gpu`, a folder's name, of a sweep source or all of them.

    Components and floors are of the analytic model as it is now. Raises TimesError, BaselineError, ConfigError.
    """
    from ..sweep.config import compose, device_of

    found = recorded(Source(baselines, model, gpu), grids)
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


def _workload(point: RecordedPoint) -> tuple[tuple[str, Any], ...]:
    """A point's workload without its grid, as a document holds it."""
    return tuple((name, value) for name, value in asdict(point.key.work).items() if name != "grid")


def _row(analytic: Model, point: RecordedPoint, device: roofline.Device | None) -> Mapping[str, Any]:
    work, stored = point.key.work, point.stored
    ledger = analytic.ledger(point.stage, work, point.key.attention)
    row = result.row(point.stage, work, point.key.attention, ledger, _vendor(point))
    if device:
        row["floor"] = result.timed_floor(ledger, device, round(stored.baseline.time_ns))
    row["verdict"] = "RECORDED"
    return {**row, "components": result.components(ledger)}


def _vendor(point: RecordedPoint) -> dict[str, Any]:
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
