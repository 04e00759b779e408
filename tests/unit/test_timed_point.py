"""One preparation of a point becomes a measurement: of the acceptable rounds, with what was seen along with them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pytest_ocrsweep import CropGrid, Workload
from pytest_ocrsweep.baselines import sampling
from pytest_ocrsweep.baselines.attribution import Observed
from pytest_ocrsweep.baselines.energy import Energy, EnergyResult
from pytest_ocrsweep.baselines.evidence import EXPECTED_NOISE, Baseline, Process
from pytest_ocrsweep.baselines.gate import Decision, Outcome
from pytest_ocrsweep.baselines.host_speed import HostSpeed
from pytest_ocrsweep.baselines.machine import Machine
from pytest_ocrsweep.baselines.measurement import Environment, GateResult, Measurement, TimeSummary
from pytest_ocrsweep.baselines.power_cap import PowerCap
from pytest_ocrsweep.baselines.recorded_time import RecordedTime
from pytest_ocrsweep.baselines.sampling import Samples
from pytest_ocrsweep.baselines.shared import LIMIT, Shared
from pytest_ocrsweep.sweep.timed_point import Sampled, TimedPoint, Yardstick

HERE = Environment("node1", "NVIDIA H200")
WALL = Samples((31, 33, 32))
SAMPLED = Sampled(Samples((10,)), WALL, 837, "cuda-graph", "grouped_mm", 2300, (2, 3), 10**12)


def machine(clock: int, watts: float, *reasons: str) -> Machine:
    return Machine(clock, watts, reasons, max_clock_mhz=1980, power_limit_w=700.0)


def round_(*ns: int, stopped: str = "converged", reasons: tuple[str, ...] = (), clock: int = 1980) -> Samples:
    readings = machine(clock, 612.5, *reasons)
    return Samples(ns, stopped, readings, readings, (readings,) * 3)


def measured(*rounds: Samples) -> Measurement:
    return SAMPLED.measurement(Decision(Outcome.PASS, "", rounds, 0.01, 0.013, shared=Shared(0.002, 0.0, 9)), HERE)


def test_a_measurement_has_all_that_was_seen_at_the_acceptable_rounds():
    hot = round_(900, 901, reasons=("hw_slowdown",))
    good = round_(1000, 1001, 1002), round_(1001, 1003, stopped="time is up")
    assert measured(good[0], hot, good[1]) == Measurement(
        device_ns=TimeSummary.of(Samples((1000, 1001, 1002, 1001, 1003))),
        wall_ns=TimeSummary.of(WALL),
        tensor_flops=10**12,
        peak_bytes=837,
        host="node1",
        gpu="NVIDIA H200",
        clock="cuda-graph",
        experts="grouped_mm",
        kernels=2300,
        sm_clock_mhz=1980,
        token_ns=(2, 3),
        stopped="time is up",
        rounds=3,
        objections=sampling.objections((good[0], hot, good[1])),
        power_w=612.5,
        power_cap=None,
        gate=GateResult("pass", 0.01, 0.013, 0.002, LIMIT),
        absent=frozenset({"power_cap"}),
    )
    assert measured(good[0], hot).objections != ()
    assert measured(*good).absent == {"power_cap", "energy", "host_speed"}


def test_a_measurement_under_the_power_cap_says_so():
    capped = round_(1000, 1001, 1002, reasons=("sw_power_cap",), clock=1700)
    found = measured(capped, capped)
    assert (found.power_cap, found.sm_clock_mhz) == (PowerCap(1.0, 1700), 1700)
    assert found.absent == {"energy", "host_speed"}


def test_a_measurement_of_an_engine_says_how_fast_its_host_was_around_the_acceptable_rounds():
    def around(before: int, after: int) -> Samples:
        return Samples((1000, 1001, 1002), None, *(Machine(host_ns=ns, fastest_host_ns=100) for ns in (before, after)))

    found = measured(around(110, 104), around(100, 300), around(100, 101))
    assert found.host_speed == HostSpeed(110, 100)
    assert "host_speed" not in found.absent
    assert found.host_speed.too_slow_for(88) is None
    assert found.host_speed.too_slow_for(55) == "the host ran at 50 % of the speed that it had later"


def test_an_energy_is_judged_beside_that_of_the_recorded_processes():
    baseline = Baseline(tuple(Process(10, 10, 10, 9, energy=Energy(mj, 110.5)) for mj in (99.0, 100.0, 101.0)))
    stored = RecordedTime(baseline, "cuda-graph", "grouped_mm", None, (HERE,) * 3, None)
    taken = replace(SAMPLED, energy=EnergyResult(120.0, 500.0, 110.5))
    decision = Decision(Outcome.PASS, "", (round_(1000, 1001, 1002),))
    beside = taken.measurement(decision, HERE, stored)
    assert (beside.energy.outcome, round(beside.energy.change, 6)) == ("fail", 0.2)
    assert "energy" not in beside.absent
    assert beside.process.energy == Energy(120.0, 110.5)
    assert taken.measurement(decision, HERE).energy.outcome == "no baseline"


def test_where_no_round_is_acceptable_all_of_them_are_shown():
    hot = round_(900, 901, reasons=("hw_slowdown",))
    assert measured(hot, hot).device_ns == TimeSummary.of(Samples((900, 901) * 2))


def test_the_gate_reads_what_was_counted_beside_the_time():
    assert SAMPLED.seen == Observed(None, 10**12, 2300, 837)


def test_a_point_is_named_as_a_person_names_it():
    work = Workload(CropGrid(2, 3), prompt_tokens=10, new_tokens=100, batch=1)
    point = TimedPoint("decode", work, "flash")
    assert (str(point), point.page) == ("decode 2x3 flash", None)


@pytest.mark.parametrize("name", ["stored", "baseline"])
def test_a_yardstick_of_nothing_has_no_record(name):
    assert getattr(Yardstick(), name) is None
    assert Yardstick().expected == EXPECTED_NOISE
