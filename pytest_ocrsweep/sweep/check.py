"""One point, without pytest: counted, timed where it can be, and judged against what is recorded."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from ..baselines import counted, gate, result
from ..baselines.counted import Key
from ..baselines.metrics import counted_numbers
from ..baselines.result import Row
from ..hardware import roofline
from ..hardware.roofline import Device
from ..model.geometry import CropGrid, Workload
from ..model.ledger import Ledger
from .meter import DeviceLost, OutOfMemory
from .session import Sweep, describe

# Of several verdicts on a point, the first here is the one it gets.
WORST = ("FAIL", "NO SAMPLE", "NO BASELINE", "IMPROVED", "RECORDED", "PASS")


# What to do about a point that a device does not hold.
SMALLER = "make it smaller, free the device of others, run it by itself, or count it only (--ocrsweep-analytic-only)"


class Part(NamedTuple):
    """A verdict on a point's counted numbers or on its time; `failure` or `skip` says why it did not pass."""

    verdict: str
    failure: str | None = None
    skip: str | None = None


class Judgement(NamedTuple):
    """A point's row, what was known of the machine, and why it did not pass."""

    row: Row
    environment: dict[str, str | None] | None
    failure: str | None
    skip: str | None


def judge(sweep: Sweep, stage: str, grid: CropGrid, attention: str, file: Path) -> Judgement:
    """Count one point, time it, compare both with their baselines; `file` holds the test, for the remedy."""
    work = sweep.settings.workload.on(grid)
    ledger = sweep.model.ledger(stage, work, attention)
    found = result.row(stage, work, attention, ledger, vendor=None)
    parts = [_count(sweep, found, work, file)]
    environment = None
    if sweep.times(grid):
        if sweep.measures and sweep.meter.lost:
            parts.append(_not_timed(sweep, f"not timed: {sweep.meter.lost}"))
        elif sweep.measures:
            parts.append(_time(sweep, found, work, file))
            environment = sweep.meter.environment()  # only now a checkpoint is loaded
        elif sweep.options.require_vendor:
            parts.append(Part("FAIL", f"--ocrsweep-require-vendor: nothing was measured: {sweep.unmeasured}"))
    device = sweep.measured_device if found["vendor"] else sweep.settings.device
    if device is not None:
        parts.append(_floor(sweep, found, ledger, device))
    found["verdict"] = min((part.verdict for part in parts), key=WORST.index)
    failures = [part.failure for part in parts if part.failure]
    skips = [part.skip for part in parts if part.skip]
    return Judgement(found, environment, "\n".join(failures) or None, None if failures else "; ".join(skips) or None)


def _count(sweep: Sweep, found: Row, work: Workload, file: Path) -> Part:
    """The counted numbers, compared exactly."""
    options, stage, attention = sweep.options, found["stage"], found["attention"]
    old = sweep.recorded[stage].get(Key(work, attention))
    changes = counted.compare(old, counted_numbers(found)) if old else []
    if options.update:
        return Part("PASS" if old and not changes else "RECORDED")
    if old is None:
        return _missing(sweep, found, work, file)
    if not changes:
        return Part("PASS")
    lines = [f"{stage} {work.grid} {attention} is not what {options.shown(sweep.file_of(stage))} records:"]
    lines += [f"  {change}" for change in changes]
    return Part("FAIL", "\n".join([*lines, options.accepting(file)]))


def _floor(sweep: Sweep, found: Row, ledger: Ledger, device: Device) -> Part:
    """The floor beside the time; a time below it is wrong, whatever the baseline says. Fills the row's `floor`."""
    if found["vendor"] is None:
        found["floor"] = result.floor(ledger, device)
        return Part("PASS")
    least = roofline.floor(ledger, device)
    median, fastest = (found["vendor"]["device_ns"][name] for name in ("median", "min"))
    found["floor"] = result.timed_floor(ledger, device, median)
    point = f"{found['stage']} {found['grid']} {found['attention']}"
    if not roofline.below_floor(least, fastest):
        return _attained(sweep, found, Key(ledger.work, ledger.attention), point)
    limit = f"the floor of {device.name}, {least.time_ns:,} ns ({least.bound})"
    wrong = "the clock, the count or the device's figures are wrong"
    return Part("FAIL", f"{point}: {fastest:,} ns is below {limit}: {wrong}")


