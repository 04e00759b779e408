"""The energy of a point on this machine's CPU, by a counter that is made up, through the code that reads a board's."""

from __future__ import annotations

import json
import math
import sys
import time
from types import SimpleNamespace

import pytest

torch = pytest.importorskip("torch", reason="the reference model needs the extra [vendor]")
pytest.importorskip("transformers", reason="the reference model needs the extra [vendor]")

from pytest_ocrsweep.baselines.energy import EnergyResult  # noqa: E402
from pytest_ocrsweep.baselines.json_layout import names  # noqa: E402
from pytest_ocrsweep.baselines.machine import Machine  # noqa: E402
from pytest_ocrsweep.errors import MeasureError  # noqa: E402
from pytest_ocrsweep.vendor_model import energy, gpu_state, timing  # noqa: E402
from pytest_ocrsweep.vendor_model.clocks import HostClock, ProfilerClock  # noqa: E402
from pytest_ocrsweep.vendor_model.energy import EnergyMeter  # noqa: E402

CPU = torch.device("cpu")
WATTS, STEP_S = 200, 0.02
ON = "--ocrsweep-set=vendor.energy_ms=100"


def counted() -> int:
    """A board that draws as much all the time."""
    return WATTS * 1000 * math.floor(time.perf_counter() / STEP_S) * 20 // 1000


class Sleep:
    """A call of known length."""

    name, kernels = "host", None

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def batch(self, times: int) -> list[int]:
        time.sleep(self.seconds * times)
        return [round(self.seconds * 1e9)] * times


@pytest.fixture
def counter(monkeypatch):
    monkeypatch.setattr(gpu_state, "energy_counter", lambda device: counted)


@pytest.mark.usefixtures("counter")
def test_the_energy_of_a_stage_is_power_by_time_of_its_first_and_last_call():
    meter = EnergyMeter.at_rest(CPU, 200)
    assert meter.idle_w == pytest.approx(WATTS, rel=0.05)
    found = meter.of([Sleep(0.010), Sleep(0.020)], (100, 100), Machine)
    assert found.why is None
    assert found.power_w == pytest.approx(WATTS, rel=0.05)
    assert found.mj == pytest.approx(WATTS * 1000 * (0.010 + 0.020) * 50, rel=0.1)
    assert found.window_ns >= 2 * 200_000_000
    assert found.counter_steps >= 2 * 10
    assert found.replays >= 20


@pytest.mark.parametrize(
    ("around", "within", "why"),
    [
        (Machine(other_processes=2), None, "contention (2 other processes on the GPU)"),
        (Machine(), Machine(throttle_reasons=("hw_thermal_slowdown",)), "throttled (hw_thermal_slowdown in "),
    ],
    ids=["company", "heat"],
)
@pytest.mark.usefixtures("counter")
def test_a_machine_that_is_not_fit_gives_no_energy(around, within, why):
    glance = None if within is None else lambda: within
    found = EnergyMeter.at_rest(CPU, 100).of([Sleep(0.01)], (2,), lambda: around, glance)
    assert found.mj is None
    assert found.why.startswith(why)


@pytest.mark.usefixtures("counter")
def test_the_profilers_calls_have_no_energy_as_it_slows_them():
    found = EnergyMeter.at_rest(CPU, 100).of([ProfilerClock(print)], (2,), Machine)
    assert (found.mj, found.why) == (None, "no CUDA graph captures the call")


def test_a_counter_that_stands_still_gives_no_energy(monkeypatch):
    monkeypatch.setattr(gpu_state, "energy_counter", lambda device: lambda: 7)
    monkeypatch.setattr(energy, "PATIENCE_S", 0.1)
    meter = EnergyMeter.at_rest(CPU, 50)
    assert meter.why.startswith("the counter of energy did not step twice in ")
    assert meter.of([Sleep(0.01)], (2,), Machine) == EnergyResult(why=meter.why)


# NVML


class Nvml:
    """As much of pynvml as is asked of a board that counts `mj`, or says why it does not."""

    NVMLError = KeyError

    def __init__(self, mj: int | None = 5_000, mig: int = 0) -> None:
        self._mj, self._mig = mj, mig

    def nvmlInit(self):
        pass

    def nvmlDeviceGetHandleByUUID(self, uuid):
        return {"GPU-1f": "handle"}[uuid]

    def nvmlDeviceGetMigMode(self, handle):
        return [self._mig, self._mig]

    def nvmlDeviceGetTotalEnergyConsumption(self, handle):
        if self._mj is None:
            raise KeyError("Not Supported")
        return self._mj


@pytest.fixture
def gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(uuid="1f"))

    def known_to(nvml: object) -> torch.device:
        monkeypatch.setitem(sys.modules, "pynvml", nvml)
        return torch.device("cuda")

    return known_to


def test_a_boards_counter_is_read(gpu):
    assert gpu_state.energy_counter(gpu(Nvml()))() == 5_000


