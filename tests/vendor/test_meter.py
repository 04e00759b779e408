"""Points timed on the vendor's model and judged by the gate, through pytest, on a CPU with the tiny model."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from xml.etree import ElementTree

import pytest

torch = pytest.importorskip("torch", reason="the vendor model needs the extra [vendor]")
pytest.importorskip("transformers", reason="the vendor model needs the extra [vendor]")

from pytest_ocrsweep.baselines.sampling import Machine, TimeCap  # noqa: E402
from pytest_ocrsweep.model.stages import STAGES  # noqa: E402
from pytest_ocrsweep.sweep import gpu_lock, meter  # noqa: E402
from pytest_ocrsweep.vendor_model import gpu_state, timing  # noqa: E402

TINY = ("--ocrsweep-set=model=deepseek-ocr-tiny", "--ocrsweep-set=workload.resolution=tiny")
ON_CPU = (*TINY, "--ocrsweep-set=vendor.device=cpu", "--ocrsweep-grids=1x1")
ACCEPT = " ".join(["pytest suites/test_decode.py", TINY[0], TINY[1], *ON_CPU[2:], "--ocrsweep-update"])
ONE_THREAD = {"OMP_NUM_THREADS": "1"}  # torch's threads stand in each other's way on a busy machine
SUITE = """
def test_{stage}(ocrsweep, grid, attention):
    ocrsweep.check("{stage}", grid, attention)
"""
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
Document = dict[str, object]


@pytest.fixture(scope="module")
def recording(tmp_path_factory) -> Path:
    """A folder in which a process has recorded and reported every stage."""
    folder = tmp_path_factory.mktemp("recording")
    for stage in STAGES:
        (folder / f"test_{stage}.py").write_text(SUITE.format(stage=stage))
    (folder / "pytest.ini").write_text("[pytest]\n")
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:benchmark", *ON_CPU]
    command += ["-k", "flash", "--ocrsweep-update", "--ocrsweep-report=out"]
    environment = {**os.environ, **ONE_THREAD, "TMPDIR": str(folder)}
    subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True)
    return folder


@pytest.fixture(scope="module")
def report(recording) -> dict[str, object]:
    """What it wrote into `sweep.json`."""
    return json.loads((recording / "out" / "sweep.json").read_text())


class Measured:
    """A project in which another process has recorded decode with flash attention on this machine's CPU."""

    def __init__(self, project, pytester: pytest.Pytester, recording: Path) -> None:
        self._pytester = pytester
        self.path, self.write, self.ini = project.path, project.write, project.ini
        shutil.copytree(recording / "baselines", self.path / "baselines")
        self.ini()
        self.file = self.path / "baselines" / "deepseek-ocr-tiny" / "timed" / "cpu" / "decode.json"

    def run(self, *arguments: str, benchmark: bool = False, on=ON_CPU) -> pytest.RunResult:
        without = () if benchmark else ("-p", "no:benchmark")
        selected = ("suites/test_decode.py", "-k", "flash")
        return self._pytester.runpytest("-p", "no:cacheprovider", *without, *on, *selected, *arguments)

    def edit(self, change: Callable[[Document, Document], object]) -> None:
        """Change the recorded point and its environment in place."""
        document = json.loads(self.file.read_text())
        (point,), (environment,) = document["points"], document["environments"]
        change(point, environment)
        self.file.write_text(json.dumps(document))

    def scale(self, factor: float) -> None:
        """As if the recorded process had been so much slower."""

        def change(point, environment):
            for process in point["processes"]:
                process.update(
                    {name: max(1, round(process[name] * factor)) for name in ("q1_ns", "median_ns", "q3_ns")}
                )

        self.edit(change)

    @property
    def processes(self) -> list[dict[str, int]]:
        (point,) = json.loads(self.file.read_text())["points"]
        return point["processes"]


@pytest.fixture
def measured(project, pytester, recording) -> Measured:
    return Measured(project, pytester, recording)


@pytest.fixture(autouse=True)
def alone(tmp_path_factory, monkeypatch) -> None:
    """One thread, and locks of its own, for this process and the ones it starts; here, short sampling too."""
    folder = tmp_path_factory.mktemp("locks")
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setenv("OMP_NUM_THREADS", ONE_THREAD["OMP_NUM_THREADS"])
    monkeypatch.setattr(timing, "Vendor", partial(timing.Vendor, rule=TimeCap(0.2)))


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


