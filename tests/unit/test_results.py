"""The end of a run: what one test found replaces what an earlier one did, and no step takes another with it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pytest_ocrsweep import CropGrid, Workload, load_model
from pytest_ocrsweep.baselines import counted, timed
from pytest_ocrsweep.baselines.host_speed import HostSpeed
from pytest_ocrsweep.baselines.measurement import Environment, GateResult, Measurement, TimeSummary
from pytest_ocrsweep.baselines.metrics import analytic
from pytest_ocrsweep.baselines.result import PointResult
from pytest_ocrsweep.baselines.result_json import HOST, POINT
from pytest_ocrsweep.baselines.sweep_report import Report
from pytest_ocrsweep.baselines.verdict import Verdict
from pytest_ocrsweep.errors import ReportError
from pytest_ocrsweep.sweep.options import Options, Slowdown
from pytest_ocrsweep.sweep.results import Results
from pytest_ocrsweep.sweep.session import Sweep
from pytest_ocrsweep.sweep.slow_hosts import slow

HERE = Environment("node1", "cpu", None, "2.11", "5.23", "bf16", "random, seed 0")
TAKEN = Measurement(
    device_ns=TimeSummary(1000, 990, 995, 1005, (1000, 990, 1010)),
    wall_ns=TimeSummary(2000),
    tensor_flops=7,
    peak_bytes=None,
    host="node1",
    gpu="cpu",
    clock="host",
    experts=None,
    kernels=None,
    sm_clock_mhz=None,
    gate=GateResult("pass", 0.01, 0.02),
)


def point(verdict: Verdict = Verdict.RECORDED, vendor: Measurement | None = None) -> PointResult:
    work = Workload(CropGrid(1, 1))
    return PointResult.of("decode", work, "flash", analytic(load_model().ledger("decode", work)), None, vendor, verdict)


@pytest.fixture
def results(tmp_path: Path) -> Results:
    """Of an update."""
    chosen: dict[str, Any] = {
        **dict.fromkeys(("grids", "checkpoint", "report")),
        **dict.fromkeys(("require_vendor", "missing_fails", "wide_fails"), False),
        **dict.fromkeys(("images", "overrides", "command"), ()),
    }
    paths = {"baselines": tmp_path / "baselines", "here": tmp_path}
    given = Options(
        **chosen,
        **paths,
        analytic_only=True,
        update=True,
        prune=False,
        profile=False,
        slowdown=Slowdown(),
        default_grids="1x1",
    )
    return Results(Sweep(given))


def recorded(results: Results) -> counted.CountedPoints:
    return counted.read(results.sweep.file_of("decode"), "deepseek-ocr", "decode")


def test_a_test_that_failed_fails_its_last_point(results: Results) -> None:
    results.take([point(Verdict.PASS)], failed=True)
    assert [each.verdict for each in results.points.values()] == [Verdict.FAIL]
    results.take([point(Verdict.NO_SAMPLE)], failed=True)
    assert [each.verdict for each in results.points.values()] == [Verdict.NO_SAMPLE]


def test_a_point_is_recorded_with_its_time_and_reported(results: Results, tmp_path: Path) -> None:
    written: list[Report] = []
    results.take([point(vendor=TAKEN)], failed=False, environment=HERE)
    results.finish(tmp_path, lambda report: written.append(report) or ["it is written"])
    assert results.problems == []
    assert [done.path.parent.name for done in results.recorded] == ["deepseek-ocr", "cpu"]
    assert results.reported == ["it is written"]
    (reported,) = written[0].points
    assert sum(part.read_bytes for part in reported.components.values()) == reported.analytic["read_bytes"]


def test_a_time_that_cannot_be_recorded_costs_neither_the_counted_numbers_nor_the_report(
    results: Results, tmp_path: Path
) -> None:
    """Where it was measured is not known: a bug, if it ever happens."""
    results.take([point(vendor=TAKEN)], failed=False)
    results.finish(tmp_path, lambda report: ["it is written"])
    (problem,) = results.problems
    assert problem.startswith("recording times failed: KeyError: ")
    assert len(recorded(results)) == 1
    assert results.reported == ["it is written"]


def test_a_report_that_cannot_be_written_is_a_line_and_the_baselines_are_there(
    results: Results, tmp_path: Path
) -> None:
    def full(_: Report) -> list[str]:
        raise ReportError("out: no space left:", "give another folder")

    results.take([point()], failed=False)
    results.finish(tmp_path, full)
    assert results.problems == ["out: no space left: give another folder"]
    assert len(recorded(results)) == 1


def test_an_interrupt_at_the_end_of_a_run_costs_the_step_that_it_comes_in(results: Results, tmp_path: Path) -> None:
    def interrupt(_: Report) -> list[str]:
        raise KeyboardInterrupt

    results.take([point()], failed=False)
    results.finish(tmp_path, interrupt)
    assert results.problems == ["writing the report was interrupted: what is there may be of two runs; run again"]
    assert len(recorded(results)) == 1


def test_a_worker_sends_plain_values_and_the_controller_has_the_point_again() -> None:
    plain = {type(None), bool, int, float, str, list, dict}

    def kinds(value: object) -> set[type]:
        inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
        return {type(value)}.union(*map(kinds, inner))

    measured = point(Verdict.NO_SAMPLE, TAKEN)
    assert kinds(POINT.write(measured)) | kinds(HOST.write(HERE)) <= plain
    assert POINT.read(POINT.write(measured)) == measured
    assert HOST.read(HOST.write(HERE)) == HERE


def test_each_time_is_recorded_with_the_card_that_took_it(results: Results, tmp_path: Path) -> None:
    """A host may have several cards of one name."""
    first, second = (replace(HERE, gpu_uuid=f"GPU-{number}") for number in (1, 2))
    other = replace(point(vendor=TAKEN), attention="eager")
    results.take([point(vendor=TAKEN)], failed=False, environment=HOST.read(HOST.write(first)))
    results.take([other], failed=False, environment=second)
    results.finish(tmp_path)
    assert results.problems == []
    file = results.sweep.timed_file_of("decode", "cpu")
    cards = {
        key.attention: stored.environments[-1].gpu_uuid
        for key, stored in timed.read(file, "deepseek-ocr", "cpu", "decode").items()
    }
    assert cards == {"flash": "GPU-1", "eager": "GPU-2"}


def of_host(grid: str, slowest_ns: int, fastest_ns: int, verdict: Verdict = Verdict.RECORDED) -> PointResult:
    return replace(
        point(verdict, replace(TAKEN, host_speed=HostSpeed(slowest_ns, fastest_ns))), grid=CropGrid.parse(grid)
    )


def test_a_time_is_no_sample_if_any_later_point_knew_its_host_to_be_faster():
    early, close, late = of_host("1x1", 240, 240), of_host("1x2", 125, 120), of_host("1x3", 101, 100, Verdict.FAIL)
    assert list(slow([early, close]).values()) == [
        "decode 1x1 flash is not recorded: the host ran at 50 % of the speed that it had later: "
        "update it again on a quiet host"
    ]
    assert [str(key[1]) for key in slow([early, close, late])] == ["1x1"]
    assert slow([close, late, point(vendor=TAKEN), point()]) == {}
    elsewhere = replace(late, vendor=replace(late.vendor, host="node2"))
    assert slow([early, elsewhere]) == {}
    assert slow([replace(early, verdict=Verdict.FAIL), late]) == {}