@pytest.mark.parametrize(
    ("nvml", "why"),
    [
        (None, "NVML does not know this GPU, or pynvml is not installed"),
        (Nvml(mj=None), "NVML says 'Not Supported'"),
        (Nvml(mig=1), "MIG is on, and the board counts all its instances together"),
        (
            SimpleNamespace(nvmlInit=print, NVMLError=KeyError),
            "NVML does not know this GPU, or pynvml is not installed",
        ),
    ],
    ids=["no library", "not supported", "MIG", "old"],
)
def test_where_nothing_counts_one_line_says_why(gpu, nvml, why):
    with pytest.raises(MeasureError) as error:
        gpu_state.energy_counter(gpu(nvml))
    assert str(error.value) == f"no counter of energy: {why}"


def test_a_cpu_has_no_counter():
    with pytest.raises(MeasureError, match="no counter of energy: cpu has none"):
        gpu_state.energy_counter(CPU)


# Through pytest


class Steady(HostClock):
    """Runs its call, and says that it took as long as ever: a busy machine is no news of a point's energy."""

    def batch(self, times: int) -> list[int]:
        super().batch(times)
        return [20_000_000] * times


@pytest.fixture
def steady(measured, monkeypatch, without_charts):
    """One whose time is always the same, and nothing of it is recorded."""
    monkeypatch.setattr(timing, "device_clock", lambda device, call: Steady(call))
    measured.file.unlink()
    return measured


def vendor_of(steady) -> dict[str, object]:
    (point,) = json.loads((steady.path / "out" / "sweep.json").read_text())["points"]
    return point["vendor"]


def scale(steady, factor: float) -> None:
    def change(point, _):
        for process in point["processes"]:
            process["energy"]["mj"] *= factor

    steady.edit(change)


@pytest.mark.slow
def test_where_nothing_counts_the_energy_is_null_and_the_point_passes(steady):
    assert steady.run("--ocrsweep-update").ret == 0
    result = steady.run(ON, "--ocrsweep-report=out")
    assert result.ret == 0
    result.assert_outcomes(passed=1)
    why = "no counter of energy: cpu has none"
    result.stdout.fnmatch_lines([f"no energy of 1 point: {why}"])
    assert vendor_of(steady)["energy"] == {**dict.fromkeys(names(EnergyResult)), "why": why}


@pytest.mark.slow
def test_without_the_setting_there_is_no_word_of_it(steady):
    result = steady.run("--ocrsweep-update", "--ocrsweep-report=out")
    assert result.ret == 0
    assert [line for line in result.outlines if "energy" in line and str(steady.path.parent) not in line] == []
    assert "energy" not in vendor_of(steady)
    assert "energy" not in steady.file.read_text()


@pytest.mark.usefixtures("counter")
@pytest.mark.slow
def test_an_energy_is_recorded_and_shown_beside_the_power_at_rest(steady):
    result = steady.run(ON, "--ocrsweep-update", "--ocrsweep-report=out")
    assert result.ret == 0
    result.stdout.fnmatch_lines(["*device ms * J *", "cpu of * draws * W at rest; an energy (J) is the whole board's*"])
    (process,), found = steady.processes, vendor_of(steady)["energy"]
    assert process["energy"] == {"mj": found["mj"], "idle_w": found["idle_w"]}
    assert found["power_w"] == pytest.approx(WATTS, rel=0.1)
    assert found["counter_steps"] >= 2 * 100 / 20


@pytest.mark.usefixtures("counter")
@pytest.mark.slow
def test_more_energy_fails_beside_the_same_time_and_less_is_a_line(steady):
    assert steady.run(ON, "--ocrsweep-update").ret == 0
    scale(steady, 1 / 1000)
    result = steady.run(ON, "--ocrsweep-report=out")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(
        [
            "E *Failed: decode 1x1 flash on cpu: energy +* % (margin 3.4 %): * -> * J; if meant, accept it:",
            "E *pytest *--ocrsweep-update",
            "decode *1x1 *flash *FAIL",
            "FAILED suites/test_decode.py::test_decode?1x1-flash? - energy +*",
        ]
    )
    assert vendor_of(steady)["gate"]["outcome"] == "pass"  # the time

    scale(steady, 10**6)
    result = steady.run(ON)
    assert result.ret == 0
    result.stdout.fnmatch_lines(["less energy than recorded: 1 point; to accept it: pytest *--ocrsweep-update"])


@pytest.mark.usefixtures("counter")
@pytest.mark.slow
def test_an_energy_that_nothing_is_recorded_of_is_a_line_and_fails_nothing(steady):
    assert steady.run("--ocrsweep-update").ret == 0
    result = steady.run(ON)
    result.assert_outcomes(passed=1)
    accept = "pytest *vendor.energy_ms=100 *--ocrsweep-update"
    result.stdout.fnmatch_lines([f"no energy to compare with is recorded for 1 point; to record it: {accept}"])


@pytest.mark.usefixtures("without_charts")
@pytest.mark.slow
def test_an_energy_comes_from_a_worker_too(measured, monkeypatch):
    monkeypatch.setattr(gpu_state, "energy_counter", gpu_state.energy_counter)  # put back what the plugin changes
    measured.file.unlink()
    result = measured.run(ON, "-p", "fake_counter", "-n2", "--ocrsweep-update", "--ocrsweep-report=out")
    assert result.ret == 0
    assert vendor_of(measured)["energy"]["mj"] == measured.processes[0]["energy"]["mj"] > 0
