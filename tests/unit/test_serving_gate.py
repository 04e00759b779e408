"""The gate for wall clocks: direction, noise, and what it cannot judge."""

from __future__ import annotations

import math
import statistics
from dataclasses import replace

import pytest
from served import USUAL, key, recorded, run, sampled

from pytest_ocrsweep.baselines import serving_gate
from pytest_ocrsweep.baselines.serving_gate import CAP, FLOOR, ServingNoise, ServingVerdict, judge, percent, worst
from pytest_ocrsweep.baselines.serving_metrics import SERVING_METRICS
from pytest_ocrsweep.baselines.students_t import student

KEY = key()
FIVE = recorded(0.0, 0.004, -0.004, 0.002, -0.002)
OTHERS = {key(concurrency=n): recorded(0.0, 0.004, -0.004, 0.002, -0.002) for n in (1, 16, 32, 64)}


def verdicts(*runs, noise=None):
    noise = noise or ServingNoise({KEY: FIVE, **OTHERS})
    return {each.metric: each.verdict for each in judge(KEY, runs, noise)}


@pytest.mark.parametrize("metric", USUAL)
def test_a_worse_metric_fails_by_itself_whichever_way_is_better(metric):
    found = verdicts(run(**{metric: 0.15}), noise=ServingNoise({KEY: FIVE, **OTHERS}))
    assert found.pop(metric) is ServingVerdict.FAIL
    assert set(found.values()) == {ServingVerdict.PASS}


@pytest.mark.parametrize("metric", [name for name in USUAL if not name.endswith("p99_ns")])
def test_a_better_metric_is_improved_and_never_red(metric):
    found = verdicts(run(**{metric: -0.15}, **({"ttft_p99_ns": 0} if metric == "ttft_ns" else {})))
    assert found.pop(metric) is ServingVerdict.IMPROVED
    assert set(found.values()) == {ServingVerdict.PASS}


def test_more_pages_a_second_are_no_slowdown():
    judged = {each.metric: each for each in judge(KEY, [run(pages_per_s=-0.2)], ServingNoise({KEY: FIVE}))}
    assert judged["pages_per_s"].change == pytest.approx(0.2)
    assert judged["pages_per_s"].verdict is ServingVerdict.IMPROVED


def test_an_unchanged_run_passes():
    assert set(verdicts(run(0.003)).values()) == {ServingVerdict.PASS}


def test_nothing_recorded_is_new():
    assert set(verdicts(run(), noise=ServingNoise({})).values()) == {ServingVerdict.NEW}
    assert worst(judge(KEY, [run()], ServingNoise({}))) is ServingVerdict.NEW


def test_one_recorded_run_without_samples_cannot_judge():
    judged = judge(KEY, [run(0.5)], ServingNoise({KEY: FIVE[:1]}))
    assert {each.verdict for each in judged} == {ServingVerdict.NOT_JUDGED}
    assert {each.margin for each in judged} == {None}
    assert "one recorded run without samples" in judged[0].why


def test_one_recorded_run_judges_by_the_spread_inside_of_it():
    noise = ServingNoise({KEY: [sampled(0.05, 200)]})
    assert verdicts(run(), noise=noise)["ttft_ns"] is ServingVerdict.PASS
    assert verdicts(run(0.3), noise=noise)["ttft_ns"] is ServingVerdict.FAIL


def test_the_spread_inside_of_a_run_widens_the_margin():
    calm, wild = (ServingNoise({KEY: [sampled(spread, 20)]}).margin(KEY, "ttft_ns", 1) for spread in (0.01, 0.5))
    assert wild > 5 * calm


def test_the_99th_percentile_of_few_requests_is_not_judged():
    judged = {each.metric: each for each in judge(KEY, [run(0.5, requests=99)], ServingNoise({KEY: FIVE}))}
    assert judged["ttft_p99_ns"].verdict is ServingVerdict.NOT_JUDGED
    assert judged["ttft_p99_ns"].why == "the 99th percentile of 99 requests is the slowest one; 100 are needed"
    assert judged["ttft_ns"].verdict is ServingVerdict.FAIL


def test_several_runs_are_judged_by_their_mean_with_a_smaller_margin():
    noise = ServingNoise({KEY: FIVE, **OTHERS})
    assert noise.margin(KEY, "ttft_ns", 3) < noise.margin(KEY, "ttft_ns", 1)
    (judged, *_) = judge(KEY, recorded(0.02, 0.03, 0.04), noise)
    assert judged.change == pytest.approx(0.03, abs=1e-4)


