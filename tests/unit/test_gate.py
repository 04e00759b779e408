"""The gate's verdicts: each outcome and message, the laws they obey, and how often they are wrong."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable
from dataclasses import astuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_ocrsweep.baselines.attribution import Observed, attribute
from pytest_ocrsweep.baselines.evidence import EXPECTED_NOISE, Baseline, Process, expected_noise
from pytest_ocrsweep.baselines.gate import CHANCE, FLOOR, ROUNDS, Outcome, judge, margin
from pytest_ocrsweep.baselines.machine import Machine
from pytest_ocrsweep.baselines.sampling import Samples, agreeing
from pytest_ocrsweep.baselines.settle import settle
from pytest_ocrsweep.baselines.students_t import student

MS = 1_000_000
NOTHING = Observed()
# Nine quantiles of replays whose (q3 - q1) / median is 0.2 %.
SHAPE = (-0.003, -0.002, -0.001, -0.0005, 0.0, 0.0005, 0.001, 0.002, 0.003)


def replays(median_ns: float, widen: float = 1) -> Samples:
    return Samples(tuple(round(median_ns * (1 + widen * x)) for x in SHAPE))


def recorded(*medians_ms: float, observed: Observed = NOTHING, widen: float = 1) -> Baseline:
    return Baseline(tuple(Process.of(replays(ms * MS, widen)) for ms in medians_ms), observed)


STEADY = recorded(9.99, 10.0, 10.01, 10.0)


# Outcomes and their messages


def test_unchanged_code_passes_after_one_round():
    verdict = judge(STEADY, [replays(10.02 * MS)])
    assert verdict.outcome is Outcome.PASS
    assert verdict.message == "time +0.2 %, margin 1.1 %"
    assert verdict.change == pytest.approx(0.002)
    assert not verdict.again


def test_a_clear_slowdown_fails_at_once_and_says_where_to_look():
    then = Observed(tensor_flops=10**12, kernels=773, sm_clock_mhz=1980)
    now = Observed(tensor_flops=10**12, kernels=773, sm_clock_mhz=1755)
    baseline = recorded(9.99, 10.0, 10.01, 10.0, observed=then)
    verdict = judge(baseline, [replays(10.71 * MS)], now)
    assert verdict.outcome is Outcome.FAIL
    assert not verdict.again
    assert verdict.message == (
        "slower than its baseline: time +7.1 %, FLOPs and kernels unchanged, SM clock 1980 -> 1755 MHz: "
        "look at the machine first (margin 1.1 %, rounds 1); if meant, accept with --ocrsweep-update"
    )


def test_a_failure_takes_the_clock_from_the_round_that_was_judged():
    baseline = recorded(10.0, 10.0, 10.0, observed=Observed(sm_clock_mhz=1980))
    slow = Samples(replays(11 * MS).ns, after=Machine(sm_clock_mhz=1755))
    assert "SM clock 1980 -> 1755 MHz" in judge(baseline, [slow]).message


def test_a_time_near_the_margin_is_measured_again():
    verdict = judge(STEADY, [replays(10.1 * MS)])
    assert verdict.outcome is Outcome.AMBIGUOUS
    assert verdict.again
    assert verdict.message == "time +1.0 %, margin 1.1 %: too close to tell after 1 of 3 rounds"


def test_the_last_round_decides_by_the_margin_alone():
    assert judge(STEADY, [replays(10.1 * MS)] * ROUNDS).outcome is Outcome.PASS
    assert judge(STEADY, [replays(10.13 * MS)] * ROUNDS).outcome is Outcome.FAIL


def test_overlapping_quartiles_left_at_the_end_pass_and_say_so():
    # 1.3 % slower in the median, but a quarter of the samples is as fast as ever.
    ragged = Samples((*[10 * MS] * 3, *[round(10.13 * MS)] * 6))
    assert judge(STEADY, [ragged]).outcome is Outcome.AMBIGUOUS
    verdict = judge(STEADY, [ragged] * ROUNDS)
    assert verdict.outcome is Outcome.PASS
    assert verdict.message == ("time +1.3 %, margin 1.1 %: quartiles still overlap the baseline's: not proven slower")


def test_overlapping_quartiles_excuse_no_slowdown_beyond_the_band():
    ragged = Samples((*[10 * MS] * 3, *[13 * MS] * 6))
    assert judge(STEADY, [ragged]).outcome is Outcome.AMBIGUOUS
    assert judge(STEADY, [ragged] * ROUNDS).outcome is Outcome.FAIL


def test_faster_is_a_notice_with_the_command_that_accepts_it():
    verdict = judge(STEADY, [replays(9.5 * MS)])
    assert verdict.outcome is Outcome.IMPROVED
    assert verdict.message == "time -5.0 %, margin 1.1 %: faster than its baseline: accept with --ocrsweep-update"


def test_faster_within_the_margin_is_no_notice_though_quartiles_are_apart():
    verdict = judge(STEADY, [replays(9.93 * MS)])
    assert (verdict.outcome, verdict.message) == (Outcome.PASS, "time -0.7 %, margin 1.1 %")


def test_a_slowdown_beyond_the_band_needs_no_second_round_where_quartiles_are_apart_nor_they_at_the_end():
    """2 % against a margin of 1.1 % and a band up to 1.65 %."""
    assert judge(STEADY, [replays(10.2 * MS)]).outcome is Outcome.FAIL
    ragged = Samples((*[10 * MS] * 3, *[round(10.2 * MS)] * 6))
    assert judge(STEADY, [ragged] * ROUNDS).outcome is Outcome.FAIL


def test_a_missing_baseline_is_its_own_outcome():
    verdict = judge(None, [replays(MS)])
    assert verdict.outcome is Outcome.NO_BASELINE
    assert verdict.message == "no baseline: record this time with --ocrsweep-update"


@pytest.mark.parametrize("baseline", [STEADY, None])
def test_throttled_samples_alone_are_never_a_pass(baseline: Baseline | None):
    hot = Samples(replays(10 * MS).ns, after=Machine(throttle_reasons=("sw_thermal_slowdown",)))
    first, last = judge(baseline, [hot]), judge(baseline, [hot] * ROUNDS)
    assert first.outcome is last.outcome is Outcome.NO_SAMPLE
    assert first.again
    assert not last.again
    assert last.message == (
        "no acceptable sample: 0 of 27 samples acceptable, 5 needed: "
        "throttled (sw_thermal_slowdown in 3 of 3 readings): measure again on a free, cool GPU"
    )


def test_too_few_samples_are_no_sample():
    verdict = judge(STEADY, [Samples((10 * MS,))])
    assert verdict.outcome is Outcome.NO_SAMPLE
    assert "1 of 1 samples acceptable, 5 needed: too few were taken" in verdict.message


def test_marked_rounds_are_kept_but_not_judged():
    hot = Samples(replays(20 * MS).ns, before=Machine(other_processes=1))
    verdict = judge(STEADY, [hot, replays(10 * MS)])
    assert verdict.outcome is Outcome.PASS
    assert verdict.rounds == (hot, replays(10 * MS))


def test_a_baseline_without_processes_is_refused_in_one_line():
    with pytest.raises(ValueError, match=r"^Baseline: no process recorded: record at least one with --ocrsweep"):
        Baseline(())


# On the edges

OVER = Process(10 * MS, 10 * MS, 13 * MS, samples=10**9)
UNDER = Process(10 * MS, 7 * MS, 10 * MS, samples=10**9)


def test_outcomes_are_the_words_that_reports_hold():
    words = ["pass", "fail", "ambiguous", "improved", "no baseline", "no acceptable sample"]
    assert [str(outcome) for outcome in Outcome] == words


def test_what_is_not_judged_has_no_numbers():
    verdict = judge(None, [replays(10 * MS)])
    assert (verdict.change, verdict.margin, verdict.again) == (None, None, False)


def test_a_verdict_has_the_margin_it_was_judged_by():
    assert judge(STEADY, [replays(10 * MS)]).margin == margin(STEADY)


def test_five_samples_are_enough_and_four_are_not():
    assert judge(STEADY, [Samples((10 * MS,) * 5)]).outcome is Outcome.PASS
    assert judge(STEADY, [Samples((10 * MS,) * 4)]).outcome is Outcome.NO_SAMPLE


def test_percentages_are_hundredths():
    wide = recorded(8.0, 10.0, 12.0)
    percent = f"{100 * margin(wide):.1f} %"
    assert judge(wide, [replays(15 * MS)] * ROUNDS).message == f"time +50.0 %, margin {percent}"
    assert f"(margin {percent}, rounds 1)" in judge(wide, [replays(90 * MS)]).message


def test_between_the_margin_and_the_band_the_first_round_is_not_enough():
    assert judge(STEADY, [replays(10.13 * MS)]).outcome is Outcome.AMBIGUOUS


def test_quartiles_that_touch_are_not_apart():
    assert judge(Baseline((OVER,) * 3), [Samples((13 * MS,) * 9)]).outcome is Outcome.AMBIGUOUS
    assert judge(Baseline((UNDER,) * 3), [Samples((7 * MS,) * 9)]).outcome is Outcome.PASS


def test_settling_tells_what_is_known_of_now():
    baseline = recorded(10.0, 10.0, 10.0, observed=Observed(kernels=773))
    verdict = settle(baseline, lambda: replays(12 * MS), Observed(kernels=774))
    assert "kernels 773 -> 774" in verdict.message


def test_a_time_known_of_one_side_only_is_left_out():
    assert attribute(Observed(kernels=7), Observed(time_ns=5.0, kernels=8)).startswith("kernels 7 -> 8: ")


def test_the_same_work_needs_no_more_than_flops_and_kernels():
    same = Observed(tensor_flops=10**9, kernels=773)
    assert "same work, slower" in attribute(same, same)


# Re-measuring


def test_settling_stops_at_the_round_that_decides():
    rounds = iter([replays(10.1 * MS), replays(10.0 * MS)])
    verdict = settle(STEADY, rounds.__next__)
    assert (verdict.outcome, len(verdict.rounds)) == (Outcome.PASS, 2)


def test_settling_measures_no_more_than_the_cap():
    verdict = settle(STEADY, lambda: replays(10.1 * MS), cap=4)
    assert (verdict.outcome, len(verdict.rounds)) == (Outcome.PASS, 4)


def test_an_unacceptable_round_is_measured_again():
    hot = Samples(replays(10 * MS).ns, after=Machine(other_processes=2))
    rounds = iter([hot, replays(10 * MS)])
    assert settle(STEADY, rounds.__next__).outcome is Outcome.PASS


# Rounds that disagree, and what no single round decides


def test_a_faster_time_is_measured_again_and_stands_if_a_second_round_agrees():
    verdict = settle(STEADY, lambda: replays(9.5 * MS))
    assert (verdict.outcome, len(verdict.rounds)) == (Outcome.IMPROVED, 2)


def test_one_fast_round_is_no_improvement_and_is_not_pooled():
    rounds = iter([replays(8.9 * MS), replays(10 * MS), replays(10.01 * MS)])
    verdict = settle(STEADY, rounds.__next__)
    assert (verdict.outcome, len(verdict.rounds)) == (Outcome.PASS, 3)
    assert verdict.change == pytest.approx(0.0005, rel=1e-3)


def test_a_first_time_is_measured_twice_and_the_rounds_that_agree_are_it():
    assert len(settle(None, lambda: replays(10 * MS)).rounds) == 2
    rounds = iter([replays(8.9 * MS), replays(10 * MS), replays(10.01 * MS)])
    verdict = settle(None, rounds.__next__)
    assert (verdict.outcome, len(verdict.rounds)) == (Outcome.NO_BASELINE, 3)
    assert agreeing(verdict.rounds) == (replays(10 * MS), replays(10.01 * MS))


@pytest.mark.parametrize("baseline", [STEADY, None])
def test_rounds_of_which_no_two_agree_are_no_sample(baseline: Baseline | None):
    rounds = iter([replays(8.9 * MS), replays(10 * MS), replays(11 * MS)])
    verdict = settle(baseline, rounds.__next__)
    assert verdict.outcome is Outcome.NO_SAMPLE
    assert verdict.message == (
        "no acceptable sample: no two of 3 rounds agree within 1 %, they took 8.900, 10.000 and 11.000 ms: "
        "measure again on a free, cool GPU"
    )


@pytest.mark.parametrize("baseline", [STEADY, None])
def test_one_acceptable_round_is_enough_to_pass_by_but_not_for_a_faster_or_a_first_time(baseline: Baseline | None):
    hot = Samples(replays(9 * MS).ns, before=Machine(other_processes=1))
    verdict = settle(baseline, iter([hot, hot, replays(9 * MS)]).__next__)
    assert verdict.outcome is Outcome.NO_SAMPLE
    assert verdict.message == (
        "no acceptable sample: 1 of 3 rounds acceptable, a first or faster time needs 2: "
        "contention (1 other process on the GPU): measure again on a free, cool GPU"
    )
    assert settle(STEADY, iter([hot, hot, replays(10 * MS)]).__next__).outcome is Outcome.PASS


# Margins


def test_no_margin_is_below_the_floor():
    assert margin(recorded(*[10.0] * 9)) == FLOOR


def test_a_noisy_baseline_widens_its_own_margin_only():
    assert margin(recorded(9.9, 10.0, 10.1)) > 1.4 * margin(recorded(9.99, 10.0, 10.01))


def test_more_processes_narrow_the_margin():
    assert margin(recorded(10.0)) > margin(recorded(*[10.0] * 3)) > margin(recorded(*[10.0] * 5))


def test_processes_that_agree_better_than_their_samples_allow_were_lucky():
    ragged = recorded(10.0, 10.0, 10.0, widen=50)
    error = ragged.processes[0].median_error
    assert margin(ragged) == pytest.approx(student(CHANCE, 8) * error * math.sqrt(1 + 1 / 3))
    assert margin(ragged) > 2 * margin(recorded(10.0, 10.0, 10.0))


def test_the_error_of_a_median_follows_from_quartiles_as_of_a_normal_distribution():
    """Of n values with a deviation of 1 the median's is √(π/2n), and quartiles lie 0.6745 from the middle."""
    process = Process(200, 200 - 0.67449, 200 + 0.67449, samples=25)
    assert process.median_error == pytest.approx(math.sqrt(math.pi / 2 / 25) / 200, rel=1e-3)


