"""Sampling stops for a stated reason, keeps every sample, and knows when the machine was not fit."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import astuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_ocrsweep.baselines.sampling import (
    FirstOf,
    Machine,
    NoiseReached,
    Samples,
    TimeCap,
    collect,
    graph_speed_changed,
    objections,
)

times = st.lists(st.integers(1, 10**10), min_size=1, max_size=60)


def ticking(step_s: float) -> Callable[[], float]:
    """A clock that is `step_s` later each time it is read."""
    return itertools.count(0.0, step_s).__next__


def test_quartiles_interpolate_between_samples():
    samples = Samples((40, 10, 20, 30))
    assert (samples.min, samples.quartiles) == (10, (17.5, 25, 32.5))
    assert samples.noise == 15 / 25


def test_a_single_sample_has_no_noise():
    samples = Samples((7,))
    assert samples.quartiles == (7, 7, 7)
    assert samples.noise == 0


def test_no_samples_are_refused_in_one_line():
    with pytest.raises(ValueError, match=r"^Samples: no times: measure at least once$"):
        Samples(())


@given(times)
def test_the_summary_is_ordered_and_does_not_depend_on_the_order_taken(ns: list[int]):
    samples = Samples(tuple(ns))
    q1, median, q3 = samples.quartiles
    assert samples.min <= q1 <= median <= q3 <= max(ns)
    assert samples.quartiles == Samples(tuple(sorted(ns))).quartiles


@given(times, st.integers(-8, 8))
def test_noise_has_no_unit(ns: list[int], power: int):
    # By a power of two, so that equality is exact.
    scaled = Samples(tuple(n * 2 ** (power + 8) for n in ns))
    assert scaled.noise == Samples(tuple(ns)).noise


def test_noise_reached_waits_for_enough_samples():
    rule = NoiseReached(relative=0.005, at_least=4)
    assert rule(Samples((1000,) * 3), elapsed_s=99) is None
    assert rule(Samples((1000,) * 4), elapsed_s=0) == "relative noise of 0.5 % reached"
    assert rule(Samples((1000, 1100) * 4), elapsed_s=99) is None


def test_noise_that_is_just_what_is_asked_for_is_reached():
    assert NoiseReached(relative=0.2, at_least=3)(Samples((8, 10, 12)), elapsed_s=0) == "relative noise of 20 % reached"


def test_a_machine_that_says_nothing_is_known_for_nothing():
    assert set(astuple(Machine())) == {None}


def test_samples_that_no_rule_stopped_have_no_words_of_one():
    assert Samples((1,)).stopped is None


def test_the_time_cap_stops_whatever_the_noise():
    assert TimeCap(1.5)(Samples((1, 100)), elapsed_s=1.4) is None
    assert TimeCap(1.5)(Samples((1, 100)), elapsed_s=1.5) == "time cap of 1.5 s"


def test_the_first_rule_to_stop_is_the_one_recorded():
    rule = FirstOf((NoiseReached(0.01, at_least=2), TimeCap(1)))
    assert rule(Samples((1, 100)), 0.5) is None
    assert rule(Samples((1, 100)), 2) == "time cap of 1 s"
    assert rule(Samples((100, 100)), 2) == "relative noise of 1 % reached"


def test_collecting_keeps_every_sample_and_says_why_it_stopped():
    batches = iter([[100, 300], [100, 100], [100, 100]])
    states = iter([Machine(sm_clock_mhz=1980), Machine(sm_clock_mhz=1755)])
    rule = FirstOf((NoiseReached(0.01, at_least=3), TimeCap(60)))
    samples = collect(batches.__next__, rule, states.__next__, ticking(1))
    assert samples.ns == (100, 300, 100, 100, 100, 100)
    assert samples.stopped == "relative noise of 1 % reached"
    assert (samples.before.sm_clock_mhz, samples.after.sm_clock_mhz) == (1980, 1755)


def test_a_noisy_point_ends_by_the_injected_clock():
    samples = collect(lambda: [1, 100], FirstOf((NoiseReached(0.01, 2), TimeCap(3))), clock_s=ticking(1))
    assert samples.stopped == "time cap of 3 s"
    assert len(samples.ns) == 6


def test_an_unknown_machine_is_not_held_against_a_sample():
    assert Samples((1,)).objections == ()


@pytest.mark.parametrize("reason", ["none", "gpu_idle", "applications_clocks_setting"])
def test_benign_throttle_reasons_mark_nothing(reason: str):
    assert objections(Machine(throttle_reasons=(reason,)), Machine(throttle_reasons=(reason,))) == ()


def test_throttling_on_either_side_marks_the_sample():
    hot = Machine(throttle_reasons=("gpu_idle", "sw_thermal_slowdown"))
    assert objections(hot, Machine()) == ("throttled (sw_thermal_slowdown)",)
    assert Samples((1,), after=hot).objections == ("throttled (sw_thermal_slowdown)",)


@pytest.mark.parametrize(("count", "text"), [(1, "1 other process"), (2, "2 other processes")])
def test_contention_on_either_side_marks_the_sample(count: int, text: str):
    assert objections(Machine(other_processes=0), Machine(other_processes=count)) == (
        f"contention ({text} on the GPU)",
    )


def test_a_driver_that_changed_its_speed_of_graphs_is_an_objection():
    def at(ns):
        return Machine(graph_kernel_ns=ns)

    assert objections(at(906), at(1086)) == ("the driver's pace of CUDA graphs changed (906 -> 1086 ns a kernel)",)
    assert objections(at(1086), at(906)) == ("the driver's pace of CUDA graphs changed (1086 -> 906 ns a kernel)",)
    assert objections(at(1086), at(1095)) == objections(at(None), at(906)) == objections(at(906), Machine()) == ()


def test_the_clock_counts_from_the_start_of_sampling():
    times = iter([100.0, 105.0, 111.0])
    assert collect(lambda: [1], TimeCap(10), clock_s=lambda: next(times)).ns == (1, 1)


def test_a_graph_speed_is_another_when_more_than_a_twentieth_apart():
    assert not graph_speed_changed(100, 105)
    assert graph_speed_changed(100, 106)
    assert graph_speed_changed(106, 100)