def test_more_runs_and_other_points_of_the_file_make_the_margin_smaller():
    two, five = (ServingNoise({KEY: FIVE[:n]}).margin(KEY, "ttft_ns", 1) for n in (2, 5))
    many = ServingNoise({KEY: FIVE, **OTHERS}).margin(KEY, "ttft_ns", 1)
    assert two > five > many > FLOOR


def test_a_noisy_point_has_a_wide_margin_that_the_others_do_not_share():
    noisy = recorded(0.0, 0.1, -0.1, 0.05, -0.05)
    noise = ServingNoise({KEY: noisy, **OTHERS})
    assert noise.margin(KEY, "ttft_ns", 1) > 2 * CAP
    assert noise.margin(key(concurrency=64), "ttft_ns", 1) < CAP


def test_no_margin_is_below_the_floor():
    same = ServingNoise({key(concurrency=n): recorded(0, 0, 0, 0, 0) for n in range(1, 60)})
    assert same.margin(key(concurrency=1), "ttft_ns", 5) == FLOOR


def test_one_odd_run_counts_for_nothing_and_two_are_noise():
    one = ServingNoise({KEY: [*FIVE[:4], run(0.3)], **OTHERS})
    two = ServingNoise({KEY: [*FIVE[:3], run(0.3), run(0.35)], **OTHERS})
    assert [each.runs for each in judge(KEY, [run()], one) if each.metric == "ttft_ns"] == [4]
    assert one.margin(KEY, "ttft_ns", 1) < CAP
    assert [each.runs for each in judge(KEY, [run()], two) if each.metric == "ttft_ns"] == [5]
    assert two.margin(KEY, "ttft_ns", 1) > CAP


def test_a_margin_beyond_the_cap_is_blind_unless_the_metric_failed():
    noise = ServingNoise({KEY: recorded(0.0, 0.03)})
    assert next(each.is_blind for each in judge(KEY, [run()], noise))
    assert not next(each.is_blind for each in judge(KEY, [run(0.9)], noise))


def test_a_metric_that_the_run_lacks_is_not_judged_as_0():
    lacks = replace(run(), metrics={name: figure for name, figure in run().metrics.items() if name == "pages_per_s"})
    assert list(verdicts(lacks)) == ["pages_per_s"]


def test_the_worst_verdict_is_a_points():
    order = [ServingVerdict.FAIL, ServingVerdict.NEW, ServingVerdict.NOT_JUDGED, ServingVerdict.IMPROVED]
    assert list(ServingVerdict) == [*order, ServingVerdict.PASS]


def test_a_tiny_change_has_no_sign():
    assert (percent(0.051), percent(-0.0004), percent(-0.3)) == ("+5.1 %", "0.0 %", "-30.0 %")


# The margin, worked out here once more


def by_hand(expected: float, variance: float, known: int, recorded_runs: int, judged: int = 1) -> float:
    """Student's t times the noise: the runs' variance moderated by what is expected, of six degrees of freedom."""
    sigma = math.sqrt((6 * expected**2 + known * variance) / (6 + known))
    return student(0.0005, 6 + known) * sigma * math.sqrt(1 / recorded_runs + 1 / judged)


def variance(runs) -> float:
    values = [each.metrics["ttft_ns"].value for each in runs]
    return statistics.variance(values) / statistics.fmean(values) ** 2


def test_a_lone_points_margin_is_by_its_runs_and_by_one_percent():
    alone = ServingNoise({KEY: FIVE})
    assert alone.margin(KEY, "ttft_ns", 1) == pytest.approx(by_hand(0.01, variance(FIVE), 4, 5))
    assert alone.margin(KEY, "ttft_ns", 3) == pytest.approx(by_hand(0.01, variance(FIVE), 4, 5, judged=3))


def test_a_tail_is_expected_to_be_three_times_as_noisy():
    alone = ServingNoise({KEY: FIVE})
    assert alone.margin(KEY, "ttft_p99_ns", 1) == pytest.approx(by_hand(0.03, variance(FIVE), 4, 5), rel=1e-3)