def test_a_margin_is_students_t_over_the_moderated_spread():
    """Four medians that spread by 1 % and 6 expected degrees of freedom at 0.5 %: 9 in all."""
    baseline = recorded(9.9, 9.9, 10.1, 10.1)
    spread = math.sqrt(4 * 0.1**2 / 3) / 10
    assert baseline.spread == pytest.approx(spread, rel=1e-6)
    between = math.sqrt((6 * 0.005**2 + 3 * spread**2) / 9)
    assert margin(baseline, 0.005) == pytest.approx(student(CHANCE, 9) * between * math.sqrt(1 + 1 / 4), rel=1e-6)


def test_a_single_process_has_no_spread_and_leans_on_what_is_expected():
    assert recorded(10.0).spread is None
    assert margin(recorded(10.0), 0.005) == pytest.approx(student(CHANCE, 6) * 0.005 * math.sqrt(2), rel=1e-6)


@pytest.mark.parametrize("count", range(1, 17))
def test_each_process_adds_a_degree_of_freedom(count: int):
    many = recorded(*[9.95, 10.05] * 8)  # 1 % apart: all of them typical
    baseline = Baseline(many.processes[:count])
    df = 6 + count - 1
    between = math.sqrt((6 * 0.005**2 + (count - 1) * (baseline.spread or 0) ** 2) / df)
    expected = student(CHANCE, df) * between * math.sqrt(1 + 1 / count)
    assert margin(baseline, 0.005) == pytest.approx(expected, rel=1e-6)


