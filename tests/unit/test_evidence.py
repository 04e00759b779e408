"""A point's recorded processes: one in an odd state moves neither the time nor the margin."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_ocrsweep.baselines.evidence import OUTLYING, Baseline, Process
from pytest_ocrsweep.baselines.gate import margin

MS = 1_000_000


def recorded(*medians_ms: float) -> Baseline:
    return Baseline(tuple(Process(ms * MS, ms * MS * 0.999, ms * MS * 1.001, 10) for ms in medians_ms))


def test_one_outlying_process_of_five_is_left_out():
    with_it, without = recorded(10.0, 9.99, 10.01, 10.0, 10.5), recorded(10.0, 9.99, 10.01, 10.0)
    assert [process.median_ns for process in with_it.outlying] == [10.5 * MS]
    assert with_it.typical == without.processes
    assert (with_it.time_ns, with_it.spread, margin(with_it)) == (without.time_ns, without.spread, margin(without))


def test_two_that_agree_do_not_move_the_three_that_do_and_a_third_does():
    then, now = [10.0] * 3, [10.5] * 3
    assert recorded(*then, *now[:2]).time_ns == 10 * MS
    assert recorded(*then[:2], *now).time_ns == 10.5 * MS


def test_of_two_processes_none_is_outlying():
    assert recorded(10.0, 15.0).outlying == ()
    assert recorded(10.0, 15.0).time_ns == 12.5 * MS


def test_one_of_three_may_be_outlying_and_half_of_four_are_no_majority():
    assert [process.median_ns for process in recorded(10.0, 10.0, 10.5).outlying] == [10.5 * MS]
    assert recorded(9.0, 10.0, 10.1, 12.0).outlying == ()


def test_the_state_of_a_process_is_given_by_name():
    with pytest.raises(TypeError):
        Process(MS, MS, MS, 10, None)  # type: ignore[misc]  # that is what is tested


def test_processes_without_a_majority_that_lies_together_are_all_taken():
    apart = recorded(9.0, 9.5, 10.0, 10.5, 11.0)
    assert apart.outlying == ()
    assert margin(apart) > 0.1


def test_one_upper_quartile_that_is_off_moves_nothing():
    usual = recorded(10.0, 10.0, 10.0)
    last = usual.processes[-1]
    wide = Baseline((*usual.processes[:-1], Process(last.median_ns, last.q1_ns, last.q3_ns * 1.03, last.samples)))
    assert (wide.q3_ns, margin(wide)) == (usual.q3_ns, margin(usual))


@given(st.lists(st.floats(1, 1e6), min_size=1, max_size=5))
def test_typical_and_outlying_processes_are_all_there_are_and_most_are_typical(medians: list[float]) -> None:
    baseline = recorded(*medians)
    assert sorted(baseline.typical + baseline.outlying, key=id) == sorted(baseline.processes, key=id)
    assert 2 * len(baseline.typical) > len(medians)
    assert min(medians) * MS * (1 - 1e-9) <= baseline.time_ns <= max(medians) * MS * (1 + 1e-9)


@pytest.mark.parametrize("off", [-OUTLYING * 0.99, OUTLYING * 0.99])
def test_a_process_as_far_as_two_machines_is_typical(off: float) -> None:
    assert recorded(10.0, 10.0, 10.0 * (1 + off)).outlying == ()
