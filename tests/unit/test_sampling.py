"""Sampling stops for a stated reason, keeps every sample, and knows when the machine was not fit."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from dataclasses import astuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_ocrsweep.baselines import sampling
from pytest_ocrsweep.baselines.machine import Machine, fastest_host, graph_speed_changed
from pytest_ocrsweep.baselines.sampling import (
    FirstOf,
    NoiseReached,
    Samples,
    TimeCap,
    agreeing,
    collect,
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


def test_the_clock_counts_from_the_start_of_sampling():
    times = iter([100.0, 105.0, 111.0])
    assert collect(lambda: [1], TimeCap(10), clock_s=lambda: next(times)).ns == (1, 1)


def objections(before: Machine, after: Machine) -> tuple[str, ...]:
    return Samples((1,), before=before, after=after).objections


def test_an_unknown_machine_is_not_held_against_a_sample():
    assert Samples((1,)).objections == ()


@pytest.mark.parametrize("reason", ["none", "gpu_idle", "applications_clocks_setting", "sw_power_cap"])
def test_benign_throttle_reasons_mark_nothing(reason: str):
    assert objections(Machine(throttle_reasons=(reason,)), Machine(throttle_reasons=(reason,))) == ()


@pytest.mark.parametrize(
    "reason",
    ["sw_thermal_slowdown", "hw_thermal_slowdown", "hw_slowdown", "hw_power_brake_slowdown", "sync_boost"],
)
def test_throttling_before_during_or_after_marks_the_sample(reason: str):
    hot, at_ease = Machine(throttle_reasons=("sw_power_cap", reason)), Machine(throttle_reasons=())
    assert objections(hot, Machine()) == objections(Machine(), hot) == (f"throttled ({reason} in 1 of 1 readings)",)
    seen = (f"throttled ({reason} in 1 of 4 readings)",)
    assert Samples((1,), None, at_ease, at_ease, during=(at_ease, hot)).objections == seen


def test_an_objection_says_what_was_seen_in_numbers():
    def at(clock: int, watts: float, degrees: int, *reasons: str) -> Machine:
        limits = {"max_clock_mhz": 1980, "power_limit_w": 700.0}
        return Machine(clock, watts, reasons, temperature_c=degrees, **limits)

    slow = at(1300, 498, 87, "hw_slowdown"), at(1500, 520, 86, "hw_thermal_slowdown")
    samples = Samples((1,), None, at(1980, 650, 70), at(1980, 600, 80), during=slow)
    assert samples.objections == (
        "throttled (hw_slowdown, hw_thermal_slowdown in 2 of 4 readings: 1,400 of 1,980 MHz, 509 of 700 W, 87 °C)",
    )


def test_reasons_of_several_rounds_are_said_once_with_the_numbers_of_all():
    hot = Machine(throttle_reasons=("hw_slowdown",), temperature_c=90)
    rounds = [
        Samples((1,), after=hot),
        Samples((1,), before=hot, after=Machine(throttle_reasons=(), other_processes=1)),
    ]
    assert sampling.objections(rounds) == (
        "throttled (hw_slowdown in 2 of 3 readings: 90 °C)",
        "contention (1 other process on the GPU)",
    )


@pytest.mark.parametrize(("count", "text"), [(1, "1 other process"), (2, "2 other processes")])
def test_contention_on_either_side_marks_the_sample(count: int, text: str):
    assert objections(Machine(other_processes=0), Machine(other_processes=count)) == (
        f"contention ({text} on the GPU)",
    )


# The driver's speed of graphs


def test_a_driver_that_changed_its_speed_of_graphs_is_an_objection():
    def at(ns):
        return Machine(graph_kernel_ns=ns)

    assert objections(at(906), at(1086)) == ("the driver's pace of CUDA graphs changed (906 -> 1086 ns a kernel)",)
    assert objections(at(1086), at(906)) == ("the driver's pace of CUDA graphs changed (1086 -> 906 ns a kernel)",)
    assert objections(at(1086), at(1095)) == objections(at(None), at(906)) == objections(at(906), Machine()) == ()


def test_a_lower_clock_is_no_other_speed_of_the_driver():
    def at(ns, clock):
        return Machine(graph_kernel_ns=ns, sm_clock_mhz=clock)

    assert objections(at(876, 1965), at(1000, 1700)) == ()
    assert objections(at(906, 1980), at(1086, 1965))


def test_a_speed_that_the_driver_does_not_keep_is_an_objection_though_both_readings_agree():
    fast = Machine(graph_kernel_ns=906, lasting_kernel_ns=1086)
    said = ("the driver ran CUDA graphs faster than it does for good (906 against 1086 ns a kernel)",)
    assert objections(fast, fast) == said
    slower = Machine(graph_kernel_ns=1300, lasting_kernel_ns=1086)  # by a lower clock: the driver has no third speed
    assert objections(slower, slower) == ()


def test_a_graph_speed_is_another_when_the_two_are_halfway_apart():
    assert not graph_speed_changed(100, 109)
    assert graph_speed_changed(100, 110)
    assert graph_speed_changed(110, 100)


# Rounds of one process


def test_rounds_that_disagree_are_not_pooled_and_those_that_agree_count():
    fast, slow, slower = Samples((900,) * 5), Samples((1000,) * 5), Samples((1010,) * 5)
    assert agreeing([fast]) == (fast,)
    assert agreeing([fast, slow]) == ()
    assert agreeing([slow, fast, slower]) == (slow, slower)
    assert agreeing([fast, slow, Samples((1011,) * 5)]) == ()


def test_a_noisy_clock_allows_rounds_to_differ_by_its_noise():
    one, other = Samples((970, 1000, 1030)), Samples((1050, 1050, 1050))
    assert one.noise == 0.03
    assert agreeing([one, other]) == (one, other)
    assert agreeing([one, Samples((1061,))]) == ()


def test_rounds_that_are_not_acceptable_do_not_count():
    hot = Samples((1000,), after=Machine(throttle_reasons=("hw_slowdown",)))
    assert agreeing([hot, Samples((1000,))]) == (Samples((1000,)),)
    assert agreeing([hot, hot]) == ()


# What is read while samples are taken


def test_the_machine_is_read_all_the_while_though_a_batch_takes_long(monkeypatch):
    monkeypatch.setattr(sampling, "GLANCE_S", 0.01)
    clocks = itertools.count(1000)

    def batch() -> list[int]:
        time.sleep(0.2)
        return [1]

    samples = collect(batch, TimeCap(0), glance=lambda: Machine(sm_clock_mhz=next(clocks)))
    assert len(samples.during) > 2
    assert [reading.sm_clock_mhz for reading in samples.during[:3]] == [1000, 1001, 1002]


def test_a_round_that_is_over_at_once_is_not_disturbed():
    assert collect(lambda: [1], TimeCap(0), glance=pytest.fail).during == ()


def test_a_machine_that_can_no_longer_be_read_does_not_end_the_sampling(monkeypatch):
    monkeypatch.setattr(sampling, "GLANCE_S", 0.001)

    def lost() -> Machine:
        raise OSError("the GPU is lost")

    assert collect(lambda: [time.sleep(0.02) or 1], TimeCap(0), glance=lost).during == ()


def test_clock_and_power_are_means_of_what_was_read_under_load():
    during = (Machine(1700, 690.0), Machine(1650, 700.0), Machine(None, None))
    idle = Machine(1980, 100.0)
    rounds = [Samples((1,), None, idle, idle, during)]
    assert (sampling.sm_clock_mhz(rounds), sampling.power_w(rounds)) == (1675, 695.0)
    short = [Samples((1,), None, idle, Machine(1965, 300.5))]
    assert (sampling.sm_clock_mhz(short), sampling.power_w(short)) == (1965, 300.5)
    assert (sampling.sm_clock_mhz([Samples((1,))]), sampling.power_w([Samples((1,))])) == (None, None)


@pytest.mark.parametrize(
    ("host_ns", "fastest"),
    [
        ([], None),
        ([100], 100),
        ([30, 100], 30),
        ([100, 30, 104], 100),
        ([100, 99, 240, 240], 100),
        ([1, 100, 100], 100),
    ],
)
def test_a_hosts_fastest_speed_does_not_hang_on_one_reading(host_ns: list[int], fastest: int | None) -> None:
    assert fastest_host(host_ns) == fastest