def test_the_noise_of_points_recorded_together_is_learned():
    assert expected_noise([]) == EXPECTED_NOISE
    assert expected_noise([recorded(10.0), STEADY]) == EXPECTED_NOISE  # never below what is expected
    noisy = [recorded(9.9, 10.0, 10.1)] * 3
    assert expected_noise([STEADY, *noisy]) == pytest.approx(0.01, rel=0.01)
    assert margin(STEADY, expected_noise(noisy)) > 2 * margin(STEADY)


@pytest.mark.parametrize("df", [5, 6, 6.5, 8, 10, 14, 100, 400])
@pytest.mark.parametrize("chance", [0.05, CHANCE, 1e-5, 1e-6])
def test_students_t_is_exceeded_with_its_chance(df: float, chance: float):
    # The density over x = sqrt(df) tan(u), by the midpoint rule.
    norm = math.exp(math.lgamma((df + 1) / 2) - math.lgamma(df / 2)) / math.sqrt(math.pi)
    low, steps = math.atan(student(chance, df) / math.sqrt(df)), 10_000
    width = (math.pi / 2 - low) / steps
    tail = norm * width * sum(math.cos(low + (i + 0.5) * width) ** (df - 1) for i in range(steps))
    assert tail == pytest.approx(chance, rel=3e-5)


