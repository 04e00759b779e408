"""The gate for wall clocks: direction, noise, and what it cannot judge."""

from __future__ import annotations

from dataclasses import replace

import pytest
from served import USUAL, key, recorded, run, sampled

from pytest_ocrsweep.baselines import serving_gate
from pytest_ocrsweep.baselines.serving_gate import CAP, FLOOR, ServingNoise, ServingVerdict, judge, percent, worst
from pytest_ocrsweep.baselines.serving_metrics import SERVING_METRICS

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


def test_the_expectation_of_the_gate_for_device_times_is_not_the_one_for_walls():
    assert {metric.noise for metric in SERVING_METRICS.values()} == {0.01, 0.03}
    assert serving_gate.CHANCE == 0.0005
