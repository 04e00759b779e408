"""The power cap is a state of a process: like is compared with like, and what the clock accounts for is said."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from pytest_ocrsweep import CropGrid, Workload
from pytest_ocrsweep.baselines import power_cap, timed
from pytest_ocrsweep.baselines.attribution import Observed, attribute
from pytest_ocrsweep.baselines.counted import PointKey
from pytest_ocrsweep.baselines.evidence import Baseline, Process
from pytest_ocrsweep.baselines.gate import Outcome, agrees, judge, margin, other_state
from pytest_ocrsweep.baselines.machine import Machine
from pytest_ocrsweep.baselines.measurement import Environment
from pytest_ocrsweep.baselines.power_cap import CAPPED_NOISE, PowerCap
from pytest_ocrsweep.baselines.recorded_time import TimedProcess
from pytest_ocrsweep.baselines.sampling import Samples
from pytest_ocrsweep.baselines.settle import settle
from pytest_ocrsweep.errors import BaselineError

NS = 664_000_000
LIMITS = {"max_clock_mhz": 1980, "power_limit_w": 700.0}


def readings(share: float, clock: int = 1700, watts: float = 698.0, count: int = 20) -> tuple[Machine, ...]:
    capped = round(share * count)
    return tuple(Machine(clock, watts, ("sw_power_cap",) if i < capped else (), **LIMITS) for i in range(count))


def under(time_ns: float, share: float = 1.0, clock: int = 1700) -> Samples:
    return Samples(tuple(round(time_ns * (1 + x / 1000)) for x in (-1, 0, 0, 0, 1)), during=readings(share, clock))


def recorded(*shares: float, clock: int = 1700) -> Baseline:
    return Baseline(tuple(Process.of(under(NS, share, clock)) for share in shares))


CAPPED = recorded(1.0, 1.0, 1.0)


# The state


def test_a_process_has_the_share_of_its_readings_under_the_cap_and_its_mean_clock():
    assert PowerCap.of((*readings(1, 1700), *readings(0, 1800))) == PowerCap(0.5, 1750)
    assert PowerCap.of(readings(0.1)) == PowerCap(0.1, 1700)


def test_a_flicker_of_the_cap_and_an_unknown_machine_are_no_state():
    assert PowerCap.of(readings(0.05)) is PowerCap.of([Machine()]) is PowerCap.of([]) is None


def test_the_state_of_a_baseline_is_that_of_most_of_its_processes():
    assert recorded(1.0, 0.9, 0.0).power_cap == PowerCap(0.9, 1700)
    assert recorded(1.0, 0.0, 0.0).power_cap is None


@pytest.mark.parametrize(
    ("then", "now", "same"),
    [(0, 0, True), (0.45, 0.55, True), (0, 0.5, True), (0, 0.6, False), (1, 0.5, True), (1, 0.4, False)],
)
def test_states_are_apart_when_their_shares_are_so_a_point_near_any_threshold_has_one_state(then, now, same):
    assert power_cap.same_state(PowerCap.of(readings(then)), PowerCap.of(readings(now))) is same


# Like with like


def test_an_unchanged_point_under_the_cap_is_judged_and_passes():
    assert settle(CAPPED, lambda: under(NS)).outcome is Outcome.PASS


def test_a_first_time_under_the_cap_is_a_time_to_record():
    assert settle(None, lambda: under(NS)).outcome is Outcome.NO_BASELINE


def test_a_time_under_the_cap_is_not_compared_with_one_without_it():
    verdict = judge(recorded(0, 0), [under(NS, 0.97, 1640)])
    assert verdict.outcome is Outcome.NO_BASELINE
    assert verdict.message == (
        "no baseline: recorded without the power cap, now under it in 95 % of readings: 1,640 of 1,980 MHz, "
        "698 of 700 W: record this time with --ocrsweep-update"
    )


def test_nor_one_without_it_with_one_under_it():
    assert other_state(CAPPED, [under(NS, 0)]) == (
        "recorded under the power cap in 100 % of readings at 1,700 MHz, now without it"
    )
    assert other_state(CAPPED, [under(NS, 0.2)]) == (
        "recorded under the power cap in 100 % of readings at 1,700 MHz, now under it in 20 % of readings"
    )


def test_where_nothing_is_known_of_the_machine_now_times_are_compared():
    unknown = Samples((NS,) * 5)
    assert other_state(CAPPED, [unknown]) is None
    assert judge(CAPPED, [unknown]).outcome is Outcome.PASS


def test_rounds_that_do_not_count_have_no_state():
    hot = Samples((NS,) * 5, after=Machine(throttle_reasons=("hw_slowdown",)))
    assert other_state(CAPPED, [hot]) is None


def test_a_process_in_another_state_agrees_with_nothing():
    assert agrees(CAPPED, Process.of(under(NS)))
    assert not agrees(CAPPED, Process.of(under(NS, 0)))


# The margin, and time beside cycles


def test_more_noise_is_expected_under_the_cap():
    assert margin(CAPPED) == margin(CAPPED, CAPPED_NOISE) > 1.3 * margin(recorded(0, 0, 0))


def test_two_cards_as_seen_are_within_the_margin_of_either():
    for one, other in ((664_130_676, 667_531_677), (1_711_312_134, 1_720_549_316)):
        baseline = Baseline(tuple(Process.of(under(one)) for _ in range(3)))
        assert judge(baseline, [under(other)]).outcome is Outcome.PASS


def test_three_percent_are_seen_under_the_cap_and_nothing_where_there_is_nothing():
    """Processes of one card 0.15 % apart; a delay of 3 % of which the cap gives back a part by a higher clock."""
    rng = random.Random(1)
    red = {0.0: 0, 0.025: 0}
    for _ in range(200):
        baseline = Baseline(tuple(Process.of(under(NS * (1 + rng.gauss(0, 0.0015)))) for _ in range(3)))
        for slower in red:
            time_ns = NS * (1 + slower + rng.gauss(0, 0.0015))
            verdict = settle(baseline, lambda: under(time_ns * (1 + rng.gauss(0, 0.0003))))  # noqa: B023
            red[slower] += verdict.outcome is Outcome.FAIL
    assert red[0.0] == 0
    assert red[0.025] >= 198


def test_a_slowdown_that_the_caps_clock_accounts_for_fails_as_the_machines():
    verdict = judge(CAPPED, [under(NS * 1.0312, clock=1650)] * 3)
    assert verdict.outcome is Outcome.FAIL
    assert verdict.message.startswith(
        "slower than its baseline: time +3.1 %, SM clock 1700 -> 1650 MHz, cycles +0.1 % under the power cap: "
        "the power cap, not the code, unless the code now draws more power (margin "
    )


def test_a_slowdown_in_cycles_is_not_the_caps():
    verdict = judge(CAPPED, [under(NS * 1.04, clock=1690)] * 3)
    assert "SM clock 1700 -> 1690 MHz, cycles +3.4 % under the power cap: slower: look at drivers" in verdict.message


CAP = {"power_capped": True}


@pytest.mark.parametrize(
    ("now", "told"),
    [
        (Observed(106, None, None, None, 1650, **CAP), "cycles +2.9 % under the power cap: slower: look at"),
        (Observed(102, None, None, None, 1691, **CAP), "cycles +1.5 % under the power cap: slower: look at"),
        (Observed(104, None, 8, None, 1640, **CAP), "cycles +0.3 % under the power cap: other kernels: "),
        (
            Observed(104, None, 7, None, 1700, **CAP),
            "SM clock unchanged, cycles +4.0 % under the power cap: same clock",
        ),
        (Observed(104, None, 7, None, 1640), "SM clock 1700 -> 1640 MHz: look at the machine first"),
    ],
    ids=["beyond the margin", "mostly cycles", "other work", "clock as before", "not capped now"],
)
def test_the_cap_is_named_only_if_cycles_and_work_are_as_before(now, told):
    assert told in attribute(Observed(100, None, 7, None, 1700, **CAP), now, margin=0.019)


# In files

KEY = PointKey(Workload(CropGrid(1, 1), batch=64), "flash")
ABOUT = ("m", "nvidia-h200", "vision")


def write(folder: Path, *processes: Process) -> Path:
    path = timed.file_of(folder, *ABOUT)
    for process in processes:
        one = TimedProcess("cuda-graph", None, Observed(), None, process, Environment("node1"))
        timed.record(path, *ABOUT, {KEY: (one, True)})
    return path


def test_a_recorded_process_keeps_its_state_and_one_without_the_cap_says_nothing_of_it(tmp_path):
    path = write(tmp_path, Process.of(under(NS, 0.9, 1712)), Process.of(under(NS, 0)))
    kept = timed.read(path, *ABOUT)[KEY].baseline.processes
    assert [process.power_cap for process in kept] == [PowerCap(0.9, 1712), None]
    (point,) = json.loads(path.read_text())["points"]
    assert point["processes"][0]["power_cap"] == {"share": 0.9, "sm_clock_mhz": 1712}
    assert "power_cap" not in point["processes"][1]


@pytest.mark.parametrize(
    ("value", "wrong"),
    [
        (7, "power_cap must be an object, got 7"),
        (None, "power_cap must be an object, got None"),
        ({"share": 2, "sm_clock_mhz": 1700}, "power_cap.share must be above 0 and at most 1, got 2.0"),
        ({"share": 0, "sm_clock_mhz": 1700}, "power_cap.share must be above 0"),
        ({"share": 0.5}, "power_cap.sm_clock_mhz is missing"),
        ({"share": 0.5, "sm_clock_mhz": 0}, "power_cap.sm_clock_mhz must be a whole number of at least 1, got 0"),
    ],
)
def test_a_state_that_is_none_is_refused_by_its_field(tmp_path, value, wrong):
    path = write(tmp_path, Process.of(under(NS)))
    document = json.loads(path.read_text())
    document["points"][0]["processes"][0]["power_cap"] = value
    path.write_text(json.dumps(document))
    with pytest.raises(BaselineError, match=wrong.replace(".", r"\.")):
        timed.read(path, *ABOUT)