def test_a_point_that_moved_starts_anew(measured):
    measured.scale(1000)
    result = measured.run("--ocrsweep-update")
    assert result.ret == 0
    result.stdout.fnmatch_lines(["*timed/cpu/decode.json: 0 points added, 1 changed, 0 as before*"])
    (process,) = measured.processes
    assert process["environment"] == 0


def test_times_of_another_environment_are_said(measured):
    measured.edit(lambda _, environment: environment.update(torch="1.0"))
    measured.scale(1000)  # told apart at once
    result = measured.run()
    told = f"the times on cpu were recorded with another environment: torch 1.0 -> {torch.__version__}"
    assert result.outlines.count(told) == 1


# The gate


def test_a_point_far_faster_than_recorded_is_a_notice_with_the_command_that_accepts_it(measured):
    measured.scale(1000)
    result = measured.run()
    assert result.ret == 0
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["decode *1x1 *flash *IMPROVED"])
    (notice,) = [line for line in result.outlines if line.startswith("faster than recorded: ")]
    assert "(grid 1x1)" in notice
    assert notice.endswith(" --ocrsweep-update")


@pytest.mark.parametrize("way", [[], ["-n2"]], ids=["plain", "n2"])
def test_a_point_far_slower_than_recorded_is_an_ordinary_failure(measured, way):
    measured.scale(1 / 1000)
    result = measured.run("--junitxml=junit.xml", *way)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "E *Failed: decode 1x1 flash on cpu: slower than its baseline: time +* %, FLOPs unchanged: *margin*",
            f"E *{ACCEPT}",
            "decode *1x1 *flash *FAIL",
            "FAILED suites/test_decode.py::test_decode?1x1-flash? *",
        ]
    )
    suite = ElementTree.parse(measured.path / "junit.xml").getroot().find("testsuite")
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("1", "1", "0")
    message = suite.find("testcase/failure").get("message")
    assert "slower than its baseline: time +" in message
    assert ACCEPT in message


def test_a_failure_says_whether_the_work_is_the_same(measured):
    measured.scale(1 / 1000)
    measured.edit(lambda point, _: point.update(tensor_flops=7))
    measured.run().stdout.fnmatch_lines(["E *time +* %, FLOPs 7 -> *: other work: look at the model and the workload*"])


def test_a_time_that_is_not_recorded_is_skipped_with_the_command_that_records_it(measured):
    measured.file.unlink()
    result = measured.run("-rs")
    assert result.ret == 0
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(
        [
            "decode *1x1 *flash *NO BASELINE",
            "no time to compare with is recorded for grid 1x1: 1 points were timed, not judged; *--ocrsweep-update",
            f"SKIPPED *no time is recorded on cpu for decode 1x1 flash; to record it: {ACCEPT}",
        ]
    )
    result.stdout.no_fnmatch_line("no baseline is recorded for *")  # its counted numbers are


def test_a_strict_project_fails_a_time_that_is_not_recorded(measured):
    measured.file.unlink()
    measured.ini("ocrsweep_missing = fail")
    result = measured.run()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["E *no time is recorded on cpu for decode 1x1 flash; to record it:", f"E *{ACCEPT}"])


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda point, _: point.update(clock="cuda-graph"), "clock cuda-graph -> host"),
        (lambda point, _: point.update(experts="grouped_mm"), "experts grouped_mm -> batched_mm"),
        (lambda _, environment: environment.update(weights="checkpoint 1f"), "weights checkpoint 1f -> random, seed 0"),
    ],
    ids=["clock", "experts", "weights"],
)
def test_a_time_of_something_else_is_no_baseline(measured, change, told):
    measured.edit(change)
    result = measured.run("-rs")
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines([f"SKIPPED *no time that compares ({told}) is recorded on cpu for decode 1x1 flash;*"])


@pytest.mark.parametrize("arguments", [[], ["-n2"], ["--ocrsweep-update"]], ids=["plain", "n2", "update"])
def test_a_damaged_file_of_times_is_one_line_before_any_test(measured, arguments):
    measured.file.write_text(measured.file.read_text()[:-4])
    before = measured.file.read_bytes()
    result = measured.run(*arguments)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.assert_outcomes()
    (line,) = [line for line in result.errlines if line]
    assert re.fullmatch(
        r"ERROR: damaged baseline .*timed/cpu/decode\.json:\d+: it is not JSON.*--ocrsweep-update", line
    )
    assert measured.file.read_bytes() == before


