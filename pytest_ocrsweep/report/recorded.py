"""Committed baselines, counted and timed, as a report: that of a GPU without the GPU."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from ..baselines import counted, gate, timed
from ..baselines.counted import PointKey
from ..baselines.metrics import analytic
from ..baselines.recorded_time import RecordedTime, expected_of
from ..baselines.result import EstimateResult, FloorResult, PointResult, components
from ..baselines.sweep_report import Report, SweepEnvironment, SweepWorkload
from ..baselines.verdict import Verdict
from ..errors import ReportError, SourceError
from ..hardware.devices import Device
from ..model.analytic import Model
from ..model.geometry import CropGrid, Workload
from ..model.stages import STAGES
from ..sweep.grid_sources import choice

REMEDY = "record both with pytest suites/ --ocrsweep-update"


class Source(NamedTuple):
    """Which recorded times: below a folder of baselines, of a model, on a GPU by its folder's name."""

    folder: Path
    model: str
    gpu: str


@dataclass(frozen=True, slots=True)
class RecordedPoint:
    """A recorded time and the counted costs of the same point; `margin` is the gate's, a ratio."""

    stage: str
    key: PointKey
    stored: RecordedTime
    counted: dict[str, int]
    margin: float


def recorded(source: Source, grids: str | None = None) -> list[RecordedPoint]:
    """The points of a sweep source, or all, by stage, grid and attention. Raises OcrsweepError."""
    wanted = choice(grids, source.model) if grids else None
    try:
        found = _recorded(source, wanted)
        if not found and wanted is not None:
            wanted(Workload(CropGrid(1, 1)))  # a source that is wrong is what to say
    except SourceError as error:
        raise error.at("--grids") from None
    if not found:
        what = f"of {source.model} on {source.gpu}{f' at {grids}' if grids else ''}"
        raise ReportError(f"no times {what} are recorded in {source.folder}:", REMEDY)
    return found


def _recorded(source: Source, wanted: Callable[[Workload], bool] | None) -> list[RecordedPoint]:
    folder, model, gpu = source
    found = []
    for stage in STAGES:
        numbers = counted.read(counted.file_of(folder, model, stage), model, stage)
        times = timed.read(timed.file_of(folder, model, gpu, stage), model, gpu, stage)
        expected = expected_of(times.values())
        for key, stored in times.items():
            if wanted is not None and not wanted(key.work):
                continue
            if key not in numbers:
                raise ReportError(f"{stage} {key.work.grid} {key.attention} has a time, but no counted costs:", REMEDY)
            found.append(RecordedPoint(stage, key, stored, numbers[key], gate.margin(stored.baseline, expected)))
    return found


def report(baselines: Path, model: str, gpu: str, grids: str | None = None) -> Report:
    """The points of `model` recorded on `gpu`, a folder's name, of a sweep source or all of them.

    Components and floors are of the analytic model as it is now. Raises OcrsweepError.
    """
    from ..sweep.config import compose, device_of

    found = recorded(Source(baselines, model, gpu), grids)
    workloads = list(dict.fromkeys(SweepWorkload.of(each.key.work) for each in found))
    if len(workloads) > 1:
        raise ReportError(f"{len(workloads)} workloads are recorded of {model} on {gpu}: a report is of one")
    architecture = compose([f"model={model}"]).model
    latest = found[-1].stored.environments[-1]
    priced, device = Model(architecture), device_of(latest.gpu)
    environment = SweepEnvironment.of(architecture, latest.git_revision, latest)
    return Report.of(model, workloads[0], environment, [_point(priced, each, device) for each in found])


def _point(model: Model, recorded: RecordedPoint, device: Device | None) -> PointResult:
    stage, attention = recorded.stage, recorded.key.attention
    work = recorded.key.work.cut_by(model.architecture.tiling)
    ledger, vendor = model.ledger(stage, work, attention), recorded.stored.measurement
    floor = FloorResult.of(ledger, device, vendor.device_ns.median) if device else None
    estimate = EstimateResult.of(ledger, device) if device else None
    return PointResult.of(
        stage, work, attention, analytic(ledger), floor, vendor, Verdict.RECORDED, components(ledger), estimate
    )
