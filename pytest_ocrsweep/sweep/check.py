"""One point, without pytest, as a pipeline of values: price, measure, compare, decide."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from ..baselines import counted, gate, timed
from ..baselines.counted import PointKey
from ..baselines.measurement import Environment, Measurement
from ..baselines.metrics import analytic, exact_numbers
from ..baselines.moved import Moved
from ..baselines.recorded_time import RecordedTime
from ..baselines.result import Analytic, FloorResult, PointResult
from ..baselines.verdict import Verdict, worst
from ..errors import DeviceLost, EngineError, OutOfMemory
from ..model.geometry import CropGrid, Workload
from ..model.ledger import Ledger
from .drifts import drift_of
from .explain import Measured
from .meters import has_time
from .parts import PASSED, Part, attained_part, drift_part, margin_part
from .session import Sweep, describe
from .timed_point import TimedPoint

# What to do about a point that a device does not hold.
SMALLER = "make it smaller, free the device of others, run it by itself, or count it only (--ocrsweep-analytic-only)"


class Judgement(NamedTuple):
    """A point's result, what it was timed on, and why it did not pass."""

    point: PointResult
    environment: Environment | None
    failure: str | None
    skip: str | None


@dataclass(frozen=True, slots=True)
class Priced:
    """A point and what it costs."""

    stage: str
    work: Workload
    attention: str
    ledger: Ledger
    analytic: Analytic

    @property
    def key(self) -> PointKey:
        """What its baselines are found by, within a stage."""
        return PointKey(self.work, self.attention)

    def __str__(self) -> str:
        return f"{self.stage} {self.work.grid} {self.attention}"


@dataclass(frozen=True, slots=True)
class Timing:
    """A point's time and the recorded one; or why the point was not timed, although that was asked for."""

    measured: Measured | None = None
    recorded: RecordedTime | None = None
    missing: Part | None = None
    environment: Environment | None = None


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
    point = TimedPoint(priced.stage, priced.work, priced.attention, sweep.page_of(priced.work.grid))
    try:
        gpu = sweep.meter.gpu
        by = sweep.offsets.yardstick(priced.stage, priced.key)
        measured = sweep.meter.measure(point, by)
    except OutOfMemory as error:
        needed = _needed(priced.analytic)
        missing = Part(Verdict.FAIL, f"{priced}: {error}, and the point needs {needed}: {SMALLER}")
    except DeviceLost as error:
        missing = Part(Verdict.FAIL, f"{priced} on {gpu}: {error}")
    except EngineError as error:
        return Timing(missing=Part(Verdict.FAIL, f"{priced}: {error}"))
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
        parts.append(_time(sweep, priced, timing.measured, timing.recorded, file))
        parts.append(_drift(sweep, priced, timing.measured.measurement))
        if timing.measured.unprofiled and sweep.options.profile:
            parts.append(Part(Verdict.FAIL, f"{priced} has no profile: {timing.measured.unprofiled}"))
        if floor:
            parts.append(_floor(sweep, priced, timing.measured, timing.recorded, floor))
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
    return Judgement(
        point, timing.environment, "\n".join(failures) or None, None if failures else "; ".join(skips) or None
    )


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
    return Part(Verdict.FAIL, "\n".join([*lines, accept]), moved=moved)


def _missing(sweep: Sweep, priced: Priced, file: Path) -> Part:
    """A hole in what should be recorded is a failure; what was asked for beyond it is skipped."""
    options, stage, work = sweep.options, priced.stage, priced.work
    in_default = options.grids is None and work.grid in sweep.source
    if in_default and any(sweep.known.values()):  # a file of this workload is lost, or a point in one
        lines = [
            f"no baseline recorded for {priced} of workload "
            f"{describe(work)} in {options.shown(sweep.file_of(stage))}; to record it:",
            options.accepting(file),
        ]
        return Part(Verdict.FAIL, "\n".join(lines))
    what = f"no baseline for {f'grid {work.grid}' if sweep.known[stage] else f'workload {describe(work)}'}"
    if options.missing_fails:  # the summary says once how to record them all
        return Part(Verdict.FAIL, f"{what}, and ocrsweep_missing=fail")
    return Part(Verdict.NO_BASELINE, skip=what)


def _time(sweep: Sweep, priced: Priced, measured: Measured, recorded: RecordedTime | None, file: Path) -> Part:
    """The vendor's time, by the gate's rule."""
    options, gpu, decision = sweep.options, measured.measurement.gpu, measured.decision
    Outcome = gate.Outcome
    if decision.outcome is Outcome.NO_SAMPLE:
        return Part(Verdict.NO_SAMPLE, f"{priced}: {decision.message}")
    if options.update:
        same = recorded is not None and decision.outcome is Outcome.PASS
        return PASSED if same else Part(Verdict.RECORDED)
    if decision.outcome is Outcome.FAIL:
        lines = [f"{priced} on {gpu}: {decision.message}:", options.accepting(file), *measured.blamed]
        return Part(Verdict.FAIL, "\n".join(lines), moved=measured.moved(recorded, options.accepting(file)))
    if decision.outcome is Outcome.NO_BASELINE:
        old = f" that compares ({', '.join(measured.incomparable)})" if measured.incomparable else ""
        missing = f"no time{old} is recorded on {gpu} for {priced}; to record it"
        if options.missing_fails:
            return Part(Verdict.FAIL, f"{missing}:\n{options.accepting(file)}")
        return Part(Verdict.NO_BASELINE, skip=f"{missing}: {options.accepting(file)}")
    if options.wide_fails and (blind := margin_part(str(priced), decision.margin)):
        return blind
    if decision.outcome is not Outcome.IMPROVED:
        return PASSED
    return Part(Verdict.IMPROVED, moved=measured.moved(recorded, options.accepting(file)))


def _drift(sweep: Sweep, priced: Priced, found: Measurement) -> Part:
    """A time that passes beside the latest ones fails if it is too far from the first ones."""
    options = sweep.options
    drift = drift_of(sweep, priced.stage, priced.key, found)
    if drift is None or options.update:
        return PASSED
    command = options.accepting_drift(str(priced), timed.gpu_folder(found.gpu))
    return drift_part(f"{priced} on {found.gpu}", drift, options.drift, command, found.device_ns.median)


def _floor(sweep: Sweep, priced: Priced, measured: Measured, recorded: RecordedTime | None, floor: FloorResult) -> Part:
    """A time below the floor is wrong, whatever the baseline says."""
    found = measured.measurement
    fastest = found.device_ns.min
    if fastest is not None and fastest < floor.time_ns:
        limit = f"the floor of {floor.device}, {floor.time_ns:,} ns ({floor.bound})"
        wrong = "the clock, the count or the device's figures are wrong"
        return Part(Verdict.FAIL, f"{priced}: {fastest:,} ns is below {limit}: {wrong}")
    if sweep.options.update or recorded is None:
        return PASSED
    then = recorded.baseline.observed.tensor_flops
    less_work = then is not None and priced.analytic["tensor_flops"] < then
    return attained_part(str(priced), recorded.attained, floor.attained, found.gate, less_work=less_work)


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