def test_other_points_move_the_expectation_by_the_middle_of_their_variances():
    noisy, calm, still = recorded(0, 0.04, -0.04), recorded(0, 0.01, -0.01), recorded(0, 0.001, -0.001)
    others = {key(concurrency=n): runs for n, runs in enumerate((noisy, calm, still), 20)}
    middle = variance(calm) / (1 - 2 / 18) ** 3  # the median of a variance of three values is less than its mean
    expected = math.sqrt((6 * 0.01**2 + 6 * middle) / 12)
    margin = ServingNoise({KEY: FIVE, **others}).margin(KEY, "ttft_ns", 1)
    assert margin == pytest.approx(by_hand(expected, variance(FIVE), 4, 5))


def test_a_file_with_few_runs_is_expected_to_be_twice_as_noisy():
    two, three, four = (recorded(*([0.0, 0.01, -0.01, 0.005][:n])) for n in (2, 3, 4))
    for runs, expected in ((two, 0.02), (three, 0.02), (four, 0.01)):
        margin = ServingNoise({KEY: runs}).margin(KEY, "ttft_ns", 1)
        assert margin == pytest.approx(by_hand(expected, variance(runs), len(runs) - 1, len(runs)))


def test_a_new_points_margin_is_by_the_others():
    margin = ServingNoise(OTHERS).margin(KEY, "ttft_ns", 1)
    middle = variance(FIVE) / (1 - 2 / 36) ** 3
    assert margin == pytest.approx(by_hand(math.sqrt((6 * 0.01**2 + 16 * middle) / 22), 0.0, 0, 1))


def test_samples_that_scatter_more_than_runs_are_the_noise():
    runs = [sampled(0.5, 25, by) for by in (0.0, 0.001, 0.002, 0.003)]
    error = statistics.median(each.metrics["ttft_ns"].error for each in runs)
    assert ServingNoise({KEY: runs}).margin(KEY, "ttft_ns", 1) == pytest.approx(
        student(0.0005, 9) * error * math.sqrt(1 / 4 + 1)
    )


def test_the_odd_one_of_three_is_left_out_and_of_two_none():
    assert [len(serving_gate.typical("ttft_ns", recorded(*by))) for by in ((0, 0.001, 0.4), (0, 0.4))] == [2, 2]
    assert len(serving_gate.typical("ttft_ns", recorded(0, 0.049, -0.049))) == 3
    assert len(serving_gate.typical("ttft_ns", recorded(0, 0.001, 0.052))) == 2


# What an update asks


def test_a_run_agrees_if_it_is_within_all_margins_to_either_side():
    noise = ServingNoise({KEY: FIVE, **OTHERS})
    assert serving_gate.agree(KEY, run(0.003), noise)
    assert not serving_gate.agree(KEY, run(tpot_ns=0.1), noise)
    assert not serving_gate.agree(KEY, run(tpot_ns=-0.1), noise)
    assert serving_gate.agree(KEY, run(ttft_p99_ns=0.5, requests=99), noise)  # a tail that nobody judges


def test_beside_a_single_run_any_other_agrees_and_beside_two_it_must():
    assert serving_gate.agree(KEY, run(0.9), ServingNoise({KEY: FIVE[:1]}))
    assert not serving_gate.agree(KEY, run(0.9), ServingNoise({KEY: FIVE[:2]}))


def test_runs_are_together_if_the_furthest_are_within_one_margin():
    noise = ServingNoise({KEY: FIVE, **OTHERS})
    margin = noise.margin(KEY, "ttft_ns", 1)
    assert serving_gate.together(KEY, recorded(0, margin / 2, 0.9 * margin), noise)
    assert not serving_gate.together(KEY, recorded(0, 0.0, 1.1 * margin), noise)
    tails = [run(requests=99), run(requests=99, ttft_p99_ns=0.5), run(requests=99)]
    assert serving_gate.together(KEY, tails, noise)
    assert not serving_gate.together(KEY, [run(), run(ttft_p99_ns=0.5), run()], noise)


def test_of_no_metric_the_verdict_is_new():
    assert worst([]) is ServingVerdict.NEW


def test_the_expectation_of_the_gate_for_device_times_is_not_the_one_for_walls():
    assert {metric.noise for metric in SERVING_METRICS.values()} == {0.01, 0.02, 0.03}
    assert serving_gate.CHANCE == 0.0005
