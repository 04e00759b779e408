"""How a point moves: by three processes that agree, never by one, and never unseen from its anchor."""

from __future__ import annotations

from dataclasses import replace

import pytest
from drifting import KEY, NS, time

from pytest_ocrsweep.baselines import anchor
from pytest_ocrsweep.baselines.anchor import AGREEING, Became, Drift, accept, drift, drift_of, noise_of, update
from pytest_ocrsweep.baselines.attribution import Observed
from pytest_ocrsweep.baselines.evidence import EXPECTED_NOISE
from pytest_ocrsweep.baselines.measurement import GateResult, Measurement, TimeSummary
from pytest_ocrsweep.baselines.power_cap import PowerCap
from pytest_ocrsweep.baselines.recorded_time import KEPT, RecordedTime
from pytest_ocrsweep.baselines.timed_rows import environments_of
from pytest_ocrsweep.sweep import drifts
from pytest_ocrsweep.sweep.session import Sweep

DATE = "2026-03-01T12:00:00Z"
LATER = "2026-09-01T12:00:00Z"


def slower(percent: float, run: int = 0):
    return time(round(NS * (1 + percent / 100)), run)


def recorded(*percents: float, stored: RecordedTime | None = None, date: str = DATE) -> RecordedTime:
    """The point after updates that the gate did not judge."""
    for run, percent in enumerate(percents):
        stored = update(stored, slower(percent, run), date).stored
    assert stored is not None
    return stored


FIVE = recorded(0, 0.2, -0.1, 0.1, -0.2)


def became(stored: RecordedTime | None, *percents: float) -> list[str]:
    words = []
    for run, percent in enumerate(percents):
        step = update(stored, slower(percent, run), LATER)
        stored = step.stored
        words.append(step.became.value)
    return words


def test_the_first_process_is_its_points_anchor():
    step = update(None, slower(0), DATE)
    assert step.became is Became.FIRST
    assert step.stored.anchor.taken == step.stored.taken == (slower(0).taken,)
    assert step.stored.anchor.since == DATE


def test_the_anchor_takes_five_processes_that_agree_and_then_no_more():
    assert FIVE.anchor.taken == FIVE.taken
    grown = recorded(0.3, stored=FIVE, date=LATER)
    assert grown.anchor == FIVE.anchor
    assert len(grown.taken) == KEPT
    assert grown.taken[-1] == slower(0.3).taken


def test_what_an_older_version_recorded_is_its_own_anchor_without_a_date():
    old = replace(FIVE, anchor=None)
    assert (old.anchored.taken, old.anchored.since) == (FIVE.taken, None)
    assert "since its first recorded times" in str(drift(old, NS))
    assert recorded(0.3, stored=old).anchor.taken == FIVE.taken
    assert list(environments_of(old)) == [each.environment for each in FIVE.taken]


def test_one_process_that_disagrees_drops_nothing_that_five_said():
    step = update(FIVE, slower(5.1), LATER)
    assert step.became is Became.DISAGREES
    assert replace(step.stored, pending=()) == FIVE
    assert step.stored.pending == (slower(5.1).taken,)
    said = "decode 2x3 flash: +5.1 % is kept, 1 of 3 that must agree; run the update again"
    assert step.about("decode 2x3 flash") == said


def test_three_processes_that_agree_move_the_point_and_not_its_anchor():
    assert became(FIVE, 5.1, 5.2, 5.0) == ["disagrees", "disagrees", "moved"]
    moved = recorded(5.1, 5.2, 5.0, stored=FIVE, date=LATER)
    assert moved.taken == tuple(slower(percent, run).taken for run, percent in enumerate((5.1, 5.2, 5.0)))
    assert moved.anchor == FIVE.anchor
    assert moved.pending == ()
    step = update(recorded(5.1, 5.2, stored=FIVE), slower(5.0), LATER)
    assert step.about("decode 2x3 flash") == "decode 2x3 flash moved by +5.0 %: 3 processes agree"


def test_processes_that_disagree_with_each_other_move_nothing():
    assert became(FIVE, 5, 8, 11, -4, 14) == ["disagrees"] * 5
    step = update(recorded(5, 8, stored=FIVE), slower(11), LATER)
    assert "3 processes that disagree with the recorded ones; 3 of them must agree; " in step.about("p")


def test_three_of_five_that_disagree_are_enough():
    assert became(FIVE, 5, 8, 5.1, 11, 5.2)[-1] == "moved"


def test_no_more_than_five_are_kept_pending():
    assert len(recorded(*range(5, 40, 4), stored=FIVE).pending) == KEPT


def test_a_process_that_agrees_clears_what_is_pending():
    assert recorded(5.1, 0.1, stored=FIVE).pending == ()
    assert became(FIVE, 5.1, 5.2, 0.1, 5.0) == ["disagrees", "disagrees", "agrees", "disagrees"]


def test_a_point_that_got_faster_is_held_to_its_new_time():
    faster = recorded(-5, -5.1, -4.9, stored=FIVE, date=LATER)
    assert faster.anchor.taken == faster.taken
    assert faster.anchor.since == LATER


@pytest.mark.parametrize(
    "change", [{"experts": "grouped_mm"}, {"clock": "host"}, {"observed": Observed(tensor_flops=1)}], ids=str
)
def test_other_work_begins_a_point_anew_with_its_anchor(change):
    step = update(FIVE, replace(slower(0), **change), LATER)
    assert step.became is Became.MOVED
    assert len(step.stored.taken) == len(step.stored.anchor.taken) == 1
    assert step.stored.anchor.since == LATER
    assert step.about("decode 2x3 flash") is None


