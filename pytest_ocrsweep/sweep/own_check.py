"""Code of the user's own, without pytest: counted, timed, compared with its recorded times, and decided."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from ..baselines.counted import NumberChange
from ..baselines.moved import Moved
from ..baselines.own import CALL, OwnCount, OwnKey, OwnResult, checked_name
from ..baselines.point_key import PointKey, call_key
from ..baselines.result import NOT_MOVED, FloorResult, PointResult
from ..baselines.verdict import Verdict, worst
from ..errors import ArgumentError, DeviceLost, OutOfMemory
from ..files.text import quoted
from ..model.geometry import CropGrid, Workload
from .check import Priced, Timing, measure, price
from .energy_parts import energy_part
from .own import OwnSweep
from .parts import PASSED, Part, short_of, short_of_counted
from .session import Sweep
from .time_parts import Subject, drifted_part, floor_part, time_part
from .timed_point import TimedPoint

COUNTED = "--ocrsweep-require-counted"


class OwnJudgement(NamedTuple):
    """What came of the user's own code, and why it did not pass."""

    result: OwnResult
    failure: str | None
    skip: str | None
    point: PointResult | None = None  # a model's, as the reference model has one
    short: str | None = None  # the failure in a few words


@dataclass(frozen=True, slots=True)
class Called:
    """A call under its name."""

    own: str
    work: Workload
    stage: str = CALL

    @property
    def key(self) -> PointKey:
        """What its times are found by."""
        return call_key(self.work)

    @property
    def timed(self) -> TimedPoint:
        """What is timed."""
        return TimedPoint(CALL, *self.key, own=self.own)

    def __str__(self) -> str:
        return self.own


def judge_model(
    sweep: Sweep, name: str, stage: str, grid: CropGrid, attention: str, model: object, file: Path
) -> OwnJudgement:
    """Count and time a model at one point; `file` holds the test, for the remedy. Raises OcrsweepError."""
    own = OwnSweep.of(sweep, checked_name(name))
    priced = replace(price(own, stage, grid, attention), own=name)
    analytic = OwnCount(analytic_flops=priced.analytic["tensor_flops"])
    if why := own.untimed(grid):
        return _untimed(own, priced, replace(analytic, why=why))
    own.meter.give_model(model, attention)
    timing = measure(own, priced)
    count = own.meter.counts.get(priced.timed, analytic)
    floor = None
    if timing.measured and own.measured_device and own.meter.does_the_same(priced.timed):
        median = timing.measured.measurement.device_ns.median
        floor = FloorResult.of(priced.ledger, own.measured_device, median)
    judged = _decide(own, priced, timing, count, floor, file)
    found = judged.result
    point = PointResult.of(stage, priced.work, attention, priced.analytic, floor, found.measured, found.verdict)
    return judged._replace(point=point)


def judge_call(
    sweep: Sweep, name: str, call: Callable[[], object], file: Path, *, cuda_graph: bool, host: bool
) -> OwnJudgement:
    """Count and time a call. Raises OcrsweepError, and whatever the call does."""
    if cuda_graph and host:
        raise ArgumentError("ocrsweep.time: cuda_graph=True and host=True exclude each other: a CPU has no CUDA graphs")
    own = OwnSweep.of(sweep, checked_name(name), host=host)
    if not callable(call):
        raise ArgumentError(f"ocrsweep.time({quoted(name)}, …) times what can be called, got {quoted(call)}")
    called = Called(name, sweep.settings.workload.on(CropGrid(1, 1)))
    if why := own.untimed(None):
        return _untimed(own, called, OwnCount(why=why))
    own.meter.give_call(call, cuda_graph=cuda_graph)
    timing = _measure_call(own, called)
    return _decide(own, called, timing, own.meter.counts.get(called.timed, OwnCount()), None, file)


