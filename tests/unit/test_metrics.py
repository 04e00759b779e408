"""Every number of a point: what is compared how, how it reads, and what follows from what."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pytest_ocrsweep import CropGrid, Workload, load_model
from pytest_ocrsweep.baselines.energy import EnergyResult
from pytest_ocrsweep.baselines.measurement import Measurement, TimeSummary
from pytest_ocrsweep.baselines.metrics import (
    DERIVED,
    EXACT,
    GATED,
    METRICS,
    analytic,
    exact_names,
    exact_numbers,
    values,
)
from pytest_ocrsweep.baselines.result import Analytic, EstimateResult, FloorResult, PointResult

VALUE = 1_234_567_890_123
# In the order of the report's columns: unit stored, heading, and how VALUE reads under it.
READS = {
    "image_tokens": ("tokens", "image tokens", "1,234,567,890,123"),
    "context_tokens": ("tokens", "tokens", "1,234,567,890,123"),
    "tensor_flops": ("FLOP", "tensor TFLOP", "1.235"),
    "vector_flops": ("FLOP", "vector TFLOP", "1.235"),
    "read_bytes": ("bytes", "GB read", "1,234.57"),
    "write_bytes": ("bytes", "GB written", "1,234.57"),
    "weight_bytes": ("bytes", "weights GB", "1,234.568"),
    "kv_cache_bytes": ("bytes", "KV MB", "1,234,567.9"),
    "peak_activation_bytes": ("bytes", "peak GB", "1,234.568"),
    "floor_ns": ("ns", "floor ms", "1,234,567.890"),
    "estimate_ns": ("ns", "estimate ms", "1,234,567.890"),
    "estimate_low_ns": ("ns", "estimate from ms", "1,234,567.890"),
    "estimate_high_ns": ("ns", "estimate to ms", "1,234,567.890"),
    "attained": ("fraction", "attained", "1,234,567,890,123.000"),
    "device_ns": ("ns", "device ms", "1,234,567.890"),
    "energy_mj": ("mJ", "J", "1,234,567,890.123"),
    "wall_ns": ("ns", "wall ms", "1,234,567.9"),
    "launch_overhead_ns": ("ns", "launch ms", "1,234,567.9"),
    "flops": ("FLOP", "TFLOP", "1.235"),
    "moved_bytes": ("bytes", "GB moved", "1,234.57"),
    "intensity": ("FLOP/byte", "FLOP/byte", "1,234,567,890,123.0"),
    "flops_per_token": ("FLOP", "GFLOP/token", "1,234.568"),
    "moved_bytes_per_token": ("bytes", "GB/token", "1,234.568"),
}
UNKNOWN = dict.fromkeys(("tensor_flops", "peak_bytes", "host", "gpu", "experts", "kernels", "sm_clock_mhz"))
TIMES = Measurement(device_ns=TimeSummary(3_000), wall_ns=TimeSummary(5_000), clock="cuda-graph", **UNKNOWN)
ESTIMATED = ("estimate_ns", "estimate_low_ns", "estimate_high_ns")
FLOOR = FloorResult("H200", 10, 1_500, "tensor", 1_500, 2, 3, attained=0.5)


def row(stage: str = "decode", vendor: Measurement | None = None, **workload: int) -> PointResult:
    work = Workload(CropGrid(2, 3), **workload)
    return PointResult.of(stage, work, "flash", analytic(load_model().ledger(stage, work)), vendor=vendor)


def held(point: PointResult) -> dict[str, int]:
    return exact_numbers(point, point.analytic)


def test_every_metric_is_stored_in_a_base_unit_and_reads_in_its_headings():
    assert {name: (m.unit, m.heading, m.show(VALUE)) for name, m in METRICS.items()} == READS
    assert list(METRICS) == list(READS)


def test_what_was_not_measured_reads_as_a_dash_and_nothing_as_nothing():
    assert METRICS["device_ns"].show(None) == "-"
    assert METRICS["device_ns"].show(0) == "0.000"


def test_what_is_counted_is_exact_what_is_measured_is_gated_and_the_rest_follows():
    assert tuple(READS)[:9] == exact_names()
    assert {m.tolerance for name, m in METRICS.items() if name in exact_names()} == {EXACT}
    assert {name for name, m in METRICS.items() if m.tolerance == GATED} == {"attained", "device_ns", "energy_mj"}
    assert {m.tolerance for m in METRICS.values()} == {EXACT, GATED, DERIVED} == {"exact", "gated", "derived"}


def test_a_baseline_holds_the_tokens_and_what_was_counted():
    point = row()
    assert held(point) == {"image_tokens": 893, "context_tokens": 903, **point.analytic.numbers}
    assert tuple(held(point)) == exact_names()
    assert held(point) == exact_numbers(Workload(CropGrid(2, 3)), point.analytic)


def test_an_analytic_point_has_no_times():
    point = row()
    found = values(point)
    assert list(found) == list(METRICS)
    missing = {*ESTIMATED, "floor_ns", "attained", "device_ns", "energy_mj", "wall_ns", "launch_overhead_ns"}
    assert {name for name, value in found.items() if value is None} == missing


def test_sums_and_quotients_follow_from_the_counted():
    point = row(new_tokens=7)
    numbers, found = held(point), values(point)
    assert found["flops"] == numbers["tensor_flops"] + numbers["vector_flops"]
    assert found["moved_bytes"] == numbers["read_bytes"] + numbers["write_bytes"]
    assert found["intensity"] == found["flops"] / found["moved_bytes"]
    assert found["flops_per_token"] == found["flops"] / 7
    assert found["moved_bytes_per_token"] == found["moved_bytes"] / 7


@pytest.mark.parametrize("stage", ["vision", "prefill"])
def test_only_a_decode_has_numbers_per_token(stage):
    found = values(row(stage))
    assert found["flops_per_token"] is found["moved_bytes_per_token"] is None


def test_a_point_that_moves_nothing_has_no_intensity():
    point = row()
    point = replace(point, analytic=Analytic({**point.analytic.numbers, "read_bytes": 0, "write_bytes": 0}))
    assert values(point)["intensity"] is None


def test_times_and_floors_are_taken_from_the_row():
    found = values(replace(row(vendor=TIMES), floor=FLOOR))
    assert (found["device_ns"], found["wall_ns"], found["launch_overhead_ns"]) == (3_000, 5_000, 2_000)
    assert (found["floor_ns"], found["attained"]) == (1_500, 0.5)


def test_the_energy_is_what_a_counter_said_of_the_point():
    assert values(row(vendor=TIMES))["energy_mj"] is None
    assert values(row(vendor=replace(TIMES, energy=EnergyResult(why="no counter"))))["energy_mj"] is None
    assert values(row(vendor=replace(TIMES, energy=EnergyResult(7_123.4))))["energy_mj"] == 7_123.4


def test_an_estimate_is_shown_with_its_interval():
    found = values(replace(row(), estimate=EstimateResult("H200", 2_000, 1_900, 2_100)))
    assert [found[name] for name in ESTIMATED] == [2_000, 1_900, 2_100]


@pytest.mark.parametrize("change", [{"clock": "host"}, {"wall_ns": None}])
def test_what_launching_costs_is_unknown_without_both_clocks(change):
    assert values(row(vendor=replace(TIMES, **change)))["launch_overhead_ns"] is None


def test_each_exact_metric_has_a_word_of_its_own_that_leaves_room_for_its_change():
    words = [METRICS[name].word for name in exact_names()]
    assert len(set(words)) == len(words)
    assert all(0 < len(word) <= 12 for word in words)
