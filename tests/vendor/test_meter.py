"""What a point timed on a CPU says, what of it is recorded, and how runs share a device."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable

import pytest

torch = pytest.importorskip("torch", reason="the reference model needs the extra [vendor]")
pytest.importorskip("transformers", reason="the reference model needs the extra [vendor]")

from pytest_ocrsweep.model.stages import STAGES  # noqa: E402
from pytest_ocrsweep.sweep import gpu_lock, meter  # noqa: E402
from pytest_ocrsweep.vendor_model import gpu_state  # noqa: E402

NO_MACHINE_INFO = """
import pytest

@pytest.hookimpl(optionalhook=True)
def pytest_benchmark_generate_machine_info():
    return {"node": "anything"}  # its own takes a second
"""
HOLD = """
import sys
from pytest_ocrsweep.sweep.gpu_lock import gpu_lock

with gpu_lock("cpu", waiting=print):
    print("held", flush=True)
    sys.stdin.read()
"""


# What a measured point says


def test_a_measured_row_holds_both_clocks_and_what_was_run(report):
    assert [point["stage"] for point in report["points"]] == list(STAGES)
    for point in report["points"]:
        vendor = point["vendor"]
        for name in ("device_ns", "wall_ns"):
            times = vendor[name]
            assert times.keys() == {"min", "median", "q1", "q3", "samples"}
            assert 0 < times["min"] == min(times["samples"]) <= times["q1"] <= times["median"] <= times["q3"]
        assert len(vendor["device_ns"]["samples"]) >= 5
        assert (vendor["gpu"], vendor["clock"], vendor["peak_bytes"], vendor["kernels"]) == ("cpu", "host", None, None)
        assert vendor["stopped"]


def test_the_experts_that_ran_are_named_where_a_stage_has_any(report):
    experts = {point["stage"]: point["vendor"]["experts"] for point in report["points"]}
    assert experts == {"vision": None, "prefill": "grouped_mm", "decode": "batched_mm"}


def test_a_decode_has_the_time_of_its_first_and_last_token(report):
    tokens = {point["stage"]: point["vendor"]["token_ns"] for point in report["points"]}
    assert (tokens["vision"], tokens["prefill"]) == (None, None)
    first, last = tokens["decode"]
    assert first > 0 < last


def test_flops_counted_on_the_vendor_are_the_analytic_ones(report):
    for point in report["points"]:
        assert point["vendor"]["tensor_flops"] == point["analytic"]["tensor_flops"] > 0


def test_the_environment_says_what_the_times_were_taken_on(report):
    import transformers

    environment = report["environment"]
    assert (environment["gpu"], environment["driver"]) == ("cpu", gpu_state.driver())
    assert (environment["torch"], environment["transformers"]) == (torch.__version__, transformers.__version__)
    assert (environment["dtype"], environment["weights"]) == ("bf16", "random, seed 0")


@pytest.mark.usefixtures("without_charts")
def test_the_environment_is_that_of_the_measurement_not_of_before(measured, monkeypatch):
    """A checkpoint is loaded with the first point: its row too must say so."""
    timing_a_point = meter.Meter.measure

    def loading(self, *arguments, **named):
        self.digest = "abc"
        return timing_a_point(self, *arguments, **named)

    monkeypatch.setattr(meter.Meter, "measure", loading)
    measured.run("--ocrsweep-report=out")
    document = json.loads((measured.path / "out" / "sweep.json").read_text())
    assert document["environment"]["weights"] == "checkpoint abc"


# What is recorded


def test_each_stage_has_a_file_of_times_in_the_devices_folder(recording, report):
    folder = recording / "baselines" / "deepseek-ocr-tiny" / "timed"
    assert {str(path.relative_to(folder)) for path in folder.rglob("*.json")} == {f"cpu/{s}.json" for s in STAGES}
    for point in report["points"]:
        (stored,) = json.loads((folder / "cpu" / f"{point['stage']}.json").read_text())["points"]
        assert [process["median_ns"] for process in stored["processes"]] == [point["vendor"]["device_ns"]["median"]]


def test_a_second_process_joins_the_evidence(measured):
    measured.edit(lambda point, _: point["processes"][0].update(q1_ns=1, q3_ns=10**12))  # anything agrees with it
    before = measured.processes
    result = measured.run("--ocrsweep-update")
    assert result.ret == 0
    result.stdout.fnmatch_lines(["*timed/cpu/decode.json: 0 points added, 0 changed, 1 as before*"])
    assert measured.processes[:-1] == before


def test_a_point_that_moved_keeps_its_record_until_three_agree(measured):
    measured.scale(1000)
    before = measured.processes
    result = measured.run("--ocrsweep-update")
    assert result.ret == 0
    result.stdout.fnmatch_lines(["*decode 1x1 flash: -* % is kept, 1 of 3 that must agree; run the update again*"])
    assert measured.processes == before


def test_times_of_another_environment_are_said(measured):
    measured.edit(lambda _, environment: environment.update(torch="1.0"))
    measured.scale(1000)  # told apart at once
    result = measured.run()
    told = f"the times on cpu were recorded with another environment: torch 1.0 -> {torch.__version__}"
    assert result.outlines.count(told) == 1


# Beside others


def test_a_run_waits_for_another_that_measures_on_its_device(measured, monkeypatch):
    command = [sys.executable, "-c", HOLD]
    other = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert other.stdout.readline() == "held\n"
    taken = gpu_lock.gpu_lock

    def until_told(name: str, waiting: Callable[[str], object]):
        def tell(text: str) -> None:
            waiting(text)
            other.communicate()  # it ends with its input

        return taken(name, tell)

    monkeypatch.setattr(gpu_lock, "gpu_lock", until_told)
    result = measured.run("--ocrsweep-update")
    other.communicate()
    assert result.ret == 0
    result.stdout.fnmatch_lines([f"*waiting for cpu: process {other.pid} measures on it and holds *"])


def test_a_run_that_is_over_lets_its_device_go(measured):
    measured.run("--ocrsweep-update")
    with gpu_lock.gpu_lock("cpu", waiting=pytest.fail):
        pass


@pytest.mark.usefixtures("without_charts")
@pytest.mark.parametrize("way", [[], pytest.param(["-n2"], marks=pytest.mark.slow)], ids=["plain", "n2"])
def test_a_timed_point_is_one_of_pytest_benchmarks(measured, way):
    measured.write("conftest.py", NO_MACHINE_INFO)
    result = measured.run("--benchmark-json=b.json", "--ocrsweep-update", "--ocrsweep-report=out", *way, benchmark=True)
    assert result.ret == 0
    (found,) = json.loads((measured.path / "b.json").read_text())["benchmarks"]
    (point,) = json.loads((measured.path / "out" / "sweep.json").read_text())["points"]
    assert (found["fullname"], found["group"]) == ("suites/test_decode.py::test_decode[1x1-flash]", "decode")
    assert found["params"] == {"stage": "decode", "grid": "1x1", "attention": "flash"}
    assert found["options"]["timer"] == found["extra_info"]["clock"] == "host"
    times = point["vendor"]["device_ns"]
    assert found["stats"]["rounds"] == len(times["samples"])
    assert found["stats"]["median"] == pytest.approx(times["median"] / 1e9)