def _attained(sweep: Sweep, found: Row, key: Key, point: str) -> Part:
    """The attained fraction against the recorded one, by the margin of the time, which it is over again.

    It is told of a time that failed, and fails by itself where the floor fell and the time did not follow.
    """
    vendor, floor = found["vendor"], found["floor"]
    assert vendor is not None
    assert floor is not None
    stored, judged = sweep.timed_of(found["stage"], vendor["gpu"]).get(key), vendor["gate"]
    if stored is None or stored.attained is None or judged["margin"] is None or sweep.options.update:
        return Part("PASS")
    then, now = stored.attained, floor["attained"]
    slower = judged["outcome"] == gate.Outcome.FAIL
    lower_floor = now * (1 + judged["change"]) < then * (1 - judged["margin"])
    if now >= then * (1 - judged["margin"]) or not (slower or lower_floor):
        return Part("PASS")
    why = "the time grew" if slower else "the floor fell, and the time did not follow"
    return Part("FAIL", f"{point}: attained fraction fell from {then:.3f} to {now:.3f}: {why}")


def _missing(sweep: Sweep, found: Row, work: Workload, file: Path) -> Part:
    """A hole in what should be recorded is a failure; what was asked for beyond it is skipped."""
    options, stage = sweep.options, found["stage"]
    in_default = sweep.options.grids is None and work.grid in sweep.source
    if options.missing_fails or (in_default and (sweep.known[stage] or not options.overrides)):
        lines = [
            f"no baseline recorded for {stage} {work.grid} {found['attention']} of workload "
            f"{describe(work)} in {options.shown(sweep.file_of(stage))}; to record it:",
            options.accepting(file),
        ]
        return Part("FAIL", "\n".join(lines))
    what = f"grid {work.grid}" if sweep.known[stage] else f"workload {describe(work)}"
    return Part("NO BASELINE", skip=f"no baseline for {what}")


def _time(sweep: Sweep, found: Row, work: Workload, file: Path) -> Part:
    """The vendor's time, by the gate's rule; fills the row's `vendor`."""
    options, stage, gpu = sweep.options, found["stage"], sweep.meter.gpu
    recorded = sweep.timed_of(stage, gpu)
    stored = recorded.get(Key(work, found["attention"]))
    point = f"{stage} {work.grid} {found['attention']}"
    try:
        measured = sweep.meter.measure(
            stage,
            work,
            found["attention"],
            stored,
            gate.expected_noise(s.baseline for s in recorded.values()),
            count=options.update,
            page=next((Path(name) for name, grid in sweep.pages if grid == work.grid), None),
        )
    except OutOfMemory as error:
        return Part("FAIL", f"{point}: {error}, and the point needs {_needed(found)}: {SMALLER}")
    except DeviceLost as error:
        return Part("FAIL", f"{point} on {gpu}: {error}")
    found["vendor"] = measured.found
    verdict = measured.verdict
    Outcome = gate.Outcome
    if verdict.outcome is Outcome.NO_SAMPLE:
        return Part("NO SAMPLE", f"{point}: {verdict.message}")
    if options.update:
        same = stored is not None and verdict.outcome is Outcome.PASS
        return Part("PASS" if same else "RECORDED")
    if verdict.outcome is Outcome.FAIL:
        lines = [f"{point} on {gpu}: {verdict.message}:", options.accepting(file)]
        return Part("FAIL", "\n".join(lines))
    if verdict.outcome is Outcome.NO_BASELINE:
        old = f" that compares ({', '.join(measured.incomparable)})" if measured.incomparable else ""
        missing = f"no time{old} is recorded on {gpu} for {point}; to record it"
        if options.missing_fails:
            return Part("FAIL", f"{missing}:\n{options.accepting(file)}")
        return Part("NO BASELINE", skip=f"{missing}: {options.accepting(file)}")
    return Part("IMPROVED" if verdict.outcome is Outcome.IMPROVED else "PASS")


def _not_timed(sweep: Sweep, why: str) -> Part:
    return Part("NO SAMPLE", why) if sweep.options.require_vendor else Part("NO SAMPLE", skip=why)


def _needed(found: Row) -> str:
    """What of the point must be in the device's memory at once, as it is counted."""
    names = {"weights": "weight_bytes", "KV cache": "kv_cache_bytes", "activations": "peak_activation_bytes"}
    sizes = {name: found["analytic"][field] / 1e9 for name, field in names.items()}
    told = ", ".join(f"{name} {size:,.3f}" for name, size in sizes.items())
    return f"at least {sum(sizes.values()):,.3f} GB ({told})"
