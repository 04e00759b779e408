"""One point from its price to its verdict, with a meter that only says what it measured."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from pytest_ocrsweep import CropGrid
from pytest_ocrsweep.baselines.attribution import Observed
from pytest_ocrsweep.baselines.counted import CountedPoints, PointKey
from pytest_ocrsweep.baselines.evidence import Baseline, Process, expected_noise
from pytest_ocrsweep.baselines.gate import Decision, Outcome
from pytest_ocrsweep.baselines.measurement import Environment, GateResult, Measurement, TimeSummary
from pytest_ocrsweep.baselines.metrics import exact_numbers
from pytest_ocrsweep.baselines.recorded_time import RecordedTime
from pytest_ocrsweep.baselines.shared import ALONE
from pytest_ocrsweep.baselines.verdict import Verdict
from pytest_ocrsweep.errors import DeviceLost, OutOfMemory
from pytest_ocrsweep.model.stages import STAGES
from pytest_ocrsweep.sweep.check import Judgement, judge, price
from pytest_ocrsweep.sweep.config import device_of
from pytest_ocrsweep.sweep.meter import Measured
from pytest_ocrsweep.sweep.options import Options, Slowdown
from pytest_ocrsweep.sweep.session import Sweep
from pytest_ocrsweep.sweep.timed_point import TimedPoint, Yardstick

GRID, OTHER, FILE = CropGrid(1, 1), CropGrid(9, 1), Path("/here/suites/test_decode.py")
GPU = "NVIDIA H200"
ON = Environment("node1", GPU, "580.1", "2.11", "5.23", "bf16", "random, seed 0")
ACCEPT = "pytest suites/test_decode.py --ocrsweep-update"
NS = 10**12  # above every floor


def measured(outcome: Outcome = Outcome.PASS, ns: int = NS, incomparable: list[str] | None = None) -> Measured:
    device = TimeSummary(ns, ns - 10, ns, ns, (ns, ns - 10))
    rest: dict[str, Any] = dict.fromkeys(("wall_ns", "tensor_flops", "peak_bytes", "experts", "kernels"))
    gate = GateResult(outcome, 0.0, 0.02)
    found = Measurement(device, host="node1", gpu=GPU, clock="host", sm_clock_mhz=None, gate=gate, **rest)
    return Measured(found, Decision(outcome, "the gate's words", ()), incomparable or [])


@dataclass
class Meter:
    """What it is to measure, or to raise."""

    found: Measured | Exception
    lost: str | None = None
    gpu: str = GPU

    def measure(self, point: TimedPoint, by: Yardstick) -> Measured:
        self.asked, self.by = point, by
        if isinstance(self.found, Exception):
            raise self.found
        return self.found

    def environment(self) -> Environment:
        return ON


def sweep(meter: Meter | None = None, known: bool = True, **changed: Any) -> Sweep:
    """One that records the point as it is, and nothing else."""
    given: dict[str, Any] = {
        **dict.fromkeys(("grids", "checkpoint", "report")),
        **dict.fromkeys(("require_vendor", "missing_fails", "wide_fails", "update", "prune", "profile"), False),
        **dict.fromkeys(("images", "overrides", "command"), ()),
        "analytic_only": meter is None,
        "slowdown": Slowdown(),
        "default_grids": "1x1,2x3",
        "baselines": Path("/here/baselines"),
        "here": Path("/here"),
    }
    made = Sweep(Options(**given | changed))
    point = price(made, "decode", GRID, "flash")
    numbers = exact_numbers(point.work, point.analytic)
    empty: CountedPoints = {}
    made.__dict__["recorded"] = {**dict.fromkeys(STAGES, empty), "decode": {point.key: numbers} if known else empty}
    made.__dict__.update(recorded_times={}, unmeasured=None, measured_device=device_of(GPU))
    if meter:
        made.__dict__["meter"] = meter
    return made


def judged(of: Sweep, grid: CropGrid = GRID, stage: str = "decode") -> Judgement:
    return judge(of, stage, grid, "flash", FILE)


def told(found: Judgement) -> tuple[Verdict, str | None, str | None]:
    return found.point.verdict, found.failure, found.skip


# Counted


def test_a_point_that_is_as_recorded_passes_and_has_its_floor():
    found = judged(sweep())
    assert told(found) == (Verdict.PASS, None, None)
    assert found.environment is None
    assert found.point.floor.device == "NVIDIA H200"
    assert found.point.vendor is None


def test_a_point_that_is_only_counted_has_the_floor_of_the_configured_device():
    assert judged(sweep(overrides=("device=h100",))).point.floor.device == "NVIDIA H100 80GB HBM3"


def test_each_attention_is_counted_as_itself():
    found = judge(sweep(), "prefill", GRID, "eager", FILE).point
    assert found.analytic == price(sweep(), "prefill", GRID, "eager").analytic
    assert found.analytic != judged(sweep(), stage="prefill").point.analytic
    assert (
        found.analytic["peak_activation_bytes"]
        > judged(sweep(), stage="prefill").point.analytic["peak_activation_bytes"]
    )


def changed_by_one() -> Sweep:
    made = sweep()
    ((key, numbers),) = made.recorded["decode"].items()
    made.recorded["decode"][key] = {**numbers, "write_bytes": numbers["write_bytes"] + 1}
    return made


def test_a_number_that_differs_by_one_fails_with_what_it_was_and_the_remedy():
    verdict, failure, skip = told(judged(changed_by_one()))
    assert (verdict, skip) == (Verdict.FAIL, None)
    first, change, remedy = failure.splitlines()
    assert first == "decode 1x1 flash is not what baselines/deepseek-ocr/decode.json records:"
    assert change.startswith("  write_bytes: old ")
    assert remedy == ACCEPT


def test_an_update_records_what_is_new_or_changed_and_passes_what_is_not():
    made = changed_by_one()
    made.options = replace(made.options, update=True)
    assert told(judged(made)) == (Verdict.RECORDED, None, None)
    assert told(judged(sweep(update=True, known=False))) == (Verdict.RECORDED, None, None)
    assert told(judged(sweep(update=True))) == (Verdict.PASS, None, None)


def test_a_hole_in_what_is_recorded_is_a_failure():
    verdict, failure, _ = told(judged(sweep(), CropGrid(2, 3)))
    assert verdict is Verdict.FAIL
    assert failure.splitlines() == [
        "no baseline recorded for decode 2x3 flash of workload prompt_tokens=10, new_tokens=100, batch=1, "
        "resolution=gundam in baselines/deepseek-ocr/decode.json; to record it:",
        ACCEPT,
    ]


def with_(**options: object) -> dict[str, Any]:
    return options


@pytest.mark.parametrize(
    ("options", "grid", "what"),
    [
        (with_(), OTHER, "grid 9x1"),
        (with_(grids="2x3"), CropGrid(2, 3), "grid 2x3"),
        (with_(known=False), GRID, "workload prompt_tokens=10, new_tokens=100, batch=1, resolution=gundam"),
    ],
    ids=["beyond the default", "asked for", "nothing is recorded"],
)
def test_what_was_never_recorded_is_skipped_or_fails_on_demand(options, grid, what):
    assert told(judged(sweep(**options), grid)) == (Verdict.NO_BASELINE, None, f"no baseline for {what}")
    failure = f"no baseline for {what}, and ocrsweep_missing=fail"
    assert told(judged(sweep(missing_fails=True, **options), grid)) == (Verdict.FAIL, failure, None)


def test_a_stage_of_which_nothing_is_recorded_beside_one_that_is_has_lost_its_file():
    verdict, failure, _ = told(judged(sweep(), stage="vision"))
    assert verdict is Verdict.FAIL
    assert "in baselines/deepseek-ocr/vision.json; to record it:" in failure


# Timed


def timed(outcome: Outcome = Outcome.PASS, **options: Any) -> Judgement:
    return judged(sweep(Meter(measured(outcome)), **options))


def test_a_time_is_measured_on_its_page_beside_what_is_recorded():
    meter = Meter(measured())
    made = sweep(meter)
    made.__dict__["pages"] = [("wide.png", CropGrid(1, 3)), ("small.png", GRID), ("same.png", GRID)]
    made.__dict__["points"] = {}
    found = judged(made)
    assert meter.asked == TimedPoint("decode", made.settings.workload.on(GRID), "flash", Path("small.png"))
    assert meter.by == Yardstick()
    assert told(found) == (Verdict.PASS, None, None)
    assert (found.environment, found.point.vendor) == (ON, meter.found.measurement)
    assert found.point.floor.attained == pytest.approx(found.point.floor.time_ns / NS, abs=1e-6)


@pytest.mark.parametrize("update", [True, False])
def test_an_update_counts_flops_on_the_vendor_too(update):
    assert sweep(update=update).meter.count is update


@pytest.mark.parametrize(
    ("outcome", "expected"),
    [
        (Outcome.PASS, (Verdict.PASS, None, None)),
        (Outcome.IMPROVED, (Verdict.IMPROVED, None, None)),
        (Outcome.NO_SAMPLE, (Verdict.NO_SAMPLE, "decode 1x1 flash: the gate's words", None)),
        (Outcome.FAIL, (Verdict.FAIL, f"decode 1x1 flash on {GPU}: the gate's words:\n{ACCEPT}", None)),
    ],
)
def test_the_gate_decides(outcome, expected):
    assert told(timed(outcome)) == expected


MISSING = f"is recorded on {GPU} for decode 1x1 flash; to record it"


def test_a_time_that_was_never_recorded_is_skipped_or_fails_on_demand():
    assert told(timed(Outcome.NO_BASELINE)) == (Verdict.NO_BASELINE, None, f"no time {MISSING}: {ACCEPT}")
    expected = (Verdict.FAIL, f"no time {MISSING}:\n{ACCEPT}", None)
    assert told(timed(Outcome.NO_BASELINE, missing_fails=True)) == expected


def test_a_recorded_time_that_does_not_compare_is_said_with_why():
    made = sweep(Meter(measured(Outcome.NO_BASELINE, incomparable=["clock a -> b", "experts c -> d"])))
    assert judged(made).skip == f"no time that compares (clock a -> b, experts c -> d) {MISSING}: {ACCEPT}"


def test_a_margin_wider_than_what_the_gate_is_to_see_fails_on_demand():
    blind = measured()
    blind = replace(blind, decision=replace(blind.decision, margin=0.045))
    assert told(judged(sweep(Meter(blind)))) == (Verdict.PASS, None, None)
    verdict, failure, _ = told(judged(sweep(Meter(blind), wide_fails=True)))
    assert verdict is Verdict.FAIL
    assert failure == (
        "decode 1x1 flash: a time 3 % slower cannot be seen: the margin is 4.5 %, and ocrsweep_wide_margin=fail; "
        "record it again on a quiet machine, three times"
    )
    good = replace(blind, decision=replace(blind.decision, margin=0.03))
    assert told(judged(sweep(Meter(good), wide_fails=True))) == (Verdict.PASS, None, None)


def recorded_time(made: Sweep, attained: float | None = None, tensor_flops: int | None = None) -> None:
    baseline = Baseline((Process(NS, NS, NS, 5),), Observed(tensor_flops=tensor_flops))
    key = PointKey(made.settings.workload.on(GRID), "flash")
    made.__dict__["recorded_times"] = {
        ("nvidia-h200", "decode"): {key: RecordedTime(baseline, "host", None, None, (ON,), attained)}
    }


@pytest.mark.parametrize(
    ("known", "outcome", "verdict"),
    [
        (True, Outcome.PASS, Verdict.PASS),
        (True, Outcome.FAIL, Verdict.RECORDED),
        (True, Outcome.IMPROVED, Verdict.RECORDED),
        (False, Outcome.NO_BASELINE, Verdict.RECORDED),
        (False, Outcome.PASS, Verdict.RECORDED),
        (True, Outcome.NO_SAMPLE, Verdict.NO_SAMPLE),
    ],
)
def test_an_update_records_a_time_that_is_new_or_moved(known, outcome, verdict):
    made = sweep(Meter(measured(outcome)), update=True)
    if known:
        recorded_time(made, attained=0.9)
    assert judged(made).point.verdict is verdict


def test_a_time_is_judged_beside_its_own_record_and_attained_fraction():
    meter = Meter(measured(Outcome.FAIL))
    made = sweep(meter)
    recorded_time(made, attained=0.9)
    verdict, failure, _ = told(judged(made))
    recorded = made.timed_of("decode", GPU)[PointKey(made.settings.workload.on(GRID), "flash")]
    assert meter.by == Yardstick(recorded, recorded.baseline, expected_noise([recorded.baseline]), ALONE)
    assert verdict is Verdict.FAIL
    assert [line.partition(":")[0] for line in failure.splitlines()] == [
        f"decode 1x1 flash on {GPU}",
        ACCEPT,
        "decode 1x1 flash",
    ]
    assert "attained fraction fell from 0.900 to 0.0" in failure


@pytest.mark.parametrize(("more", "verdict"), [(1, Verdict.FAIL), (0, Verdict.PASS), (None, Verdict.PASS)])
def test_a_time_that_did_not_follow_its_floor_fails_if_more_work_was_timed_before(more, verdict):
    made = sweep(Meter(measured()))
    flops = int(price(made, "decode", GRID, "flash").analytic["tensor_flops"])
    recorded_time(made, attained=0.9, tensor_flops=None if more is None else flops + more)
    found = judged(made)
    assert found.point.verdict is verdict
    assert ("the floor fell, and the time did not follow" in str(found.failure)) == (verdict is Verdict.FAIL)


@pytest.mark.parametrize("why", ["CUPTI is missing", None])
def test_a_point_without_its_profile_fails_a_run_that_asks_for_profiles_and_no_other(why):
    def of(profile):
        return told(judged(sweep(Meter(replace(measured(), unprofiled=why)), profile=profile)))

    passed = (Verdict.PASS, None, None)
    assert of(False) == passed
    assert of(True) == ((Verdict.FAIL, f"decode 1x1 flash has no profile: {why}", None) if why else passed)


def test_a_time_below_the_floor_is_wrong_whatever_is_recorded():
    meter = Meter(measured(ns=1000))
    verdict, failure, _ = told(judged(sweep(meter)))
    assert verdict is Verdict.FAIL
    assert failure.startswith(f"decode 1x1 flash: 990 ns is below the floor of {GPU}, ")
    assert failure.endswith(": the clock, the count or the device's figures are wrong")


def test_a_time_as_short_as_the_floor_is_possible():
    floor = judged(sweep()).point.floor.time_ns
    assert judged(sweep(Meter(measured(ns=floor + 10)))).point.verdict is Verdict.PASS
    assert judged(sweep(Meter(measured(ns=floor + 9)))).point.verdict is Verdict.FAIL


def test_a_gpu_that_the_catalogue_lacks_has_no_floor():
    made = sweep(Meter(measured(ns=1000)))
    made.__dict__["measured_device"] = None
    found = judged(made)
    assert (found.point.floor, found.point.verdict) == (None, Verdict.PASS)


# Not timed


def test_a_point_that_is_only_counted_is_not_timed_although_others_are():
    made = sweep(Meter(RuntimeError("it was timed")))
    made.points[GRID] = replace(made.points[GRID], analytic_only=True)
    assert told(judged(made)) == (Verdict.PASS, None, None)


def test_where_nothing_can_be_measured_a_demand_fails_and_nothing_else_does():
    for required, verdict in ((True, Verdict.FAIL), (False, Verdict.PASS)):
        made = sweep(Meter(RuntimeError("it was timed")), require_vendor=required)
        made.__dict__["unmeasured"] = "no GPU"
        failure = "--ocrsweep-require-vendor: nothing was measured: no GPU" if required else None
        assert told(judged(made)) == (verdict, failure, None)


def test_after_a_device_was_lost_a_point_is_not_timed():
    meter = Meter(RuntimeError("it was timed"), lost="the GPU fell off the bus")
    why = "not timed: the GPU fell off the bus"
    assert told(judged(sweep(meter))) == (Verdict.NO_SAMPLE, None, why)
    assert told(judged(sweep(meter, require_vendor=True))) == (Verdict.NO_SAMPLE, why, None)


def test_a_device_that_is_lost_at_a_point_fails_it():
    found = judged(sweep(Meter(DeviceLost("an illegal access"))))
    assert told(found) == (Verdict.FAIL, f"decode 1x1 flash on {GPU}: an illegal access", None)
    assert (found.environment, found.point.floor.device, found.point.floor.attained) == (ON, GPU, None)


def test_a_point_without_memory_fails_by_what_it_needs():
    found = judged(sweep(Meter(OutOfMemory("CUDA out of memory"))))
    costs = found.point.analytic
    sizes = [costs[name] / 1e9 for name in ("weight_bytes", "kv_cache_bytes", "peak_activation_bytes")]
    each = "weights {:,.3f}, KV cache {:,.3f}, activations {:,.3f}".format(*sizes)
    needed = f"and the point needs at least {sum(sizes):,.3f} GB ({each})"
    smaller = (
        "make it smaller, free the device of others, run it by itself, or count it only (--ocrsweep-analytic-only)"
    )
    assert told(found) == (Verdict.FAIL, f"decode 1x1 flash: CUDA out of memory, {needed}: {smaller}", None)


def test_a_failure_is_told_without_the_skip_beside_it():
    found = judged(sweep(Meter(measured(Outcome.FAIL))), OTHER)
    assert found.skip is None
    assert found.failure.startswith(f"decode 9x1 flash on {GPU}: the gate's words")


def test_two_skips_are_told_in_one_line():
    found = judged(sweep(Meter(measured(Outcome.NO_BASELINE))), OTHER)
    assert found.skip.startswith("no baseline for grid 9x1; no time is recorded on")
