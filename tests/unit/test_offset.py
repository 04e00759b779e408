"""The offset of a family is measured at some of its points, once, and left alone where it cannot be told."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pytest_ocrsweep import CropGrid, Workload, load_model
from pytest_ocrsweep.baselines.counted import PointKey
from pytest_ocrsweep.baselines.evidence import Baseline, Process
from pytest_ocrsweep.baselines.machine import Machine
from pytest_ocrsweep.baselines.measurement import Environment
from pytest_ocrsweep.baselines.recorded_time import RecordedTime
from pytest_ocrsweep.baselines.sampling import Samples
from pytest_ocrsweep.baselines.shared import ALONE, LEAST, MOST
from pytest_ocrsweep.errors import OutOfMemory
from pytest_ocrsweep.sweep.offset import Offsets
from pytest_ocrsweep.sweep.options import NO_SLOWDOWN, Slowdown
from pytest_ocrsweep.sweep.timed_point import Sampled, TimedPoint

ON = Environment("node1", "NVIDIA H200", dtype="bf16", weights="random, seed 0")
MS = 1_000_000


def key(index: int) -> PointKey:
    return PointKey(Workload(CropGrid(1, index + 1), prompt_tokens=10, new_tokens=100, batch=1), "flash")


def recorded(index: int, noise: float = 0) -> RecordedTime:
    """In one process, or in three that differ by so much, at each point in another order."""
    by = [(index + number) % 3 - 1 for number in range(3)] if noise else [0]
    all_ns = [(10 + index) * MS * (1 + noise * each) for each in by]
    ran = tuple(Process(ns, ns, ns, 10) for ns in all_ns)
    return RecordedTime(Baseline(ran), "host", None, None, (ON,) * len(ran), None)


@dataclass
class Meter:
    """Every point is 1 % slower than recorded, but for those that `odd` says otherwise of; `fast` are so at first."""

    odd: dict[int, object] = field(default_factory=dict)
    asked: list[TimedPoint] = field(default_factory=list)
    anew: list[bool] = field(default_factory=list)  # how each was asked for
    lost_at: int | None = None  # the look at which the first point finds no memory
    gpu: str = "NVIDIA H200"
    slower: float = 0.01
    fast: frozenset[int] = frozenset()

    def first(self, point: TimedPoint, *, anew: bool = False) -> Sampled:
        self.asked.append(point)
        self.anew.append(anew)
        index = point.work.grid.columns - 1
        ns = round((10 + index) * MS * (1 + self.slower - 0.03 * (index in self.fast and not anew)))
        if index == 0 and self.lost_at == self.asked.count(point):
            raise OutOfMemory("out of memory")
        taken = Sampled(
            Samples((ns - MS, ns, ns, ns + MS // 2, ns + MS // 2)), Samples((1,)), None, "host", None, 1, None, 1
        )
        odd = self.odd.get(index)
        if isinstance(odd, Exception):
            raise odd
        return replace(taken, **odd) if isinstance(odd, dict) else taken

    def environment(self) -> Environment:
        return ON


def offsets(points: int, meter: Meter, slowdown: Slowdown = NO_SLOWDOWN, noise: float = 0) -> Offsets:
    times = {key(index): recorded(index, noise) for index in range(points)}
    sweep: Any = SimpleNamespace(
        meter=meter,
        timed_of=lambda stage, gpu: times,
        page_of=lambda grid: Path(f"{grid}.png"),
        own_name="",
        options=SimpleNamespace(slowdown=slowdown),
        settings=SimpleNamespace(model=load_model("deepseek-ocr-2").architecture),
    )
    return Offsets(sweep)


def test_an_offset_is_measured_once_for_a_family():
    meter = Meter(slower=0.001)
    made = offsets(23, meter)
    first, second = made.yardstick("decode", key(0)), made.yardstick("decode", key(22))
    assert first.shared == second.shared
    assert first.shared.offset == pytest.approx(0.001, abs=1e-6)
    assert len(meter.asked) == len(set(meter.asked)) == MOST


def test_an_offset_that_is_worth_a_line_is_looked_at_three_times():
    meter = Meter()
    assert offsets(23, meter).yardstick("decode", key(0)).shared.offset == pytest.approx(0.01, abs=1e-6)
    assert len(meter.asked) == 3 * MOST


def test_a_family_of_the_fewest_points_that_tell_is_looked_at():
    assert offsets(LEAST, Meter()).yardstick("decode", key(0)).shared.points == LEAST


def test_only_the_looks_after_the_first_prepare_points_anew():
    meter = Meter()
    offsets(LEAST, meter).yardstick("decode", key(0))
    assert meter.anew == [False] * LEAST + [True] * 2 * LEAST


def test_each_point_is_timed_as_the_run_itself_times_it():
    meter = Meter()
    offsets(LEAST, meter).yardstick("decode", key(0))
    assert meter.asked[1] == TimedPoint("decode", key(1).work, "flash", Path("1x2.png"))


def test_pages_are_cut_as_the_model_cuts_them_and_not_as_those_of_a_recorded_key():
    meter = Meter()
    offsets(LEAST, meter).yardstick("decode", key(0))
    assert key(1).work.sides.crop_side == 640
    assert {point.work.sides.crop_side for point in meter.asked} == {768}


def test_every_family_has_an_offset_of_its_own():
    meter = Meter()
    made = offsets(LEAST, meter)
    first = made.yardstick("decode", key(0)).shared
    meter.slower = 0.02
    assert made.yardstick("decode", key(1)).shared == first
    assert made.yardstick("vision", key(0)).shared.offset == pytest.approx(0.02, abs=1e-6)


def test_a_point_that_the_last_look_did_not_see_tells_nothing():
    assert offsets(LEAST + 1, Meter(lost_at=3)).yardstick("decode", key(0)).shared.points == LEAST
    assert offsets(LEAST + 1, Meter(lost_at=2)).yardstick("decode", key(0)).shared.points == LEAST + 1


@pytest.mark.parametrize("slower", [0.001, 0.05])
def test_a_noisy_record_makes_an_offset_less_sure(slower):
    def error(noise: float) -> float:
        return offsets(LEAST, Meter(slower=slower), noise=noise).yardstick("decode", key(0)).shared.error

    assert error(0.01) > 1.5 * error(0)


def test_a_moment_in_which_most_points_were_faster_is_no_offset():
    meter = Meter(slower=0.0, fast=frozenset(range(12)))
    assert offsets(23, meter).yardstick("decode", key(0)).shared.offset == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize(
    "odd",
    [
        {"first": Samples((99 * MS,) * 10, after=Machine(throttle_reasons=("hw_slowdown",)))},
        {"clock": "cuda-graph"},
        {"experts": "batched_mm"},
        OutOfMemory("out of memory"),
    ],
)
def test_a_point_that_says_nothing_of_the_machine_is_left_out(odd):
    shared = offsets(LEAST + 1, Meter({0: odd})).yardstick("decode", key(1)).shared
    assert (shared.points, shared.offset) == (LEAST, pytest.approx(0.01, abs=1e-6))


def test_few_recorded_points_cost_no_measurement():
    meter = Meter()
    assert offsets(LEAST - 1, meter).yardstick("decode", key(0)).shared == ALONE
    assert meter.asked == []


def test_a_point_that_is_not_recorded_has_no_offset():
    meter = Meter()
    by = offsets(23, meter).yardstick("decode", key(30))
    assert (by.stored, by.baseline, by.shared, meter.asked) == (None, None, ALONE, [])


def test_a_delay_of_one_component_is_judged_alone():
    meter = Meter()
    made = offsets(23, meter, Slowdown(10, "decoder/attn"))
    assert (made.yardstick("decode", key(0)).shared, meter.asked) == (ALONE, [])
