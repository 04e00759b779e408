"""What one process took at each point of a report, and the middle of several processes."""

from __future__ import annotations

from itertools import product

import pytest
from documents import clocked, point, report, vendor

from pytest_ocrsweep import CropGrid
from pytest_ocrsweep.baselines.attribution import Observed
from pytest_ocrsweep.baselines.takes import Key, Run, ordered, seen

LINE = {"decoder/attn/q": {"time_ns": 120_000, "share": 1.0}}
PROFILE = {"device_ns": 120_000, "gap_ns": 0, "kernels": 12, "components": LINE, "lines": LINE}
REFUSED = {"outcome": "no acceptable sample", "change": None, "margin": None}
VISION: Key = ("vision", CropGrid(2, 3), "flash")
PREFILL: Key = ("prefill", CropGrid(2, 3), "flash")
DECODE: Key = ("decode", CropGrid(2, 3), "flash")


def test_a_process_took_each_points_median_with_what_was_counted_for_it():
    run = Run.of(report(point("decode", vendor=vendor(device_ns=clocked(7_000_000)), tensor_flops=5)))
    (take,) = run.takes.values()
    assert (take.time_ns, take.tensor_flops, take.kernels, take.sm_clock_mhz) == (7_000_000, 5, 2300, 1980)
    assert (run.clocks, run.profiles, run.swept) == ({DECODE: "cuda-graph"}, {}, {DECODE})


def test_a_point_without_a_time_hides_no_later_one_and_is_named_by_why():
    run = Run.of(report(point("vision", vendor=None), point("prefill", vendor=vendor(gate=REFUSED)), point("decode")))
    assert (run.untimed, run.refused, set(run.takes)) == ({VISION}, {PREFILL}, {DECODE})
    assert set(run.clocks) == {DECODE}
    assert run.swept == {VISION, PREFILL, DECODE}


def test_a_process_keeps_the_profiles_of_the_points_that_have_one():
    with_profile = point("decode", vendor=vendor(profile=PROFILE))
    run = Run.of(report(point("prefill"), with_profile))
    assert list(run.profiles) == [DECODE]
    assert run.profiles[DECODE].kernels == 12
    assert Run({}).swept == set()
    assert set(run.takes) == {PREFILL, DECODE}


def test_a_process_can_be_a_key():
    run = Run.of(report(point("decode")))
    assert hash(run) == hash(Run({}, run.refused, run.untimed))


@pytest.mark.parametrize(
    ("times", "middle"), [((5, 3), 3), ((4, 9, 5), 5), ((4, 1, 3, 2), 2), ((4, None), None), ((), None)]
)
def test_the_middle_of_several_is_one_of_them_and_unknown_if_one_is(times, middle):
    assert seen([Observed(time_ns=ns) for ns in times]).time_ns == middle
    takes = [Observed(ns, ns, ns, ns, ns) for ns in times]
    assert seen(takes) == Observed(*[middle] * 5)


@pytest.mark.parametrize(
    ("capped", "shared"), [((True, True), True), ((False,), False), ((True, False), None), ((True, None), None)]
)
def test_processes_ran_under_the_power_cap_only_if_all_of_them_did(capped, shared):
    assert seen([Observed(power_capped=each) for each in capped]).power_capped is shared


def test_points_are_in_the_order_of_stages_then_grids_then_attention():
    grids = CropGrid(1, 2), CropGrid(2, 1)
    keys = list(product(("vision", "prefill", "decode"), grids, ("eager", "flash")))
    assert list(ordered(reversed(keys))) == keys
