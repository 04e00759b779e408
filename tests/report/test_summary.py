"""Rows as the table that ends a run, and as sweep.json."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, replace
from types import SimpleNamespace

import pytest

from pytest_ocrsweep import CropGrid, Workload, load_model
from pytest_ocrsweep.baselines.counted import PointKey
from pytest_ocrsweep.baselines.energy import EnergyResult
from pytest_ocrsweep.baselines.evidence import Baseline, Process
from pytest_ocrsweep.baselines.measurement import Environment, GateResult, Measurement, TimeSummary
from pytest_ocrsweep.baselines.metrics import METRICS, analytic, exact_names, exact_numbers, values
from pytest_ocrsweep.baselines.result import Analytic, EstimateResult, FloorResult, PointResult
from pytest_ocrsweep.baselines.result_json import from_json, to_json
from pytest_ocrsweep.baselines.sweep_report import Report, SweepEnvironment, SweepWorkload
from pytest_ocrsweep.baselines.verdict import Verdict
from pytest_ocrsweep.report import markdown, summary
from pytest_ocrsweep.report.terminal import MANY, table
from pytest_ocrsweep.sweep.results import Results

NUMBERS = {
    "tensor_flops": 2 * 10**12,
    "vector_flops": 10**12,
    "read_bytes": 5 * 10**9,
    "write_bytes": 10**9,
    "weight_bytes": 6 * 10**9,
    "kv_cache_bytes": 55_500_000,
    "peak_activation_bytes": 837 * 10**6,
}
FLOOR = FloorResult("NVIDIA H200", 10**9, 25 * 10**6, "bandwidth", 1, 2, 25 * 10**6)
ESTIMATE = EstimateResult("NVIDIA H200", 100 * 10**6, 95 * 10**6, 105 * 10**6)
UNKNOWN = dict.fromkeys(("tensor_flops", "peak_bytes", "host", "gpu", "experts", "kernels", "sm_clock_mhz"))


def row(stage: str = "decode", grid: str = "2x3", verdict: Verdict = Verdict.PASS, **counted: int) -> PointResult:
    work = Workload(CropGrid.parse(grid))
    return PointResult.of(stage, work, "flash", Analytic(NUMBERS | counted), FLOOR, verdict=verdict, estimate=ESTIMATE)


def measured(row: PointResult, clock: str = "cuda-graph") -> PointResult:
    """The row with 200 ms on the device, 900 ms for the caller."""
    device, wall = TimeSummary(200 * 10**6), TimeSummary(900 * 10**6)
    vendor = Measurement(device_ns=device, wall_ns=wall, clock=clock, **UNKNOWN)
    return replace(row, floor=replace(row.floor, attained=0.125), vendor=vendor)


def test_numbers_are_scaled_in_print_only():
    header, line, note, floors, estimates = table([row()], {})
    shown = dict(zip(re.split(r"  +", header), line.split(), strict=True))
    assert shown == {
        "stage": "decode",
        "grid": "2x3",
        "attention": "flash",
        "tokens": "903",
        "TFLOP": "3.000",
        "GB moved": "6.00",
        "FLOP/byte": "500.0",
        "peak GB": "0.837",
        "KV MB": "55.5",
        "GFLOP/token": "30.000",
        "GB/token": "0.060",
        "floor ms": "25.000",
        "estimate ms": "100.000",
        "bound": "bandwidth",
        "verdict": "PASS",
    }
    assert floors == "floors are for NVIDIA H200: nothing runs faster; bound is the resource that sets the floor"
    assert estimates == "estimates are for NVIDIA H200; nine of ten measured times lie within 5 % (decode) of them"
    assert note == "decode rows are totals over 100 new tokens; the columns per token are their mean"


def test_columns_are_aligned_under_their_units():
    header, *lines, _, _, _ = table([row(grid="1x1"), row(grid="3x3", tensor_flops=10**16)], {CropGrid(3, 3): "poster"})
    for heading in ("tokens", "TFLOP", "GB moved", "peak GB", "KV MB"):
        end = header.index(heading) + len(heading)
        assert all(line[end - 1].isdigit() and line[end] == " " for line in lines)
    assert "3x3 poster" in lines[1]


def test_only_decode_has_numbers_per_token():
    header, _, _, _ = table([row("vision")], {})
    assert "token" not in header.replace("tokens", "")
    assert values(row("prefill"))["flops_per_token"] is None
    assert values(row("decode"))["moved_bytes_per_token"] == 6 * 10**7


def test_why_intervals_are_wide_is_said_once():
    wide = replace(ESTIMATE, high_ns=150 * 10**6, reasons=("batch 9 is beyond the calibration's 4",))
    points = [row(grid="1x1"), *(replace(row(grid=f"1x{n}"), estimate=wide) for n in (2, 3))]
    near, why = table(points, {})[-2:]
    assert near.endswith("lie within 50 % (decode) of them")
    assert why == (
        "2 of 3 intervals are wider than usual; the widest, decode 1x2 flash: batch 9 is beyond the calibration's 4"
    )
    assert table(points[:2], {})[-1].startswith("1 of 2 intervals is wider than usual; ")


def test_a_device_without_a_calibration_has_no_estimates_and_the_remedy():
    lines = table([replace(row(), estimate=None)], {})
    assert "estimate ms" not in lines[0]
    assert lines[-1].startswith(
        "no estimate for NVIDIA H200, which has no calibration; calibrate it: ocrsweep calibrate"
    )


def test_estimates_are_asked_only_of_the_points_that_are_shown():
    asked = []
    table([row(grid=f"1x{n}") for n in range(1, 200)], {}, expected=lambda point: asked.append(point) or point)
    assert len(asked) == 4


def test_many_points_are_cut_to_the_failing_and_the_heaviest():
    rows = [row(grid=f"1x{n}", tensor_flops=n) for n in range(1, 200)]
    rows[2] = replace(rows[2], verdict=Verdict.FAIL)
    lines = table(rows, {})
    assert [line.split()[1] for line in lines[1:-4]] == ["1x3", "1x196", "1x197", "1x198", "1x199"]
    assert lines[-4].startswith("5 of 199 points, 1 failed: ")
    assert "--ocrsweep-report" in lines[-4]
    assert len(table(rows[:MANY], {})) == MANY + 4


def test_a_table_of_failures_ends():
    assert len(table([row(grid=f"1x{n}", verdict=Verdict.FAIL) for n in range(1, 500)], {})) < MANY


@pytest.mark.parametrize("name", METRICS)
def test_every_metric_has_a_value_and_can_be_shown(name):
    found = measured(row())
    assert found.vendor is not None
    found = replace(found, vendor=replace(found.vendor, energy=EnergyResult(7_123.4)))
    assert METRICS[name].show(values(found)[name]) not in ("", "-")


def test_what_was_not_measured_is_a_dash_and_a_hosts_clock_sees_no_launch():
    for found in (row(), measured(row(), clock="host")):
        assert METRICS["launch_overhead_ns"].show(values(found)["launch_overhead_ns"]) == "-"
    assert METRICS["device_ns"].show(values(row())["device_ns"]) == "-"


def test_a_table_of_measured_points_has_their_times():
    head, line = table([measured(row())], {})[:2]
    assert head.split("device ms")[1].split() == ["attained", "wall", "ms", "launch", "ms", "bound", "verdict"]
    assert line.split()[-8:] == ["25.000", "100.000", "200.000", "0.125", "900.0", "700.0", "bandwidth", "PASS"]


def test_what_a_baseline_holds_is_whole_numbers():
    numbers = exact_numbers(row(), row().analytic)
    assert list(numbers) == list(exact_names())
    assert {type(value) for value in numbers.values()} == {int}


def test_what_is_counted_are_the_ledgers_numbers():
    model, work = load_model("deepseek-ocr-tiny"), Workload(CropGrid(2, 3))
    ledger = model.ledger("decode", work, "flash")
    of_stage = {name: getattr(ledger, name) for name in ("weight_bytes", "kv_cache_bytes", "peak_activation_bytes")}
    counts = asdict(ledger.total())
    assert counts.pop("fp8_tensor_flops") == 0  # a count of its own, of precisions that have some
    assert analytic(ledger).numbers == {**counts, **of_stage}


def test_the_document_is_sorted_and_says_null_for_what_is_unknown():
    rows = [row(), row("vision"), row("vision", grid="10x1"), row("vision", grid="2x1")]
    environment = SweepEnvironment.of(load_model().architecture, None)
    workload = SweepWorkload.of(Workload(CropGrid(1, 1)))
    document = json.loads(json.dumps(to_json(Report.of("m", workload, environment, rows))))
    assert [(point["stage"], point["grid"]) for point in document["points"]] == [
        ("vision", "2x1"),
        ("vision", "2x3"),
        ("vision", "10x1"),
        ("decode", "2x3"),
    ]
    assert document["environment"]["gpu"] is None
    assert document["environment"]["dtype"] == "bf16"
    assert document["points"][0]["vendor"] is None


NODE1 = Environment("node1", "NVIDIA H200", "580.1", "2.11.0", "5.23.0", "bf16", "random, seed 0")
NODE2 = replace(NODE1, host="node2", torch="2.13.0")


def test_what_hosts_do_not_share_is_null_and_each_is_named() -> None:
    architecture, workload = load_model().architecture, SweepWorkload.of(Workload(CropGrid(1, 1)))
    alone, both = (
        Report.of("m", workload, SweepEnvironment.of(architecture, None, *measured), [row()])
        for measured in ((NODE1,), (NODE1, NODE2))
    )
    assert "hosts" not in to_json(alone)["environment"]
    found = to_json(both)["environment"]
    assert (found["host"], found["torch"], found["gpu"]) == (None, None, "NVIDIA H200")
    assert [(each["host"], each["torch"]) for each in found["hosts"]] == [("node1", "2.11.0"), ("node2", "2.13.0")]
    assert "git_revision" not in found["hosts"][0]
    assert from_json(to_json(both), "it") == both
    line = "- node2: NVIDIA H200, driver 580.1, torch 2.13.0, transformers 5.23.0"
    assert line in markdown.page(both).splitlines()


def test_the_summary_says_in_what_hosts_differ() -> None:
    results = Results(SimpleNamespace())
    for environment in (NODE2, NODE1):
        results.take([row()], False, environment)
    lines = list(summary._about_hosts(results))
    assert lines[0] == "measured on node1: NVIDIA H200, driver 580.1, torch 2.11.0, transformers 5.23.0"
    assert lines[2:] == ["hosts differ in torch: 2.11.0 on node1, 2.13.0 on node2"]


def judged(point: PointResult, margin: float | None) -> PointResult:
    vendor = measured(point).vendor
    return replace(point, vendor=replace(vendor, gpu="NVIDIA H200", gate=GateResult("pass", 0.0, margin)))


def about_margins(points: list[PointResult], recorded: dict, update: bool = False) -> list[str]:
    options = SimpleNamespace(update=update, accepting_all="pytest --ocrsweep-update")
    settings = SimpleNamespace(workload=SimpleNamespace(on=Workload))
    sweep = SimpleNamespace(options=options, settings=settings, timed_of=lambda stage, gpu: recorded)
    results = Results(sweep)
    results.take(points, False, NODE1)
    return list(summary._about_margins(results))


def test_the_summary_names_points_that_cannot_see_what_the_gate_is_to_see() -> None:
    points = [judged(row(), 0.045), judged(row("prefill"), 0.0301), judged(row("vision"), 0.03)]
    assert about_margins(points, {}) == [
        "2 points cannot see 3 %: the margin of decode 2x3 flash is 4.5 %; "
        "record again on a quiet machine, three times: pytest --ocrsweep-update"
    ]
    assert about_margins(points, {}, update=True) == []
    assert about_margins([judged(row(), None), row("prefill")], {}) == []


def test_the_summary_names_a_recorded_process_that_is_left_out() -> None:
    point = judged(row(), 0.011)
    processes = tuple(Process(ms, ms, ms, 9) for ms in (100, 100, 105))
    key = PointKey(Workload(CropGrid(2, 3)), "flash")
    recorded = {key: SimpleNamespace(baseline=Baseline(processes))}
    assert about_margins([point], recorded) == [
        "decode 2x3 flash: a recorded process is +5.0 % off the others; it is left out"
    ]


def about_offsets(offset: float, limit: float | None) -> list[str]:
    vendor = measured(row()).vendor
    gate = GateResult("pass", offset, 0.01, offset, limit)
    results = Results(SimpleNamespace())
    results.take([replace(row(), vendor=replace(vendor, host="node1", gate=gate))], False, NODE1)
    return list(summary._about_offsets(results))


@pytest.mark.parametrize(
    ("offset", "limit", "way", "end"),
    [
        (0.012, 0.013, "1.2 % slower", "a point was judged by what remains, and the whole by its limit, 1.3 %"),
        (-0.03, 0.042, "3.0 % faster", "a point was judged by what remains, and the whole by its limit, 4.2 %"),
        (0.021, 0.013, "2.1 % slower", "that is beyond the limit of the whole, 1.3 %"),
        (-0.021, 0.013, "2.1 % faster", "no machine explains so much, so a point was judged by its whole change"),
    ],
)
def test_the_summary_names_an_offset_and_the_limit_that_it_was_judged_by(offset, limit, way, end) -> None:
    (line,) = about_offsets(offset, limit)
    assert line.startswith(f"decode flash on this machine (node1) is {way} than recorded in all points: machine")
    assert line.endswith(f"driver or code; {end}")
    assert about_offsets(0.004, limit) == []
