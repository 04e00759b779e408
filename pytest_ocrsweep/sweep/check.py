"""One point, without pytest, as a pipeline of values: price, measure, compare, decide."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from ..baselines import counted
from ..baselines.counted import PointKey
from ..baselines.measurement import Environment
from ..baselines.metrics import analytic, exact_numbers
from ..baselines.moved import Moved
from ..baselines.recorded_time import RecordedTime
from ..baselines.result import Analytic, FloorResult, PointResult
from ..baselines.verdict import Verdict, worst
from ..errors import ArgumentError, DeviceLost, EngineError, OutOfMemory
from ..model.analytic import check_names
from ..model.geometry import CropGrid, Workload
from ..model.ledger import Ledger
from .energy_parts import energy_part
from .explain import Measured
from .meters import has_time
from .parts import PASSED, Part, short_of, short_of_counted
from .session import Sweep, describe
from .time_parts import drifted_part, floor_part, time_part
from .timed_point import TimedPoint

# What to do about a point that a device does not hold.
SMALLER = "make it smaller, free the device of others, run it by itself, or count it only (--ocrsweep-analytic-only)"


class Judgement(NamedTuple):
    """A point's result, what it was timed on, and why it did not pass."""

    point: PointResult
    environment: Environment | None
    failure: str | None
    skip: str | None
    short: str | None = None  # the failure in a few words: each metric that failed, and its change


@dataclass(frozen=True, slots=True)
class Priced:
    """A point and what it costs."""

    stage: str
    work: Workload
    attention: str
    ledger: Ledger
    analytic: Analytic
    own: str = ""  # the name of the user's own code, which is timed there

    @property
    def key(self) -> PointKey:
        """What its baselines are found by, within a stage."""
        return PointKey(self.work, self.attention)

    @property
    def timed(self) -> TimedPoint:
        """What is timed, on random pixels."""
        return TimedPoint(self.stage, self.work, self.attention, own=self.own)

    def __str__(self) -> str:
        return str(self.timed)


@dataclass(frozen=True, slots=True)
class Timing:
    """A point's time and the recorded one; or why the point was not timed, although that was asked for."""

    measured: Measured | None = None
    recorded: RecordedTime | None = None
    missing: Part | None = None
    environment: Environment | None = None


def asked(sweep: Sweep, stage: str, grid: CropGrid | str, attention: str) -> CropGrid:
    """The grid of a point that a test asks for. Raises ArgumentError if there is no such point."""
    try:
        check_names(stage, attention)
        return sweep.settings.workload.on(CropGrid.of(grid)).grid
    except ValueError as error:
        raise ArgumentError(f"ocrsweep.check: {error}") from None


def judge(sweep: Sweep, stage: str, grid: CropGrid, attention: str, file: Path) -> Judgement:
    """Count one point, time it, compare both with their baselines; `file` holds the test, for the remedy."""
    priced = price(sweep, stage, grid, attention)
    timing = measure(sweep, priced)
    floor = floor_beside(sweep, priced, timing)
    return decide(priced, timing, floor, compare(sweep, priced, timing, floor, file))


def price(sweep: Sweep, stage: str, grid: CropGrid, attention: str) -> Priced:
    """What the point costs, counted."""
    work = sweep.settings.workload.on(grid)
    ledger = sweep.model.ledger(stage, work, attention)
    return Priced(stage, work, attention, ledger, analytic(ledger))


def measure(sweep: Sweep, priced: Priced) -> Timing:
    """The point on the reference model, if it is to be timed."""
    if not sweep.times(priced.work.grid) or not has_time(sweep.settings, priced.stage):
        return Timing()
    if not sweep.measures:
        why = f"--ocrsweep-require-vendor: nothing was measured: {sweep.unmeasured}"
        return Timing(missing=Part(Verdict.FAIL, why) if sweep.options.require_vendor else None)
    if sweep.meter.lost:
        why = f"not timed: {sweep.meter.lost}"
        required = sweep.options.require_vendor
        return Timing(missing=Part(Verdict.NO_SAMPLE, why) if required else Part(Verdict.NO_SAMPLE, skip=why))
    measured, missing, gpu = None, None, ""
    point = priced.timed._replace(page=sweep.page_of(priced.work.grid))
    try:
        gpu = sweep.meter.gpu
        by = sweep.offsets.yardstick(priced.stage, priced.key)
        measured = sweep.meter.measure(point, by)
    except OutOfMemory as error:
        needed = _needed(priced.analytic)
        why = f"{error}, and the point needs {needed}: {SMALLER}"
        missing = Part(Verdict.FAIL, f"{priced}: {why}", short=why)
    except DeviceLost as error:
        missing = Part(Verdict.FAIL, f"{priced} on {gpu}: {error}", short=str(error))
    except EngineError as error:
        return Timing(missing=Part(Verdict.FAIL, f"{priced}: {error}", short=str(error)))
    # Only now a checkpoint is loaded, and the environment knows of it.
    recorded = sweep.timed_of(priced.stage, gpu).get(priced.key)
    return Timing(measured, recorded, missing, sweep.meter.environment())