def test_students_t_is_that_of_the_tables():
    table = {6: 5.959, 7: 5.408, 8: 5.041, 9: 4.781, 10: 4.587}
    assert {df: round(student(0.0005, df), 3) for df in table} == table


# Where to look first

BEFORE = Observed(time_ns=100.0, tensor_flops=10**9, kernels=773, peak_bytes=837_000_000, sm_clock_mhz=1980)


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        (
            {"sm_clock_mhz": 1755},
            "time +7.1 %, FLOPs, kernels and peak memory unchanged, SM clock 1980 -> 1755 MHz: "
            "look at the machine first",
        ),
        (
            {"kernels": 780, "sm_clock_mhz": 1755},
            "time +7.1 %, FLOPs and peak memory unchanged, kernels 773 -> 780, SM clock 1980 -> 1755 MHz: "
            "other kernels: look at library versions and backends",
        ),
        (
            {"tensor_flops": 2 * 10**9, "kernels": 780},
            "time +7.1 %, SM clock and peak memory unchanged, FLOPs 1,000,000,000 -> 2,000,000,000, "
            "kernels 773 -> 780: other work: look at the model and the workload",
        ),
        (
            {"peak_bytes": 900_000_000},
            "time +7.1 %, FLOPs, kernels and SM clock unchanged, "
            "peak memory 837,000,000 -> 900,000,000 bytes: look for a new copy or temporary tensor",
        ),
        (
            {},
            "time +7.1 %, FLOPs, kernels, SM clock and peak memory unchanged: "
            "same work, same clock, slower: look at drivers, libraries or the code between kernels",
        ),
        (
            {"sm_clock_mhz": None},
            "time +7.1 %, FLOPs, kernels and peak memory unchanged: "
            "same work, slower: look at drivers, libraries or the code between kernels",
        ),
        (
            {"tensor_flops": None, "kernels": None, "peak_bytes": None},
            "time +7.1 %, SM clock unchanged: "
            "same clock, slower: look at drivers, libraries or the code between kernels",
        ),
        (
            {"tensor_flops": None, "kernels": None, "peak_bytes": None, "sm_clock_mhz": 2100},
            "time +7.1 %, SM clock 1980 -> 2100 MHz: slower: look at drivers, libraries or the code between kernels",
        ),
        (
            {"tensor_flops": None, "kernels": None, "peak_bytes": None, "sm_clock_mhz": None},
            "time +7.1 %: nothing else is known of both then and now",
        ),
    ],
    ids=["clock", "kernels", "flops", "memory", "nothing", "no clock", "only clock", "clock rose", "unknown"],
)
def test_attribution(changed: dict[str, int | None], told: str):
    now = {"tensor_flops": 10**9, "kernels": 773, "peak_bytes": 837_000_000, "sm_clock_mhz": 1980} | changed
    assert attribute(BEFORE, Observed(time_ns=107.1, **now)) == told


