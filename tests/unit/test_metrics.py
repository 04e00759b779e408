"""Every number of a point: what is compared how, how it reads, and what follows from what."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_ocrsweep import CropGrid, Workload, load_model
from pytest_ocrsweep.baselines import result
from pytest_ocrsweep.baselines.metrics import COUNTED, DERIVED, EXACT, GATED, METRICS, counted_numbers, values

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
    "attained": ("fraction", "attained", "1,234,567,890,123.000"),
    "device_ns": ("ns", "device ms", "1,234,567.890"),
    "wall_ns": ("ns", "wall ms", "1,234,567.9"),
    "launch_overhead_ns": ("ns", "launch ms", "1,234,567.9"),
    "flops": ("FLOP", "TFLOP", "1.235"),
    "moved_bytes": ("bytes", "GB moved", "1,234.57"),
    "intensity": ("FLOP/byte", "FLOP/byte", "1,234,567,890,123.0"),
    "flops_per_token": ("FLOP", "GFLOP/token", "1,234.568"),
    "moved_bytes_per_token": ("bytes", "GB/token", "1,234.568"),
}
TIMES = {"device_ns": {"median": 3_000}, "wall_ns": {"median": 5_000}, "clock": "cuda-graph"}


def row(stage: str = "decode", vendor: dict[str, Any] | None = None, **workload: int) -> result.Row:
    work = Workload(CropGrid(2, 3), **workload)
    return result.row(stage, work, "flash", load_model().ledger(stage, work), vendor)


def test_every_metric_is_stored_in_a_base_unit_and_reads_in_its_headings():
    assert {name: (m.unit, m.heading, m.show(VALUE)) for name, m in METRICS.items()} == READS
    assert list(METRICS) == list(READS)


def test_what_was_not_measured_reads_as_a_dash_and_nothing_as_nothing():
    assert METRICS["device_ns"].show(None) == "-"
    assert METRICS["device_ns"].show(0) == "0.000"


def test_what_is_counted_is_exact_what_is_measured_is_gated_and_the_rest_follows():
    assert tuple(READS)[:9] == COUNTED
    assert {m.tolerance for name, m in METRICS.items() if name in COUNTED} == {EXACT}
    assert {name for name, m in METRICS.items() if m.tolerance == GATED} == {"attained", "device_ns"}
    assert {m.tolerance for m in METRICS.values()} == {EXACT, GATED, DERIVED} == {"exact", "gated", "derived"}


def test_a_baseline_holds_the_tokens_and_what_was_counted():
    point = row()
    assert counted_numbers(point) == {"image_tokens": 893, "context_tokens": 903, **point["analytic"]}
    assert tuple(counted_numbers(point)) == COUNTED


def test_an_analytic_point_has_no_times():
    point = row()
    found = values(point)
    assert list(found) == list(METRICS)
    missing = {"floor_ns", "attained", "device_ns", "wall_ns", "launch_overhead_ns"}
    assert {name for name, value in found.items() if value is None} == missing


def test_sums_and_quotients_follow_from_the_counted():
    point = row(new_tokens=7)
    numbers, found = point["analytic"], values(point)
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
    point["analytic"] |= {"read_bytes": 0, "write_bytes": 0}
    assert values(point)["intensity"] is None


def test_times_and_floors_are_taken_from_the_row():
    point = row(vendor=TIMES)
    point["floor"] = {"time_ns": 1_500, "attained": 0.5}
    found = values(point)
    assert (found["device_ns"], found["wall_ns"], found["launch_overhead_ns"]) == (3_000, 5_000, 2_000)
    assert (found["floor_ns"], found["attained"]) == (1_500, 0.5)


@pytest.mark.parametrize("change", [{"clock": "host"}, {"wall_ns": {"median": None}}, {"device_ns": {}}])
def test_what_launching_costs_is_unknown_without_both_clocks(change):
    assert values(row(vendor=TIMES | change))["launch_overhead_ns"] is None
