"""What `ocrsweep compare` compares: reports, recorded baselines, and what models cost and devices allow."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import astuple, replace
from pathlib import Path

from ..baselines import counted, evidence, timed
from ..baselines.measurement import ENVIRONMENT, Environment, Measurement
from ..baselines.metrics import analytic, exact_numbers
from ..baselines.recorded_time import RecordedTime, expected_of
from ..baselines.result import components
from ..baselines.result_json import REMEDY
from ..baselines.sweep_report import Report
from ..errors import ReportError
from ..files import untrusted
from ..files.near_miss import did_you_mean
from ..model.geometry import CropGrid, Workload
from ..model.stages import STAGES
from ..sweep.catalogue import model_of
from ..sweep.session import describe
from . import compared_models, load, recorded_settings
from .comparison import ComparisonKey, Side, SidePoint, SideTime

DEVICE = "device:"
SHARED = tuple(name for name in ENVIRONMENT if name != "host")  # of both sides, and compared

Priced = Iterable[tuple[Workload, str, str]]  # workload, stage and attention of each point
Price = Callable[[Priced, Side | None], Side]  # points, and the recorded side that has them -> a side with them


def sides(first: str, second: str, grids: str | None = None, overrides: Sequence[str] = ()) -> tuple[Side, Side]:
    """Both sides, by path or by name; a model or a device is priced at the points of the other side.

    Where both are priced it is at `grids`, a sweep source, by default that of the configuration; what is recorded is
    narrowed to it. Raises OcrsweepError.
    """
    found = [_find(text, overrides) for text in (first, second)]
    recorded = [side for side in found if isinstance(side, Side)]
    if overrides and len(recorded) == 2:
        raise ReportError(
            f"--set {overrides[0]} is for a model or a device, and both sides are recorded:", "leave it out"
        )
    if recorded and (given := [text for text in overrides if text.startswith("workload")]):
        raise ReportError(f"--set {given[0]} changes nothing: {recorded[0].name} has its own workload:", "leave it out")
    if given := [text for text in overrides if text.startswith("device")]:
        raise ReportError(f"--set {given[0]} changes nothing: A and B name the devices:", "leave it out")
    if recorded:
        keys = [(key, point) for key, point in recorded[0].points.items() if not key.own]
        points = [(point.work, key.stage, str(key.attention)) for key, point in keys]
    else:
        points = _swept(grids, compared_models.chosen((first, second), overrides))
    beside = recorded[0] if recorded else None
    a, b = (side if isinstance(side, Side) else side(points, beside) for side in found)
    return (_narrowed(a, grids), _narrowed(b, grids)) if grids else (a, b)


def _find(text: str, overrides: Sequence[str]) -> Side | Price:
    path = Path(text)
    if text.startswith(DEVICE):
        return _device(text, overrides)
    if os.path.isdir(path) and not any((path / name).is_file() for name in (load.JSON, load.SQLITE)):
        if path.parent.name == "timed":
            return of_baselines(path.parent.parent, path.name, text)
        if any((path / f"{stage}.json").is_file() for stage in STAGES) or (path / "timed").is_dir():
            return of_baselines(path, None, text)
    if os.path.exists(path) or os.path.exists(text.rpartition("#")[0] or text):
        return of_report(load.load(text), text)
    return _model(text, overrides)


def of_report(report: Report, name: str) -> Side:
    """A report's points, and the code of the user's own."""
    points: dict[ComparisonKey, SidePoint] = {}
    for point in report.points:
        try:
            work = report.workload.on(point.grid)
        except ValueError as error:
            raise ReportError(f"{name}: {error};", REMEDY) from None
        numbers, floor = exact_numbers(point, point.analytic), point.floor
        points[ComparisonKey.of(work, point.stage, point.attention)] = SidePoint(
            work,
            {**numbers, "floor_ns": floor.time_ns} if floor else numbers,
            floor.bound if floor else None,
            point.components,
            _measured(point.vendor, report.environment) if point.vendor else None,
        )
    points |= _own(report)
    floors = {point.floor.device for point in report.points if point.floor}
    about = {"model": report.model, **{name: getattr(report.environment, name) for name in SHARED}}
    return Side(name, {**about, "floor_device": ", ".join(sorted(floors)) or None}, points)


def _own(report: Report) -> dict[ComparisonKey, SidePoint]:
    """Its FLOPs, as far as they were counted, and its time."""
    points = {}
    for result in report.own:
        work = report.workload.on(result.grid or CropGrid(1, 1))
        flops = result.counted.tensor_flops
        key = ComparisonKey(describe(work), *result.key[1:], own=result.name)
        ran_on = result.environment or report.environment
        time = _measured(result.measured, ran_on) if result.measured else None
        points[key] = SidePoint(work, {} if flops is None else {"tensor_flops": flops}, time=time)
    return points


def _measured(vendor: Measurement, environment: Environment) -> SideTime:
    seen = replace(vendor.observed, time_ns=vendor.device_ns.median)
    return SideTime(evidence.Baseline((vendor.process,), seen), _alike(vendor.clock, vendor.experts, environment))


def _alike(clock: str | None, experts: str | None, environment: Environment) -> dict[str, str | None]:
    return {"clock": clock, "experts": experts, "dtype": environment.dtype, "weights": environment.weights}


def _set_of(folder: Path) -> tuple[Path, str]:
    """The set that the folder lies in, and its name there: a model's, or one in it of another engine or precision."""
    for file in [folder / f"{stage}.json" for stage in STAGES]:
        try:
            name = json.loads(untrusted.read(file))["model"].split("/")
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            continue  # whoever reads it next says what is wrong
        if list(folder.absolute().parts[-len(name) :]) == name:
            return folder.absolute().parents[len(name) - 1], "/".join(name)
    return folder.parent, folder.name