def test_one_boost_step_is_the_same_clock():
    assert attribute(Observed(sm_clock_mhz=1980), Observed(sm_clock_mhz=1965)).startswith("SM clock unchanged")


def test_what_was_not_seen_is_none():
    assert set(astuple(Observed())) == {None}


def test_nothing_known_is_said_and_not_invented():
    assert attribute(Observed(), Observed()) == "nothing else is known of both then and now"


# Laws

medians = st.lists(st.integers(9 * MS, 11 * MS), min_size=1, max_size=5)
samples = st.lists(st.integers(9 * MS, 13 * MS), min_size=5, max_size=20)
counts = st.integers(1, ROUNDS)


def of(medians_ns: Iterable[int]) -> Baseline:
    return Baseline(tuple(Process.of(replays(m)) for m in medians_ns))


@given(medians, st.lists(st.tuples(st.integers(9 * MS, 13 * MS), st.integers(0, MS)), min_size=5), counts)
def test_slower_samples_never_turn_a_failure_green(recorded_ns: list[int], pairs: list[tuple[int, int]], count: int):
    before = judge(of(recorded_ns), [Samples(tuple(ns for ns, _ in pairs))] * count)
    after = judge(of(recorded_ns), [Samples(tuple(ns + more for ns, more in pairs))] * count)
    if before.outcome is Outcome.FAIL:
        assert after.outcome is Outcome.FAIL
    if before.outcome is Outcome.AMBIGUOUS:
        assert after.outcome in (Outcome.AMBIGUOUS, Outcome.FAIL)