def _measure_call(own: OwnSweep, called: Called) -> Timing:
    if own.meter.lost:
        return Timing(missing=Part(Verdict.NO_SAMPLE, f"{called}: not timed: {own.meter.lost}"))
    measured, missing = None, None
    try:
        measured = own.meter.measure(called.timed, own.offsets.yardstick(CALL, called.key))
    except (OutOfMemory, DeviceLost) as error:
        missing = Part(Verdict.FAIL, f"{called} on {own.meter.gpu}: {error}")
    recorded = own.timed_of(CALL, own.meter.gpu).get(called.key)
    return Timing(measured, recorded, missing, own.meter.environment())


def _untimed(own: OwnSweep, subject: Priced | Called, count: OwnCount) -> OwnJudgement:
    """What is not run is skipped, as nothing of it was checked; or it fails if it was demanded."""
    options = own.options
    demands = [options.require_vendor and "--ocrsweep-require-vendor", options.require_counted and COUNTED]
    demanded = next(filter(None, demands), None)
    what = f"{subject} was not timed: {count.why}"
    result = _result(subject, count, None, Timing(), Verdict.FAIL if demanded else Verdict.NOT_TIMED)
    return OwnJudgement(result, f"{demanded}: {what}" if demanded else None, None if demanded else what)


def _decide(
    own: OwnSweep, subject: Priced | Called, timing: Timing, count: OwnCount, floor: FloorResult | None, file: Path
) -> OwnJudgement:
    parts = [timing.missing] if timing.missing else []
    if timing.measured:
        found = timing.measured.measurement
        parts += [_count_part(own, subject, timing, count, file), _counted_part(own, subject, count)]
        parts += [time_part(own, subject, timing.measured, timing.recorded, file), drifted_part(own, subject, found)]
        parts.append(energy_part(own, subject, timing.measured, timing.recorded, file))
        if floor and count.tensor_flops is not None:
            parts.append(floor_part(own, subject, count.tensor_flops, found, timing.recorded, floor))
    verdict = worst(*(part.verdict for part in parts))
    failures = [part.failure for part in parts if part.failure]
    skips = [part.skip for part in parts if part.skip]
    moved = tuple(each for part in parts for each in part.moved)
    result = _result(subject, count, floor, timing, verdict, moved)
    skip = None if failures else "; ".join(skips) or None
    return OwnJudgement(result, "\n".join(failures) or None, skip, short=short_of(parts) or None)


def _result(
    subject: Priced | Called,
    count: OwnCount,
    floor: FloorResult | None,
    timing: Timing,
    verdict: Verdict,
    moved: tuple[Moved, ...] = (),
) -> OwnResult:
    key = OwnKey.of(subject.own, subject.stage, subject.key.work.grid, subject.key.attention)
    measured = timing.measured.measurement if timing.measured else None
    absent = frozenset[str]() if moved else NOT_MOVED
    return OwnResult(*key, count, floor, measured, timing.environment, verdict, moved, absent=absent)


def _counted_part(own: OwnSweep, subject: Subject, count: OwnCount) -> Part:
    if count.tensor_flops is None and own.options.require_counted:
        return Part(Verdict.FAIL, f"{COUNTED}: {subject} is {count}")
    return PASSED


def _count_part(own: OwnSweep, subject: Subject, timing: Timing, count: OwnCount, file: Path) -> Part:
    """What is counted on the code is compared exactly with what was counted when its time was recorded."""
    assert timing.measured is not None
    if timing.recorded is None or timing.measured.incomparable or own.options.update:
        return PASSED
    then, now = timing.recorded.baseline.observed.tensor_flops, count.tensor_flops
    if then is None or now is None or then == now:
        return PASSED
    change = NumberChange("tensor_flops", then, now)
    accept = own.options.accepting(file)
    lines = [f"{subject} does other work than is recorded:", f"  {change}", accept]
    moved = (Moved.counted(change.metric, then, now, accept),)
    return Part(Verdict.FAIL, "\n".join(lines), short=short_of_counted([change]), moved=moved)
