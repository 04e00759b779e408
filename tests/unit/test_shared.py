"""What all points of a family share: taken out of the record, measured at some of them, judged by itself."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_ocrsweep import CropGrid, Workload
from pytest_ocrsweep.baselines import gate
from pytest_ocrsweep.baselines.attribution import Observed
from pytest_ocrsweep.baselines.counted import PointKey
from pytest_ocrsweep.baselines.evidence import Baseline, Process
from pytest_ocrsweep.baselines.gate import Decision, Outcome
from pytest_ocrsweep.baselines.machine import Machine
from pytest_ocrsweep.baselines.measurement import Environment
from pytest_ocrsweep.baselines.power_cap import PowerCap
from pytest_ocrsweep.baselines.recorded_time import RecordedTime
from pytest_ocrsweep.baselines.sampling import Samples
from pytest_ocrsweep.baselines.settle import settle
from pytest_ocrsweep.baselines.shared import ALONE, LEAST, MOST, Family, Shared, aligned, of_family, spread_out

HERE, THERE = Environment("node1", "NVIDIA H200"), Environment("node2", "NVIDIA H200")
MS = 1_000_000


def process(ms: float) -> Process:
    return Process(ms * MS, ms * MS * 0.999, ms * MS * 1.001, 10)


def key(index: int, attention: str = "flash", batch: int = 1) -> PointKey:
    return PointKey(Workload(CropGrid(1, index + 1), prompt_tokens=10, new_tokens=100, batch=batch), attention)


def recorded(*ran: tuple[float, Environment]) -> RecordedTime:
    times = tuple(process(ms) for ms, _ in ran)
    return RecordedTime(Baseline(times), "host", None, None, tuple(where for _, where in ran), None)


def family(count: int, there: float = 1.01, attention: str = "flash") -> dict[PointKey, RecordedTime]:
    """Points recorded three times here, and twice on a machine where all of them are slower."""
    return {
        key(index, attention): recorded(
            *[((10 + index) * x, HERE) for x in (1, 1.001, 0.999)],
            *[((10 + index) * there * x, THERE) for x in (1, 1.001)],
        )
        for index in range(count)
    }


# The record


def test_another_machine_of_the_record_widens_no_margin():
    apart, alike = family(LEAST, there=1.015), family(LEAST, there=1.0)
    for point, baseline in aligned(apart).items():
        assert gate.margin(baseline) == pytest.approx(gate.margin(aligned(alike)[point]), rel=0.05)
        assert gate.margin(apart[point].baseline) > 2 * gate.margin(baseline)


def test_a_point_that_differs_on_one_machine_alone_is_left_as_it_is():
    points = family(LEAST, there=1.0)
    points[key(0)] = recorded((10, HERE), (10, HERE), (10.1, THERE))
    medians = [process.median_ns for process in aligned(points)[key(0)].processes]
    assert medians == pytest.approx([10 * MS, 10 * MS, 10.1 * MS], rel=2e-3)


def test_the_state_of_a_process_stays():
    points = family(LEAST)
    capped = [replace(each, power_cap=PowerCap(1.0, 1700)) for each in points[key(0)].baseline.processes]
    points[key(0)] = replace(points[key(0)], baseline=Baseline(tuple(capped)))
    assert {each.power_cap for each in aligned(points)[key(0)].processes} == {PowerCap(1.0, 1700)}


def test_the_quartiles_of_a_process_move_with_its_median():
    points = family(LEAST, there=1.02)
    (*_, last), (*_, was) = aligned(points)[key(0)].processes, points[key(0)].baseline.processes
    assert last.median_ns < 0.99 * was.median_ns
    for name in ("q1_ns", "q3_ns"):
        assert getattr(last, name) / last.median_ns == pytest.approx(getattr(was, name) / was.median_ns)


def test_few_points_tell_no_machine_and_families_do_not_mix():
    few, other = family(LEAST - 1, there=1.015), family(LEAST - 1, there=1.015, attention="eager")
    assert aligned(few | other) == {point: stored.baseline for point, stored in (few | other).items()}


def test_a_family_is_the_points_of_one_workload_and_attention():
    points = [key(0), key(1), key(0, "eager"), key(0, batch=4)]
    assert of_family(points, key(1)) == points[:2]
    assert Family.of(key(0)) == Family.of(key(7))


def test_the_points_that_tell_an_offset_reach_from_the_shortest_to_the_longest():
    baselines = {key(index): Baseline((process(10 + index),)) for index in range(23)}
    chosen = spread_out(baselines, baselines)
    assert (len(chosen), chosen[0], chosen[-1]) == (MOST, key(0), key(22))
    assert len(set(chosen)) == MOST
    assert spread_out([key(3), key(1)], baselines) == [key(1), key(3)]
    assert spread_out([key(3)], baselines) == [key(3)]


# The offset


@given(st.lists(st.floats(-0.01, 0.01), min_size=LEAST, max_size=MOST), st.floats(0.05, 0.5))
def test_one_point_that_moved_hardly_moves_the_offset(changes: list[float], by: float) -> None:
    moved = [changes[0] + by, *changes[1:]]
    assert min(changes) <= Shared.of(moved).offset <= max(changes)


@pytest.mark.parametrize("count", [6, 8])
@pytest.mark.parametrize("by", [0.03, -0.03])
def test_half_of_the_points_that_moved_are_no_offset_of_the_others(count: int, by: float) -> None:
    half = count // 2
    assert Shared.of([by] * half + [0.001] * half) == Shared.of([0.001] * count)


def test_points_that_moved_apart_excuse_no_more_than_points_that_moved_alike():
    """A slowdown that grows with the page, of 0 to 6 %."""
    graded = Shared.of([0.06 * i / 8 for i in range(9)])
    assert graded == Shared.of([0.03] * 9)
    assert graded.limit < graded.offset


def test_fewer_points_tell_nothing():
    assert Shared.of([0.02] * (LEAST - 1)) == ALONE
    assert Shared.of([0.02] * LEAST).offset == 0.02


def test_the_error_of_an_offset_is_that_of_a_median_of_normal_changes():
    assert Shared.of([-0.02, -0.01, 0.0, 0.01, 0.02], 0.002) == Shared(0.0, pytest.approx(1.2533 * 0.002 / 5**0.5), 5)
    assert Shared(0.0, 0.0, 0) == ALONE


def test_more_points_tell_it_better():
    assert Shared.of([0.01] * 9).error < Shared.of([0.01] * 5).error


# Both levels

BASELINE = Baseline(tuple(process(10 * x) for x in (1, 1.001, 0.999)))


def shared(offset: float) -> Shared:
    return Shared(offset, 0.0005, 9)


def judged(slower: float, offset: float) -> Decision:
    samples = Samples(tuple(round(10 * MS * (1 + slower) * (1 + 0.0001 * i)) for i in range(10)))
    return gate.judge(BASELINE, [samples] * 3, shared=shared(offset))


@pytest.mark.parametrize(
    ("slower", "offset", "outcome"),
    [
        (0.012, 0.012, Outcome.PASS),  # a slow machine
        (0.035, 0.01, Outcome.FAIL),  # the point alone
        (0.03, 0.03, Outcome.FAIL),  # all of them
        (0.011, 0.02, Outcome.FAIL),  # one of them, though by less than its own margin
        (0.005, 0.02, Outcome.PASS),  # not one of them
        (-0.03, -0.01, Outcome.IMPROVED),
        (-0.03, -0.03, Outcome.IMPROVED),
        (0.0, 0.03, Outcome.PASS),
        (0.018, 0.04, Outcome.FAIL),  # by less than half as much, and by more than a machine may
        (-0.02, 0.03, Outcome.IMPROVED),
        (0.0, -0.03, Outcome.PASS),  # the others got faster, by more than machines differ
        (0.02, -0.03, Outcome.FAIL),
        (0.006, -0.012, Outcome.FAIL),  # on a fast machine
        (0.004, -0.016, Outcome.FAIL),  # on a very fast one
        (0.0, 0.008, Outcome.PASS),
    ],
)
def test_a_point_is_judged_by_what_it_does_not_share_and_the_whole_by_its_limit(slower, offset, outcome):
    decision = judged(slower, offset)
    assert decision.outcome is outcome
    assert decision.shared == shared(offset)
    assert decision.change == pytest.approx(slower, abs=1e-3)


def test_a_slower_whole_is_told_as_the_whole():
    message = judged(0.03, 0.03).message
    assert "all points together are 3.0 % slower than recorded (median of 9 points, limit 1.3 %)" in message
    assert "this one +0.0 % beside them: look at the machine, the driver, or code that all of them run" in message


def test_what_a_message_says_of_the_whole_is_in_percent():
    samples = Samples(tuple(round(10 * MS * 1.12) for _ in range(10)))
    message = gate.judge(BASELINE, [samples] * 3, shared=Shared(0.12, 0.02, 9)).message
    assert "all points together are 12.0 % slower than recorded (median of 9 points, limit 8.0 %), this one" in message
    beside = gate.judge(BASELINE, [Samples((round(10 * MS * 1.06),) * 10)] * 3, shared=Shared(0.12, 0.02, 9))
    assert beside.outcome is not Outcome.PASS


def test_a_point_beside_others_that_moved_more_than_machines_differ_says_so():
    assert judged(0.0, -0.03).message.startswith("time +0.0 %, -3.0 % in the middle of all points, margin")
    assert judged(-0.03, -0.03).message.startswith("time -3.0 %, of which -3.0 % in all points, margin")


def test_a_point_that_is_slower_than_the_others_says_both_shares():
    assert "(of which +1.0 % in all points, margin" in judged(0.035, 0.01).message


def test_an_uncertain_offset_widens_the_margin():
    sure, unsure = Shared(0.01, 0.0, 9), Shared(0.01, 0.01, 5)
    assert gate.margin(BASELINE, shared=unsure) > gate.margin(BASELINE, shared=sure) == gate.margin(BASELINE)


# New processes


def rounds(*slower: float) -> Iterator[Samples]:
    for each in slower:
        yield Samples(tuple(round(10 * MS * (1 + each)) for _ in range(10)))


def settled(here: list[float], fresh: list[float]) -> Decision:
    ours, theirs = rounds(*here), rounds(*fresh)
    return settle(BASELINE, lambda: next(ours), fresh=lambda: next(theirs, None))


def test_what_is_close_is_settled_by_new_processes_and_not_by_this_ones_luck():
    assert settled([0.012], [0.0, 0.001]).outcome is Outcome.PASS
    assert settled([0.012], [0.012, 0.013]).outcome is Outcome.FAIL
    assert "processes 3" in settled([0.012], [0.012, 0.013]).message


def test_what_is_clear_starts_no_process():
    assert settled([0.0], []).rounds == tuple(rounds(0.0))
    assert settled([0.05], []).outcome is Outcome.FAIL


def test_the_first_round_is_judged_beside_the_other_points_too():
    ours = rounds(0.03)
    decision = settle(BASELINE, lambda: next(ours), shared=Shared(0.03, 0.008, 9))
    assert (decision.outcome, decision.shared.offset, len(decision.rounds)) == (Outcome.PASS, 0.03, 1)


def test_a_refused_or_a_faster_round_starts_no_process():
    hot = Machine(throttle_reasons=("hw_thermal_slowdown",))
    refused = Samples((10 * MS,) * 10, before=hot, after=hot)

    def none() -> Samples:
        raise AssertionError("a process was started")

    for first, *others in ((refused, *rounds(0.0)), tuple(rounds(-0.05, -0.05))):
        ours = iter((first, *others))
        assert len(settle(BASELINE, lambda ours=ours: next(ours), fresh=none).rounds) == 2


def test_what_is_final_for_want_of_a_process_is_judged_as_every_round_is():
    ours, theirs = rounds(0.032), rounds(0.033)
    decision = settle(
        BASELINE,
        lambda: next(ours),
        Observed(kernels=8),
        fresh=lambda: next(theirs, None),
        expected=0.004,
        shared=shared(0.01),
    )
    assert (decision.apart, decision.shared.offset, len(decision.rounds)) == (True, 0.01, 2)
    assert decision.margin == gate.margin(BASELINE, 0.004, shared=shared(0.01), processes=2)
    assert decision.outcome is Outcome.FAIL
    with_kernels = replace(BASELINE, observed=Observed(kernels=7))
    ours, theirs = rounds(0.012), rounds(0.013)
    decision = settle(with_kernels, lambda: next(ours), Observed(kernels=8), fresh=lambda: next(theirs, None))
    assert "kernels 7 -> 8" in decision.message


def test_without_new_processes_rounds_of_this_one_decide():
    decision = settled([0.012, 0.013, 0.012], [])
    assert (len(decision.rounds), decision.apart) == (3, False)


def test_a_second_process_that_comes_to_nothing_leaves_the_decision_to_what_there_is():
    decision = settled([0.012], [0.013])
    assert (len(decision.rounds), decision.apart, decision.outcome) == (2, True, Outcome.FAIL)


def test_the_mean_of_processes_has_a_smaller_margin():
    wide = Baseline(tuple(process(10 * x) for x in (1, 1.005, 0.995)))
    assert gate.margin(wide, processes=3) < gate.margin(wide)


def test_a_refused_round_of_a_new_process_counts_for_nothing():
    hot = Machine(throttle_reasons=("hw_thermal_slowdown",))
    first, refused = next(rounds(0.012)), Samples((20 * MS,) * 10, before=hot, after=hot)
    decision = gate.judge(BASELINE, [first, refused], apart=True)
    assert decision.change == pytest.approx(0.012)


def test_a_noisy_clocks_offset_is_no_slowdown():
    noisy = Shared(0.03, 0.01, 9)
    assert noisy.limit == 0.04
    samples = Samples(tuple(round(10 * MS * 1.03) for _ in range(10)))
    assert gate.judge(BASELINE, [samples] * 3, shared=noisy).outcome is Outcome.PASS


def test_a_process_that_was_slower_in_all_points_of_a_machine_widens_no_margin():
    def points(by: float) -> dict[PointKey, RecordedTime]:
        return {
            key(index): recorded(*[((10 + index) * x, HERE) for x in (1, 1.001, 0.999, by)][index % 2 :])
            for index in range(2 * LEAST)  # half of them lost their oldest process
        }

    for point, baseline in aligned(points(1.01)).items():
        assert gate.margin(baseline) == pytest.approx(gate.margin(aligned(points(1.0))[point]), rel=0.1)