@given(medians, samples, counts, st.integers(1, 10))
def test_the_verdict_has_no_unit(recorded_ns: list[int], ns: list[int], count: int, power: int):
    # By a power of two, so that equality is exact.
    baseline = of(recorded_ns)
    scaled = Baseline(
        tuple(
            Process(p.median_ns * 2**power, p.q1_ns * 2**power, p.q3_ns * 2**power, p.samples)
            for p in baseline.processes
        )
    )
    plain = judge(baseline, [Samples(tuple(ns))] * count)
    other = judge(scaled, [Samples(tuple(n * 2**power for n in ns))] * count)
    assert (plain.outcome, plain.message, plain.change) == (other.outcome, other.message, other.change)


@given(medians, samples, counts, st.randoms(use_true_random=False))
def test_the_order_of_samples_and_processes_does_not_matter(
    recorded_ns: list[int], ns: list[int], count: int, shuffle: random.Random
):
    plain = judge(of(recorded_ns), [Samples(tuple(ns))] * count)
    shuffle.shuffle(ns)
    shuffle.shuffle(recorded_ns)
    other = judge(of(recorded_ns), [Samples(tuple(ns))] * count)
    assert (plain.outcome, plain.message) == (other.outcome, other.message)


# How often it is wrong


def rate_of_fail(sigma: float, slower: float, files: int, processes: int = 4, learn: bool = True) -> float:
    """Share of FAIL over `files` baselines of 12 points, each point judged once.

    The hard case: each process has a normal offset of `sigma`, all of which stays when it measures again.
    """
    chance = random.Random(f"{sigma} {slower} {processes}")

    def process_ms() -> float:
        return 10 * (1 + chance.gauss(0, sigma))

    failed = 0
    for _ in range(files):
        points = [recorded(*(process_ms() for _ in range(processes))) for _ in range(12)]
        expected = expected_noise(points) if learn else EXPECTED_NOISE
        for point in points:
            now = replays(MS * process_ms() * (1 + slower))
            failed += settle(point, lambda now=now: now, expected=expected).outcome is Outcome.FAIL
    return failed / (12 * files)


@pytest.mark.parametrize("sigma", [0.003, *(pytest.param(each, marks=pytest.mark.slow) for each in (0.001, 0.007))])
def test_unchanged_code_is_red_less_than_once_in_two_thousand(sigma: float):
    assert rate_of_fail(sigma, 0, files=600) < 5e-4


@pytest.mark.parametrize(
    ("sigma", "slower", "at_least"),
    [
        (0.001, 0.02, 0.995),
        (0.001, 0.03, 0.999),
        (0.003, 0.02, 0.8),
        (0.003, 0.03, 0.995),
        (0.007, 0.05, 0.9),
    ],
)
def test_a_slowdown_is_red(sigma: float, slower: float, at_least: float):
    assert rate_of_fail(sigma, slower, files=100) >= at_least


def test_two_percent_stays_unseen_where_processes_differ_by_as_much():
    """What the gate cannot do: sigma 0.7 % is outside what an H200's replays show."""
    assert rate_of_fail(0.007, 0.02, files=100) < 0.25
