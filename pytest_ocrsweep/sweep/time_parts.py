"""The parts of a verdict that are about a point's time: beside the latest ones, the first ones, and the floor."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from ..baselines import gate, timed
from ..baselines.measurement import Measurement
from ..baselines.point_key import PointKey
from ..baselines.recorded_time import STARTED, RecordedTime
from ..baselines.result import FloorResult
from ..baselines.verdict import Verdict
from .drifts import drift_of
from .explain import Measured
from .parts import PASSED, Part, attained_part, drift_part, margin_part, short_of_time
from .session import Sweep


class Subject(Protocol):
    """What a time is of; its text names it."""

    @property
    def stage(self) -> str: ...

    @property
    def key(self) -> PointKey: ...

    @property
    def own(self) -> str: ...


def time_part(sweep: Sweep, priced: Subject, measured: Measured, recorded: RecordedTime | None, file: Path) -> Part:
    """The vendor's time, by the gate's rule."""
    options, gpu, decision = sweep.options, measured.measurement.gpu, measured.decision
    Outcome = gate.Outcome
    if decision.outcome is Outcome.NO_SAMPLE:
        return Part(Verdict.NO_SAMPLE, f"{priced}: {decision.message}", short=decision.message)
    if options.update:
        same = recorded is not None and decision.outcome is Outcome.PASS
        return PASSED if same else Part(Verdict.RECORDED)
    if decision.outcome is Outcome.FAIL:
        lines = [f"{priced} on {gpu}: {decision.message}:", options.accepting(file), *measured.blamed]
        short, moved = short_of_time(decision, measured.causes), measured.moved(recorded, options.accepting(file))
        return Part(Verdict.FAIL, "\n".join(lines), short=short, moved=moved)
    if decision.outcome is Outcome.NO_BASELINE:
        old = f" that compares ({', '.join(measured.incomparable)})" if measured.incomparable else ""
        another = any(each.startswith(STARTED) for each in measured.incomparable)
        instead = " in place of that one (-o ocrsweep_baselines=DIR keeps both)" if another else ""
        missing = f"no time{old} is recorded on {gpu} for {priced}; to record it{instead}"
        if options.missing_fails:
            return Part(Verdict.FAIL, f"{missing}:\n{options.accepting(file)}", short="time has no baseline")
        return Part(Verdict.NO_BASELINE, skip=f"{missing}: {options.accepting(file)}")
    if options.wide_fails and (blind := margin_part(str(priced), decision.margin)):
        return blind
    if decision.outcome is not Outcome.IMPROVED:
        return PASSED
    return Part(Verdict.IMPROVED, moved=measured.moved(recorded, options.accepting(file)))


def drifted_part(sweep: Sweep, priced: Subject, found: Measurement) -> Part:
    """A time that passes beside the latest ones fails if it is too far from the first ones."""
    options = sweep.options
    drift = drift_of(sweep, priced.stage, priced.key, found)
    if drift is None or options.update:
        return PASSED
    point = f"{priced.stage} {priced.key}".rstrip()
    command = options.accepting_drift(point, timed.gpu_folder(found.gpu), priced.own)
    return drift_part(f"{priced} on {found.gpu}", drift, options.drift, command, found.device_ns.median)


def floor_part(
    sweep: Sweep, priced: Subject, flops: int, found: Measurement, recorded: RecordedTime | None, floor: FloorResult
) -> Part:
    """A time of so many tensor FLOPs below their floor is wrong, whatever the baseline says."""
    fastest = found.device_ns.min
    if fastest is not None and fastest < floor.time_ns:
        limit = f"the floor of {floor.device}, {floor.time_ns:,} ns ({floor.bound})"
        wrong = "the clock, the count or the device's figures are wrong"
        short = f"time {fastest:,} ns is below the floor, {floor.time_ns:,} ns"
        return Part(Verdict.FAIL, f"{priced}: {fastest:,} ns is below {limit}: {wrong}", short=short)
    if sweep.options.update or recorded is None:
        return PASSED
    then = recorded.baseline.observed.tensor_flops
    less_work = then is not None and flops < then
    return attained_part(str(priced), recorded.attained, floor.attained, found.gate, less_work=less_work)