def test_a_damaged_file_of_times_is_of_no_concern_to_a_run_that_only_counts(measured):
    measured.file.write_text("[]")
    measured.run("--ocrsweep-analytic-only").assert_outcomes(passed=1)


@pytest.mark.parametrize("update", [[], ["--ocrsweep-update"]], ids=["check", "update"])
def test_without_an_acceptable_sample_a_point_fails_and_nothing_is_recorded(measured, monkeypatch, update):
    hot = Machine(throttle_reasons=("hw_thermal_slowdown",))
    monkeypatch.setattr(gpu_state, "reader", lambda device, pace: lambda: hot)
    before = measured.file.read_bytes()
    result = measured.run(*update)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.assert_outcomes(failed=1)
    wanted = "no acceptable sample: 0 of * samples acceptable, 5 needed: throttled (hw_thermal_slowdown)"
    result.stdout.fnmatch_lines([f"E *decode 1x1 flash: {wanted}*", "decode *1x1 *flash *NO SAMPLE"])
    assert measured.file.read_bytes() == before


# The gate's self-test


def test_a_slowdown_turns_a_point_red_that_was_recorded_without_it(measured):
    measured.file.unlink()
    assert measured.run("--ocrsweep-update").ret == 0
    result = measured.run("--ocrsweep-slowdown=1000", "--ocrsweep-report=out")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["E *slower than its baseline: time +* %, FLOPs unchanged*"])
    (point,) = json.loads((measured.path / "out" / "sweep.json").read_text())["points"]
    assert 3 < point["vendor"]["gate"]["change"] < 30


def test_a_slowed_time_is_never_recorded(measured):
    result = measured.run("--ocrsweep-slowdown=300", "--ocrsweep-update")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: --ocrsweep-slowdown and --ocrsweep-update exclude each other: *"])


# Nothing to measure with


def no_visible_gpu(monkeypatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")


def no_driver(monkeypatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(meter, "_has_driver", lambda: False)


def no_usable_gpu(monkeypatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(meter, "_has_driver", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


def no_extra(monkeypatch) -> None:
    monkeypatch.setattr(meter, "find_spec", lambda name: None)


LACKING = {
    "visible": (no_visible_gpu, "no GPU: CUDA_VISIBLE_DEVICES is empty"),
    "driver": (no_driver, "no GPU: this machine has no NVIDIA driver"),
    "usable": (no_usable_gpu, "no GPU: torch finds none that it can use"),
    "extra": (no_extra, "torch is not installed (pip install 'pytest-ocrsweep[vendor]')"),
}


@pytest.mark.parametrize("lacking", LACKING)
def test_without_a_gpu_points_pass_on_what_is_counted_and_the_reason_is_said_once(measured, monkeypatch, lacking):
    hide, reason = LACKING[lacking]
    hide(monkeypatch)
    result = measured.run(on=(*TINY, "--ocrsweep-grids=1x1"))
    assert result.ret == 0
    result.assert_outcomes(passed=1)
    assert result.outlines.count(f"nothing was measured: {reason}") == 1
    result.stdout.fnmatch_lines(["decode *1x1 *flash *PASS"])


@pytest.mark.parametrize("lacking", LACKING)
def test_where_the_vendor_is_required_the_reason_is_a_failure(measured, monkeypatch, lacking):
    hide, reason = LACKING[lacking]
    hide(monkeypatch)
    result = measured.run("--ocrsweep-require-vendor", on=(*TINY, "--ocrsweep-grids=1x1"))
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert any(f"--ocrsweep-require-vendor: nothing was measured: {reason}" in line for line in result.outlines)


def test_a_gpu_is_not_needed_to_measure_on_the_cpu(monkeypatch):
    no_visible_gpu(monkeypatch)
    assert meter.why_not("cpu") is None


def test_the_extra_is_needed_on_every_device(monkeypatch):
    no_extra(monkeypatch)
    assert meter.why_not("cpu") == meter.why_not("cuda") == LACKING["extra"][1]


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


@pytest.mark.parametrize("way", [[], ["-n2"]], ids=["plain", "n2"])
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