def floor_beside(sweep: Sweep, priced: Priced, timing: Timing) -> FloorResult | None:
    """The floor on the device that was measured, or on that of the settings; None where the catalogue lacks it."""
    on_device = timing.environment is not None  # also where it failed, or had no memory for the point
    device = sweep.measured_device if on_device else sweep.settings.device
    median = timing.measured.measurement.device_ns.median if timing.measured else None
    return FloorResult.of(priced.ledger, device, median) if device else None


def compare(sweep: Sweep, priced: Priced, timing: Timing, floor: FloorResult | None, file: Path) -> list[Part]:
    """A verdict on each thing that there is to compare."""
    parts = [_counted(sweep, priced, file)]
    if timing.missing:
        parts.append(timing.missing)
    if timing.measured:
        parts.append(time_part(sweep, priced, timing.measured, timing.recorded, file))
        parts.append(drifted_part(sweep, priced, timing.measured.measurement))
        parts.append(energy_part(sweep, priced, timing.measured, timing.recorded, file))
        if timing.measured.unprofiled and sweep.options.profile:
            why = f"no profile: {timing.measured.unprofiled}"
            parts.append(Part(Verdict.FAIL, f"{priced} has {why}", short=why))
        if floor:
            flops = priced.analytic["tensor_flops"]
            parts.append(floor_part(sweep, priced, flops, timing.measured.measurement, timing.recorded, floor))
    return parts


def decide(priced: Priced, timing: Timing, floor: FloorResult | None, parts: list[Part]) -> Judgement:
    """The point with the worst of its verdicts, and why it has it."""
    vendor = timing.measured.measurement if timing.measured else None
    verdict = worst(*(part.verdict for part in parts))
    moved = tuple(each for part in parts for each in part.moved)
    found = (priced.analytic, floor, vendor, verdict)
    point = PointResult.of(priced.stage, priced.work, priced.attention, *found, moved=moved)
    failures = [part.failure for part in parts if part.failure]
    skips = [part.skip for part in parts if part.skip]
    if not failures:
        return Judgement(point, timing.environment, None, "; ".join(skips) or None)
    return Judgement(point, timing.environment, "\n".join(failures), None, short_of(parts))


def _counted(sweep: Sweep, priced: Priced, file: Path) -> Part:
    """The counted numbers, compared exactly."""
    options, stage = sweep.options, priced.stage
    old = sweep.recorded[stage].get(priced.key)
    changes = counted.compare(old, exact_numbers(priced.work, priced.analytic)) if old else []
    if options.update:
        return PASSED if old and not changes else Part(Verdict.RECORDED)
    if old is None:
        return _missing(sweep, priced, file)
    if not changes:
        return PASSED
    lines = [f"{priced} is not what {options.shown(sweep.file_of(stage))} records:"]
    lines += [f"  {change}" for change in changes]
    accept = options.accepting(file)
    moved = tuple(Moved.counted(each.metric, each.old, each.new, accept) for each in changes)
    return Part(Verdict.FAIL, "\n".join([*lines, accept]), short=short_of_counted(changes), moved=moved)


def _missing(sweep: Sweep, priced: Priced, file: Path) -> Part:
    """A hole in what should be recorded is a failure; what was asked for beyond it is skipped."""
    options, stage, work = sweep.options, priced.stage, priced.work
    in_default = options.grids is None and work.grid in sweep.source and not options.read_only
    if in_default and any(sweep.known.values()):  # a file of this workload is lost, or a point in one
        lines = [
            f"no baseline recorded for {priced} of workload "
            f"{describe(work)} in {options.shown(sweep.file_of(stage))}; to record it:",
            options.accepting(file),
        ]
        return Part(Verdict.FAIL, "\n".join(lines), short="no baseline: recorded by --ocrsweep-update")
    what = f"no baseline for {f'grid {work.grid}' if sweep.known[stage] else f'workload {describe(work)}'}"
    if options.missing_fails:  # the summary says once how to record them all
        return Part(Verdict.FAIL, f"{what}, and ocrsweep_missing=fail")
    return Part(Verdict.NO_BASELINE, skip=what)


def _needed(costs: Analytic) -> str:
    """What of the point must be in the device's memory at once, as it is counted."""
    counted_bytes = {
        "weights": costs["weight_bytes"],
        "KV cache": costs["kv_cache_bytes"],
        "activations": costs["peak_activation_bytes"],
    }
    sizes = {name: size / 1e9 for name, size in counted_bytes.items()}
    each = ", ".join(f"{name} {size:,.3f}" for name, size in sizes.items())
    return f"at least {sum(sizes.values()):,.3f} GB ({each})"
