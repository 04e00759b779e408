"""The attained fraction as the gate judges it: told of a slower time, and a failure where the floor fell alone."""

import pytest

from pytest_ocrsweep.baselines.anchor import Drift
from pytest_ocrsweep.baselines.blame import Cause
from pytest_ocrsweep.baselines.counted import NumberChange
from pytest_ocrsweep.baselines.gate import Decision, Outcome
from pytest_ocrsweep.baselines.measurement import GateResult
from pytest_ocrsweep.baselines.moved import Moved
from pytest_ocrsweep.baselines.shared import Shared
from pytest_ocrsweep.baselines.verdict import Verdict
from pytest_ocrsweep.sweep.parts import (
    PASSED,
    Part,
    attained_part,
    drift_part,
    margin_part,
    short_of_counted,
    short_of_time,
)


def judged(
    now: float, change: float, outcome: Outcome = Outcome.PASS, *, then: float | None = 0.41, less_work: bool = True
) -> Part:
    return attained_part("vision 2x3 flash", then, now, GateResult(outcome, change, 0.013), less_work=less_work)


def test_a_slower_time_is_told_as_the_fraction_that_it_lost():
    part = judged(0.36, 0.41 / 0.36 - 1, Outcome.FAIL)
    assert part.failure == "vision 2x3 flash: attained fraction fell from 0.410 to 0.360: the time grew"
    assert (part.verdict, part.short) == (Verdict.FAIL, "attained fraction 0.410 -> 0.360")


def test_a_floor_that_fell_while_the_time_stayed_is_a_failure():
    part = judged(0.36, 0.0)
    assert part.verdict is Verdict.FAIL
    assert part.failure == (
        "vision 2x3 flash: attained fraction fell from 0.410 to 0.360: the floor fell, and the time did not follow"
    )


def test_a_floor_that_is_defined_anew_is_no_failure_of_the_same_work():
    assert judged(0.36, 0.0, less_work=False) == PASSED


@pytest.mark.parametrize(
    ("now", "change"),
    [
        (0.41, 0.0),
        (0.406, 0.01),  # within the margin of the time
        (0.41 / 1.019, 0.019),  # the gate let the time pass, so its reciprocal passes too
        (0.5, -0.18),
    ],
)
def test_what_the_gate_lets_pass_passes_here(now, change):
    assert judged(now, change) == PASSED


def test_a_time_recorded_without_its_fraction_is_not_judged_by_it():
    assert judged(0.1, 0.0, then=None) == PASSED


@pytest.mark.parametrize(("change", "margin"), [(0.5, None), (None, 0.013), (None, None)])
def test_a_time_that_the_gate_did_not_compare_is_not_judged_by_its_fraction(change, margin):
    assert (
        attained_part("vision 2x3 flash", 0.41, 0.1, GateResult(Outcome.FAIL, change, margin), less_work=True) == PASSED
    )


def test_a_point_without_a_floor_has_no_fraction_to_judge():
    assert attained_part("vision 2x3 flash", 0.41, None, GateResult(Outcome.FAIL, 0.5, 0.013), less_work=True) == PASSED


def test_a_fraction_within_the_margin_is_not_named_beside_a_time_that_failed():
    assert judged(0.406, 0.02, Outcome.FAIL) == PASSED


@pytest.mark.parametrize(("now", "change", "outcome"), [(0.375, 0.5, Outcome.FAIL), (0.25, 0.5, Outcome.PASS)])
def test_a_fraction_at_the_margin_is_within_it(now, change, outcome):
    assert attained_part("vision 2x3 flash", 0.5, now, GateResult(outcome, change, 0.25), less_work=True) == PASSED


def test_a_drift_beyond_the_limit_is_a_failure_with_the_command_that_accepts_it():
    drift = Drift(0.041, 0.01, 5, "2026-03-01T12:00:00Z")
    part = drift_part("decode 1x1 flash", drift, 0.03, "ocrsweep history accept decode 1x1 flash", 104_100)
    assert part == Part(
        Verdict.FAIL,
        f"decode 1x1 flash {drift}: more than ocrsweep_drift=3; if that is meant, accept it by name:\n"
        "ocrsweep history accept decode 1x1 flash",
        short="time drifted +4.1 % since 2026-03-01 (anchor of 5 processes, margin 1.0 %)",
        moved=(
            Moved(
                *("device_ns", 100_000, 104_100, 0.041, 0.01, (str(drift),)),
                "ocrsweep history accept decode 1x1 flash",
            ),
        ),
    )
    assert drift_part("decode 1x1 flash", drift, 0.05, "", 104_100) == PASSED


@pytest.mark.parametrize(
    ("causes", "shared", "short"),
    [
        (None, None, "time +2.8 % (margin 1.9 %)"),
        ([], None, "time +2.8 % (margin 1.9 %)"),
        ([Cause("decoder/experts", 10, 0.101, 0.028)], None, "time +2.8 % (margin 1.9 %): decoder/experts +10.1 %"),
        ([Cause("decoder/new", 10, None, 0.028)], None, "time +2.8 % (margin 1.9 %): decoder/new new"),
        (None, Shared(0.021, 0.001, 9), "time +2.8 % (margin 1.9 %): all points +2.1 %"),
        (None, Shared(0.004, 0.001, 9), "time +2.8 % (margin 1.9 %)"),
    ],
)
def test_a_slower_time_in_short_is_its_change_and_what_grew_most(causes, shared, short):
    assert short_of_time(Decision(Outcome.FAIL, "", (), 0.028, 0.019, shared=shared), causes) == short


def test_numbers_that_changed_in_short_are_the_first_one_and_a_count():
    one, from_zero = NumberChange("read_bytes", 200, 300), NumberChange("kv_cache_bytes", 0, 1_000)
    assert short_of_counted([one]) == "reads +50.00 %"
    assert short_of_counted([from_zero, one]) == "KV cache +1,000, and 1 more number"
    assert short_of_counted([one, one, one]) == "reads +50.00 %, and 2 more numbers"
    assert short_of_counted([NumberChange("tensor_flops", 10**12, 10**12 - 7)]) == "FLOPs -7"


def test_a_margin_beyond_what_the_gate_is_to_see_is_a_failure_in_percent():
    part = margin_part("decode 1x1 flash", 0.0412)
    assert part is not None
    assert part.verdict is Verdict.FAIL
    assert part.failure == (
        "decode 1x1 flash: a time 3 % slower cannot be seen: the margin is 4.1 %, and ocrsweep_wide_margin=fail; "
        "record it again on a quiet machine, three times"
    )
    assert margin_part("decode 1x1 flash", 0.03) is None
