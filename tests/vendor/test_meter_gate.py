"""Points timed on the reference model and judged by the gate, through pytest, on a CPU with the tiny model."""

from __future__ import annotations

import json
import re
from xml.etree import ElementTree

import pytest

torch = pytest.importorskip("torch", reason="the reference model needs the extra [vendor]")
pytest.importorskip("transformers", reason="the reference model needs the extra [vendor]")

from measured import ACCEPT  # noqa: E402

from pytest_ocrsweep.baselines.machine import Machine  # noqa: E402
from pytest_ocrsweep.vendor_model import gpu_state  # noqa: E402


def test_a_point_far_faster_than_recorded_is_a_notice_with_the_command_that_accepts_it(measured):
    measured.scale(1000)
    result = measured.run()
    assert result.ret == 0
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["decode *1x1 *flash *IMPROVED"])
    (notice,) = [line for line in result.outlines if line.startswith("faster than recorded: ")]
    assert "(grid 1x1)" in notice
    assert notice.endswith(" --ocrsweep-update")


@pytest.mark.parametrize("way", [[], pytest.param(["-n2"], marks=pytest.mark.slow)], ids=["plain", "n2"])
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
    failure = suite.find("testcase/failure")
    assert failure.get("message").startswith("time +")
    assert ACCEPT in failure.text


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


@pytest.mark.parametrize(
    "arguments",
    [[], pytest.param(["-n2"], marks=pytest.mark.slow), ["--ocrsweep-update"]],
    ids=["plain", "n2", "update"],
)
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
    hot = Machine(throttle_reasons=("hw_thermal_slowdown",), temperature_c=91)
    monkeypatch.setattr(gpu_state, "reader", lambda device, pace: lambda: hot)
    before = measured.file.read_bytes()
    result = measured.run(*update)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.assert_outcomes(failed=1)
    wanted = "no acceptable sample: 0 of * samples acceptable, 5 needed: "
    wanted += "throttled (hw_thermal_slowdown in 6 of 6 readings: 91 °C)"
    result.stdout.fnmatch_lines([f"E *decode 1x1 flash: {wanted}*", "decode *1x1 *flash *NO SAMPLE"])
    assert measured.file.read_bytes() == before


# The power cap


@pytest.fixture
def capped(monkeypatch):
    """A function after which NVML shows the power cap, at this clock."""

    def shown(clock: int) -> None:
        machine = Machine(clock, 698.0, ("sw_power_cap",), max_clock_mhz=1980, power_limit_w=700.0)
        monkeypatch.setattr(gpu_state, "reader", lambda device, pace: lambda: machine)
        monkeypatch.setattr(gpu_state, "glance", lambda device: lambda: machine)

    return shown


def test_a_point_under_the_power_cap_is_not_compared_with_times_without_it(measured, capped):
    capped(1640)
    result = measured.run("-rs")
    assert result.ret == 0
    result.assert_outcomes(skipped=1)
    seen = "recorded without the power cap, now under it in 100 % of readings: 1,640 of 1,980 MHz, 698 of 700 W"
    result.stdout.fnmatch_lines([f"SKIPPED *no time that compares ({seen}) is recorded on cpu for decode 1x1 flash;*"])


def test_a_point_under_the_power_cap_is_recorded_as_such_and_judged_by_times_under_it(measured, capped):
    capped(1700)
    measured.file.unlink()  # else the process would be kept beside those of the other state, until three agree
    assert measured.run("--ocrsweep-update", "--ocrsweep-report=out").ret == 0
    (process,) = measured.processes
    assert process["power_cap"] == {"share": 1.0, "sm_clock_mhz": 1700}
    (point,) = json.loads((measured.path / "out" / "sweep.json").read_text())["points"]
    assert point["vendor"]["power_cap"] == process["power_cap"]
    assert point["vendor"]["objections"] == []

    measured.scale(1 / 1000)
    capped(1650)
    result = measured.run()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["E *slower than its baseline: *SM clock 1700 -> 1650 MHz, cycles +* %*power cap*"])


# The gate's self-test


@pytest.mark.usefixtures("without_charts")
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