def of_baselines(folder: Path, gpu: str | None, name: str) -> Side:
    """The recorded points of a model, counted and, of its only GPU or of the one asked for, timed."""
    folder = folder if folder.name else folder.resolve()  # where it is "."
    root, model = _set_of(folder)
    gpus = timed.gpu_folders(root, model)
    if gpu is None and len(gpus) > 1:
        choices = ", ".join(str(folder / "timed" / each) for each in gpus)
        raise ReportError(f"{name} has times of {len(gpus)} GPUs:", f"choose from {choices}")
    gpu = gpu or next(iter(gpus), None)
    points: dict[ComparisonKey, SidePoint] = {}
    environments: list[Environment] = []
    for stage in STAGES:
        numbers = counted.read(folder / f"{stage}.json", model, stage)
        times = timed.read(timed.file_of(root, model, gpu, stage), model, gpu, stage) if gpu else {}
        expected = expected_of(times.values())
        for (work, attention), of_point in numbers.items():
            stored = times.get(counted.PointKey(work, attention))
            environments += stored.environments if stored else ()
            time = _recorded(stored, expected) if stored else None
            points[ComparisonKey.of(work, stage, attention)] = SidePoint(work, of_point, time=time)
    ran_on = {name: {getattr(each, name) for each in environments} for name in SHARED}
    about = {name: next(iter(values)) if len(values) == 1 else None for name, values in ran_on.items()}
    return Side(name, {"model": model, **about, "floor_device": None}, points)


def _recorded(stored: RecordedTime, expected: float) -> SideTime:
    baseline = stored.baseline
    seen = replace(baseline.observed, time_ns=baseline.time_ns)
    alike = _alike(stored.clock, stored.experts, stored.environments[-1])
    return SideTime(evidence.Baseline(baseline.processes, seen), alike, expected)


def _model(name: str, overrides: Sequence[str]) -> Price:
    from ..sweep.config import compose, devices
    from ..sweep.search_path import choices

    if name not in choices("model"):
        models = ", ".join(sorted(choices("model")))
        near = f"; did you mean {DEVICE}{name}?" if name in devices() else did_you_mean(name, choices("model"))
        raise ReportError(
            f"{name}: there is no such report or folder of baselines, and no model of that name: models are {models}; "
            f"a device is {DEVICE}NAME{near}"
        )
    model = model_of(compose([f"model={name}", *overrides]))

    def price(points: Priced, _: Side | None) -> Side:
        found = {}
        for work, stage, attention in points:
            native = model.architecture.tiling.native
            if attention not in model.engine.attentions or (native and not native.makes(*astuple(work.grid))):
                continue  # only the other side has the point
            ledger = model.ledger(stage, work, attention)
            numbers = exact_numbers(ledger.work, analytic(ledger))
            found[ComparisonKey.of(work, stage, attention)] = SidePoint(work, numbers, components=components(ledger))
        return Side(
            " ".join([name, *overrides]), {"model": model.recorded_as, "dtype": model.architecture.dtype}, found
        )

    return price


def _device(text: str, overrides: Sequence[str]) -> Price:
    from ..hardware.roofline import floor
    from ..sweep.config import compose, devices

    name = text.removeprefix(DEVICE)
    if name not in devices():
        choices = f"choose from {', '.join(devices())}{did_you_mean(name, devices())}"
        raise ReportError(f"{text}: there is no device {name!r}:", choices)
    device = devices()[name]

    def price(points: Priced, beside: Side | None) -> Side:
        settings = recorded_settings.overrides(beside, overrides) if beside else overrides
        priced = model_of(compose(settings))
        if beside:
            recorded_settings.require_same(beside, text, priced, overrides)
        found = {}
        for work, stage, attention in points:
            ledger, key = priced.ledger(stage, work, attention), ComparisonKey.of(work, stage, attention)
            if beside:
                counts = exact_numbers(ledger.work, analytic(ledger))
                recorded_settings.require_same_numbers(beside, text, key, counts, settings)
            least = floor(ledger, device)
            found[key] = SidePoint(work, {"floor_ns": least.time_ns}, least.bound)
        return Side(text, {"model": priced.recorded_as, "floor_device": device.name}, found)

    return price


def _swept(grids: str | None, overrides: Sequence[str]) -> list[tuple[Workload, str, str]]:
    """Every stage and attention on each grid of a sweep source."""
    from ..sweep.config import compose
    from ..sweep.grid_sources import DEFAULT, entries
    from ..sweep.made_for import SweptFor

    settings = compose(overrides)
    try:
        works = [settings.workload.on(entry.grid) for entry in entries(grids or DEFAULT, SweptFor.of(settings))]
    except ValueError as error:
        raise ReportError(f"{error} (--grids chooses the grids)") from None
    return [(work, stage, how) for stage in STAGES for work in works for how in settings.engine.attentions]


def _narrowed(side: Side, grids: str) -> Side:
    from ..sweep.grid_sources import choice

    wanted = choice(grids, str(side.about["model"]))
    kept = {key: point for key, point in side.points.items() if wanted(point.work)}
    if side.points and not kept:
        has = ", ".join(dict.fromkeys(str(key.grid) for key in side.points))
        raise ReportError(f"{side.name} has none of the grids of --grids {grids}:", f"choose from {has}")
    return Side(side.name, side.about, kept)
