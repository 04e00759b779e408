"""The energy of a point: between which steps of a counter it is read, how it is recorded, and how it is judged."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from drifting import H200, KEY, NS, time

from pytest_ocrsweep.baselines import energy_gate, history, merge, timed
from pytest_ocrsweep.baselines.energy import ENERGY_RESULT, Energy, EnergyResult, Power, Reading, power, steps
from pytest_ocrsweep.baselines.evidence import Baseline, Process
from pytest_ocrsweep.baselines.gate import Outcome
from pytest_ocrsweep.errors import BaselineError

MJ = 80_000.0


def counter(watts: float, step_ms: int, until_ms: int, every_ms: int = 1) -> list[Reading]:
    """Readings of a counter that steps at whole multiples of `step_ms`."""
    return [Reading(at / 1000, round(watts * (at // step_ms * step_ms))) for at in range(0, until_ms, every_ms)]


def process(mj: float | None, samples: int = 20) -> Process:
    return Process(NS, NS, NS, samples, energy=None if mj is None else Energy(mj, 110.5))


def recorded(*mj: float | None) -> Baseline:
    return Baseline(tuple(map(process, mj)))


# The counter


def test_a_counter_steps_in_the_middle_of_the_two_readings_that_show_it():
    seen = steps([Reading(0.0, 5), Reading(0.1, 5), Reading(0.2, 9), Reading(0.3, 9), Reading(0.4, 12)])
    assert [(round(step.at_s, 6), step.mj) for step in seen] == [(0.15, 9), (0.35, 12)]
    assert steps([]) == steps([Reading(0.0, 5)]) == []


@pytest.mark.parametrize("step_ms", [10, 20, 100])
def test_power_is_that_from_one_step_of_the_counter_to_another_a_window_later(step_ms):
    found = power(counter(500, step_ms, 1000), since_s=0.2, window_s=0.2999)
    assert found is not None
    assert found.watts == pytest.approx(500)
    assert (found.seconds, found.steps) == (pytest.approx(0.3), 300 // step_ms)
    assert found.begin_s >= 0.2


def test_a_window_that_ends_between_two_steps_goes_on_to_the_next_one():
    found = power(counter(500, 100, 1000), since_s=0.2, window_s=0.25)
    assert found is not None
    assert found.seconds == pytest.approx(0.3)
    assert found.mj == 150_000


def test_there_is_no_power_before_the_window_is_over_nor_from_a_counter_that_stands_still():
    assert power(counter(500, 100, 450), since_s=0.2, window_s=0.3) is None
    assert power([Reading(at / 10, 7) for at in range(100)], since_s=0, window_s=0.3) is None
    assert power([], 0, 0.3) is None


def test_watts_are_millijoules_over_milliseconds():
    assert Power(1.0, 1.5, 250_000, 5).watts == 500


# JSON


def test_an_energy_is_read_back_as_it_was_written():
    found = EnergyResult(MJ, 512.3, 110.5, 300_000_000, 3, 120, 55, None, "pass", 0.001, 0.02)
    assert ENERGY_RESULT.read(json.loads(json.dumps(ENERGY_RESULT.write(found)))) == found
    why = EnergyResult(why="no counter of energy: cpu has none")
    assert ENERGY_RESULT.read(json.loads(json.dumps(ENERGY_RESULT.write(why)))) == why


def test_what_is_not_known_is_no_energy_of_a_process():
    assert EnergyResult(why="no").of_process is None
    assert EnergyResult(MJ, 512.3, 110.5).of_process == Energy(MJ, 110.5)


# The gate


@pytest.mark.parametrize(
    ("change", "outcome"),
    [(0.0, "pass"), (0.019, "pass"), (0.05, "fail"), (-0.019, "pass"), (-0.05, "improved")],
)
def test_energy_is_judged_by_its_change_from_the_recorded_processes(change, outcome):
    found = energy_gate.judge(EnergyResult(MJ * (1 + change)), recorded(MJ, MJ * 1.001, MJ * 0.999))
    assert found.outcome == outcome
    assert found.change == pytest.approx(change)
    assert energy_gate.fails(EnergyResult(MJ * (1 + change)), recorded(MJ, MJ)) == (outcome == "fail")


def test_no_margin_is_below_two_percent_and_noisy_processes_have_a_wider_one():
    quiet, noisy = recorded(*[MJ] * 5).energy, recorded(*(MJ * (1 + x / 100) for x in (-1.5, -0.7, 0, 0.8, 1.4))).energy
    assert quiet is not None
    assert noisy is not None
    assert 0.02 <= energy_gate.margin(quiet) < 0.025
    assert energy_gate.margin(noisy) > 0.035
    assert energy_gate.FLOOR == 0.02


def test_processes_without_an_energy_say_nothing_and_of_none_there_is_no_baseline():
    mixed = recorded(None, MJ, None).energy
    assert mixed is not None
    assert mixed.time_ns == MJ
    assert recorded(None).energy is None
    for baseline in (None, recorded(None, None)):
        judged = energy_gate.judge(EnergyResult(MJ), baseline)
        assert (judged.outcome, judged.change, judged.margin) == (Outcome.NO_BASELINE, None, None)


def test_what_was_not_measured_is_not_judged():
    why = EnergyResult(why="no counter")
    assert energy_gate.judge(why, recorded(MJ)) == why
    assert not energy_gate.fails(why, recorded(MJ))
    assert not energy_gate.fails(None, recorded(MJ))


def test_an_odd_process_moves_no_energy():
    baseline = recorded(MJ, MJ * 1.3, MJ).energy
    assert baseline is not None
    assert baseline.time_ns == MJ


def test_the_lower_of_two_measurements_counts():
    high, low, none = EnergyResult(MJ * 1.1), EnergyResult(MJ), EnergyResult(why="no")
    assert high.least(low) is low
    assert low.least(high) is low
    assert high.least(none) is high.least(None) is high


# What is recorded


def using(mj: float | None, median: int = NS):
    found = time(median, 20)
    return replace(found, process=replace(found.process, energy=None if mj is None else Energy(mj, 110.5)))


def file(folder: Path, *mj: float | None) -> Path:
    path = timed.file_of(folder, *H200)
    for number, each in enumerate(mj):
        timed.record(path, *H200, {KEY: (using(each, NS + number), None)}, f"2026-03-0{number + 1}T12:00:00Z")
    return path


def test_the_energy_of_each_process_is_recorded_beside_its_time_and_in_the_history(tmp_path):
    path = file(tmp_path, MJ, None, MJ + 12.345)
    (row,) = json.loads(path.read_text())["points"]
    assert [each.get("energy") for each in row["processes"]] == [
        {"mj": MJ, "idle_w": 110.5},
        None,
        {"mj": MJ + 12.345, "idle_w": 110.5},
    ]
    stored = timed.read(path, *H200)[KEY]
    assert [each.energy for each in stored.baseline.processes] == [Energy(MJ, 110.5), None, Energy(MJ + 12.345, 110.5)]
    past = history.read(history.file_of(path)).entries
    assert [entry.taken.process.energy for entry in past] == [each.energy for each in stored.baseline.processes]


def test_what_is_recorded_says_the_mean_energy_and_the_power_at_rest(tmp_path):
    found = timed.read(file(tmp_path, MJ, MJ + 10), *H200)[KEY].measurement
    assert found.energy == EnergyResult(MJ + 5, idle_w=110.5)
    assert "energy" not in found.absent
    without = timed.read(file(tmp_path / "without", None), *H200)[KEY].measurement
    assert without.energy is None
    assert "energy" in without.absent


def test_a_file_without_energies_has_no_word_of_them(tmp_path):
    path = file(tmp_path, None)
    assert "energy" not in path.read_text()
    assert "energy" not in history.file_of(path).read_text()


@pytest.mark.parametrize(
    ("energy", "message"),
    [
        ({"mj": 0, "idle_w": None}, "energy.mj must be above 0, got 0"),
        ({"mj": -1.5, "idle_w": 3}, "energy.mj must be above 0, got -1.5"),
        ({"mj": "much", "idle_w": 3}, "energy.mj must be a number, got 'much'"),
        ({"idle_w": 3}, "energy.mj is missing"),
        ({"mj": 7}, "energy.idle_w is missing"),
        (None, "energy must be an object, got None"),
    ],
)
def test_a_recorded_energy_that_cannot_be_is_named(tmp_path, energy, message):
    path = file(tmp_path, MJ)
    document = json.loads(path.read_text())
    document["points"][0]["processes"][0]["energy"] = energy
    path.write_text(json.dumps(document))
    with pytest.raises(BaselineError, match="damaged baseline") as error:
        timed.read(path, *H200)
    assert message in str(error.value)


def test_a_damaged_energy_in_a_history_is_named_by_its_line(tmp_path):
    past = history.file_of(file(tmp_path, MJ, MJ))
    lines = past.read_text().splitlines(keepends=True)
    past.write_text(lines[0].replace(f"{MJ}", "-1.0") + lines[1])
    with pytest.raises(BaselineError, match=r"history\.jsonl:1: energy\.mj must be above 0"):
        history.read(past)


def test_folders_that_are_merged_keep_the_energies_of_both(tmp_path):
    begun, one, other = tmp_path / "begun", tmp_path / "one", tmp_path / "other"
    for folder in (begun, one, other):
        (folder / H200[0]).mkdir(parents=True)
        (folder / H200[0] / "decode.json").write_text(
            json.dumps({"schema": 1, "model": H200[0], "stage": "decode", "points": []})
        )
    file(one, MJ)
    path = timed.file_of(other, *H200)
    timed.record(path, *H200, {KEY: (using(MJ + 40, NS + 7), None)}, "2026-03-05T12:00:00Z")
    merge.merge([one, other], begun)
    merged = timed.read(timed.file_of(begun, *H200), *H200)[KEY].baseline
    assert [each.energy for each in merged.processes] == [Energy(MJ, 110.5), Energy(MJ + 40, 110.5)]