@pytest.mark.parametrize(("agrees", "word"), [(True, "agrees"), (False, "disagrees"), (None, "agrees")])
def test_the_gates_word_counts_and_without_it_the_margin(agrees, word):
    assert update(FIVE, slower(0.4), LATER, agrees=agrees).became == word


def test_a_process_that_agrees_with_the_latest_alone_does_not_widen_a_young_anchor():
    young = recorded(0, 0.1)
    step = update(young, slower(3), LATER, agrees=True)
    assert step.stored.taken == (*young.taken, slower(3).taken)
    assert step.stored.anchor == young.anchor


def test_a_drift_is_seen_beyond_the_margin_and_says_since_when():
    assert not drift(FIVE, NS * 1.01).is_seen
    seen = drift(FIVE, NS * 1.016)
    assert seen.is_seen
    assert str(seen) == "drifted +1.6 % since 2026-03-01 (anchor of 5 processes, margin 1.1 %)"
    assert drift(FIVE, NS * 0.98).is_seen


@pytest.mark.parametrize(("percent", "limit", "exceeds"), [(2.9, 3, False), (3.1, 3, True), (-9, 3, False)])
def test_only_a_slower_time_exceeds_the_limit(percent, limit, exceeds):
    assert drift(FIVE, NS * (1 + percent / 100)).exceeds(limit / 100) is exceeds


def test_noise_alone_exceeds_no_limit():
    assert not drift(FIVE, NS * 1.01).exceeds(0.001)
    assert drift(FIVE, NS * 1.01).margin > 0.01


def test_an_acceptance_makes_the_latest_times_the_anchor_and_nothing_on_the_way():
    drifted = recorded(0.5, 1, 1.5, 2, 2.4, 2.5, stored=FIVE)
    accepted = accept(replace(drifted, pending=(slower(9).taken,)), LATER)
    assert [round(100 * (each.process.median_ns / NS - 1), 1) for each in accepted.anchor.taken] == [1.5, 2.0, 2.4, 2.5]
    assert (accepted.anchor.since, accepted.pending, accepted.taken) == (LATER, (), drifted.taken)


def capped(percent: float, share: float = 1.0):
    found = slower(percent)
    return replace(found, process=replace(found.process, power_cap=PowerCap(share, 1700)))


def test_three_processes_under_the_power_cap_are_a_point_with_an_anchor_of_its_own():
    stored = FIVE
    for percent, word in ((20, "disagrees"), (20.1, "disagrees"), (20.2, "moved")):
        step = update(stored, capped(percent), LATER)
        stored = step.stored
        assert step.became == word
    assert stored.anchor.taken == stored.taken
    assert stored.anchor.since == LATER


def test_processes_of_two_states_do_not_agree_with_each_other():
    pending = replace(FIVE, pending=(slower(20).taken, slower(20.1).taken))
    assert update(pending, capped(20.2), LATER).became is Became.DISAGREES


def test_what_all_points_of_a_run_share_is_no_drift_of_one():
    assert drift(FIVE, NS * 1.016).is_seen
    beside = drift(FIVE, NS * 1.016, shared=0.012)
    assert not beside.is_seen
    assert beside.change == pytest.approx(0.004, abs=0.0005)


def test_a_time_at_the_margin_or_the_limit_is_not_beyond_it():
    assert not Drift(0.01, 0.01, 5, None).is_seen
    assert not Drift(-0.01, 0.01, 5, None).is_seen
    assert not Drift(0.03, 0.01, 5, None).exceeds(0.03)
    assert not Drift(0.03, 0.03, 5, None).exceeds(0.01)


def test_on_a_noisy_machine_processes_further_apart_agree():
    pending = recorded(12.0, 13.5, stored=FIVE)
    assert update(pending, slower(15), LATER).became is Became.DISAGREES
    assert update(pending, slower(15), LATER, expected=0.02).became is Became.MOVED


def test_a_point_drifts_by_its_own_anchor_and_the_noise_of_its_stage():
    noise = noise_of([FIVE, recorded(0, 2, -2, 1, -1)])
    assert noise > noise_of([FIVE])
    judged = found(2, 0.004)
    assert drift_of(FIVE, judged, noise) == drift(FIVE, judged.device_ns.median, noise, shared=judged.gate.of_machine)
    assert drift_of(None, judged, noise) is None
    failed = replace(judged, gate=replace(judged.gate, outcome="fail"))
    assert drift_of(FIVE, failed, noise) is None


def test_agreeing_is_a_majority_of_what_is_kept():
    assert 2 * AGREEING > KEPT


def found(percent: float, shared: float = 0.0) -> Measurement:
    """A time on an H200, beside what all points share."""
    ns = TimeSummary(round(NS * (1 + percent / 100)))
    gate = GateResult("pass", 0.0, 0.01, shared, 0.013)
    return Measurement(ns, None, None, None, None, "NVIDIA H200", "host", None, None, None, gate=gate)


def test_an_offset_that_no_machine_explains_excuses_no_drift():
    assert not drift_of(FIVE, found(1.6, 0.012), EXPECTED_NOISE).is_seen
    for beyond in (0.03, -0.03):
        assert drift_of(FIVE, found(1.6, beyond), EXPECTED_NOISE).change == pytest.approx(0.016)


def test_the_noise_of_the_anchors_is_worked_out_once_for_a_stage(monkeypatch: pytest.MonkeyPatch):
    asked = []
    monkeypatch.setattr(anchor, "noise_of", lambda times: asked.append(len(times)) or EXPECTED_NOISE)
    sweep = Sweep(options=None)
    sweep.recorded_times = {("nvidia-h200", "decode"): {KEY: FIVE}}
    assert [drifts.drift_of(sweep, "decode", KEY, found(percent)).is_seen for percent in (0, 1.6, 2)] == [
        False,
        True,
        True,
    ]
    assert asked == [1]
