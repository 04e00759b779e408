"""What is read from NVML, and that nothing is known without it."""

from __future__ import annotations

import sys
from collections import Counter
from types import SimpleNamespace

import pytest

torch = pytest.importorskip("torch", reason="the reference model needs the extra [vendor]")
pytest.importorskip("transformers", reason="the reference model needs the extra [vendor]")

from pytest_ocrsweep.baselines.machine import Machine  # noqa: E402
from pytest_ocrsweep.vendor_model import gpu_state  # noqa: E402

CPU = torch.device("cpu")
BOARD = {"temperature_c": 71, "max_clock_mhz": 1980, "power_limit_w": 700.0}


class Nvml:
    """As much of pynvml as is asked, for one GPU; without `milliwatts` it does not report its power."""

    NVMLError = KeyError
    NVML_CLOCK_SM, NVML_TEMPERATURE_GPU = 1, 0

    def __init__(self, reasons: int, processes: int, milliwatts: int | None = 650_500) -> None:
        self._reasons, self._processes, self._milliwatts = reasons, processes, milliwatts
        self.asked = Counter()

    def __getattribute__(self, name: str):
        if name.startswith("nvmlDeviceGet"):
            self.asked[name] += 1
        return super().__getattribute__(name)

    def nvmlDeviceGetTemperature(self, handle, sensor):
        return {self.NVML_TEMPERATURE_GPU: 71}[sensor]

    def nvmlDeviceGetEnforcedPowerLimit(self, handle):
        return 700_000

    def nvmlDeviceGetMaxClockInfo(self, handle, kind):
        return {self.NVML_CLOCK_SM: 1980}[kind]

    def nvmlInit(self):
        pass

    def nvmlDeviceGetHandleByUUID(self, uuid):
        return {"GPU-1f": "handle"}[uuid]

    def nvmlDeviceGetClockInfo(self, handle, kind):
        return {self.NVML_CLOCK_SM: 1965}[kind]

    def nvmlDeviceGetPowerUsage(self, handle):
        if self._milliwatts is None:
            raise KeyError("not supported")
        return self._milliwatts

    def nvmlDeviceGetCurrentClocksThrottleReasons(self, handle):
        return self._reasons

    def nvmlDeviceGetComputeRunningProcesses(self, handle):
        return [SimpleNamespace(pid=pid) for pid in range(-self._processes, 0)]


def read(monkeypatch, nvml: object, uuid: str = "1f") -> Machine:
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(uuid=uuid))
    return gpu_state.reader(torch.device("cuda"))()


def test_of_a_cpu_nothing_is_known():
    assert gpu_state.reader(CPU)() == Machine()
    assert gpu_state.glance(CPU) is None


def test_a_glance_asks_no_more_than_clock_power_temperature_and_throttling(monkeypatch):
    nvml = Nvml(reasons=0x4, processes=2)
    read(monkeypatch, nvml)
    glance = gpu_state.glance(torch.device("cuda"))
    nvml.asked.clear()
    assert glance() == Machine(1965, 650.5, ("sw_power_cap",), None, **BOARD)
    asked = {"nvmlDeviceGetClockInfo", "nvmlDeviceGetPowerUsage", "nvmlDeviceGetTemperature"}
    assert nvml.asked == Counter({*asked, "nvmlDeviceGetCurrentClocksThrottleReasons"})


def test_an_nvml_that_lacks_a_question_knows_the_rest(monkeypatch):
    monkeypatch.delattr(Nvml, "nvmlDeviceGetTemperature")
    told = read(monkeypatch, Nvml(reasons=0, processes=0))
    assert (told.temperature_c, told.power_limit_w) == (None, 700.0)


def test_a_gpu_reports_its_clock_power_throttling_and_company(monkeypatch):
    told = read(monkeypatch, Nvml(reasons=0x24, processes=2))
    assert told == Machine(1965, 650.5, ("sw_power_cap", "sw_thermal_slowdown"), 2, **BOARD)


def test_what_a_board_does_not_answer_is_not_known(monkeypatch):
    assert read(monkeypatch, Nvml(reasons=0, processes=0, milliwatts=None)) == Machine(1965, None, (), 0, **BOARD)


def test_a_gpu_at_ease_has_no_throttle_reason_rather_than_an_unknown_one(monkeypatch):
    told = read(monkeypatch, Nvml(reasons=0, processes=0))
    assert (told.throttle_reasons, told.other_processes) == ((), 0)


@pytest.mark.parametrize("nvml", [None, Nvml(0, 0)], ids=["no library", "another device"])
def test_of_a_gpu_that_nvml_does_not_know_nothing_is_known(monkeypatch, nvml):
    assert read(monkeypatch, nvml, uuid="2e") == Machine()


def test_there_is_no_driver_version_without_nvml(monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert gpu_state.driver() is None
