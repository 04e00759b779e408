"""The GPU's clock, power, throttling and other processes by NVML; all None without a GPU or without NVML."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch

from ..baselines.machine import Machine
from ..errors import MeasureError
from .graph_speed import GraphSpeed

THROTTLE_REASONS = {  # nvml.h, nvmlClocksEventReason*
    0x1: "gpu_idle",
    0x2: "applications_clocks_setting",
    0x4: "sw_power_cap",
    0x8: "hw_slowdown",
    0x10: "sync_boost",
    0x20: "sw_thermal_slowdown",
    0x40: "hw_thermal_slowdown",
    0x80: "hw_power_brake_slowdown",
    0x100: "display_clock_setting",
}

OURS = {os.getpid()}  # processes that are no company: this one, and one that waits for it


def usable() -> bool:
    """Whether torch finds a GPU that it can use."""
    return torch.cuda.is_available()


def device(text: str) -> torch.device:
    """A device of torch by its name: "cuda", "cuda:1", "cpu"."""
    return torch.device(text)


def name(device: torch.device) -> str:
    """The name of the device that is measured."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"


def uuid(device: torch.device) -> str | None:
    """The card's own number, as NVML and nvidia-smi have it; None without a GPU."""
    if device.type != "cuda":
        return None
    text = str(getattr(torch.cuda.get_device_properties(device), "uuid", ""))  # torch knows it from 2.2 on
    return f"GPU-{text.removeprefix('GPU-')}" if text else None


def reader(device: torch.device, speed: GraphSpeed | None = None) -> Callable[[], Machine]:
    """A function that reads the machine's state now, and with `speed` the driver's speed of CUDA graphs too."""
    board = _board(device)
    read = board.read if board else Machine
    if speed is None:
        return read
    return lambda: replace(read(), graph_kernel_ns=speed.kernel_ns(), lasting_kernel_ns=speed.lasting_ns)


def glance(device: torch.device) -> Callable[[], Machine] | None:
    """A function that reads in well under a millisecond how the GPU runs; None where nothing is known of it."""
    board = _board(device)
    return board.glance if board else None


class _Board:
    """A GPU as NVML knows it; what a board or a version of NVML does not answer is None."""

    def __init__(self, nvml: Any, handle: Any) -> None:
        self._nvml, self._handle = nvml, handle
        limit = self._ask("nvmlDeviceGetEnforcedPowerLimit")
        self._power_limit_w = None if limit is None else limit / 1000
        self._max_clock_mhz = self._ask("nvmlDeviceGetMaxClockInfo", "NVML_CLOCK_SM")

    def _ask(self, question: str, *constants: str) -> Any:
        try:
            return getattr(self._nvml, question)(self._handle, *(getattr(self._nvml, name) for name in constants))
        except (self._nvml.NVMLError, AttributeError):
            return None

    def glance(self) -> Machine:
        """Clock, power, temperature and throttle reasons."""
        power, reasons = self._ask("nvmlDeviceGetPowerUsage"), self._ask("nvmlDeviceGetCurrentClocksThrottleReasons")
        return Machine(
            sm_clock_mhz=self._ask("nvmlDeviceGetClockInfo", "NVML_CLOCK_SM"),
            power_w=None if power is None else power / 1000,
            throttle_reasons=None
            if reasons is None
            else tuple(name for bit, name in THROTTLE_REASONS.items() if reasons & bit),
            temperature_c=self._ask("nvmlDeviceGetTemperature", "NVML_TEMPERATURE_GPU"),
            max_clock_mhz=self._max_clock_mhz,
            power_limit_w=self._power_limit_w,
        )

    def uncounted(self) -> str | None:
        """Why the board counts no energy of ours; None if it does."""
        if (self._ask("nvmlDeviceGetMigMode") or [0])[0]:
            return "MIG is on, and the board counts all its instances together"
        try:
            self.energy_mj()
        except (self._nvml.NVMLError, AttributeError) as error:
            return f"NVML says {error}"
        return None

    def energy_mj(self) -> int:
        """Since the driver was loaded."""
        return int(self._nvml.nvmlDeviceGetTotalEnergyConsumption(self._handle))

    def read(self) -> Machine:
        """The same, and the other processes on the GPU."""
        processes = self._ask("nvmlDeviceGetComputeRunningProcesses")
        others = None if processes is None else sum(p.pid not in OURS for p in processes)
        return replace(self.glance(), other_processes=others)


def _board(device: torch.device) -> _Board | None:
    if device.type != "cuda":
        return None
    try:
        import pynvml

        pynvml.nvmlInit()
        return _Board(pynvml, pynvml.nvmlDeviceGetHandleByUUID(uuid(device)))
    except Exception:  # NVML is not installed or does not know this device: nothing is known then
        return None


def energy_counter(device: torch.device) -> Callable[[], int]:
    """A function that reads the mJ that the board has used so far. Raises MeasureError where nothing counts it."""
    if device.type != "cuda":
        raise MeasureError(f"no counter of energy: {device} has none")
    board = _board(device)
    if board is None:
        raise MeasureError("no counter of energy: NVML does not know this GPU, or pynvml is not installed")
    if why := board.uncounted():
        raise MeasureError(f"no counter of energy: {why}")
    return board.energy_mj


def memory(device: torch.device) -> tuple[int, int] | None:
    """Bytes of memory that the device has, and how many of them are free; None if the system does not say."""
    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info(device)
        return total, free
    try:
        pages = [os.sysconf(name) for name in ("SC_PHYS_PAGES", "SC_AVPHYS_PAGES")]
    except (AttributeError, ValueError):  # not on Windows, the second not on macOS
        return None
    total, free = (os.sysconf("SC_PAGE_SIZE") * count for count in pages)
    return total, free


def driver() -> str | None:
    """The NVIDIA driver's version; None without one."""
    try:
        import pynvml

        pynvml.nvmlInit()
        version = pynvml.nvmlSystemGetDriverVersion()
    except Exception:  # as above
        return None
    return version.decode() if isinstance(version, bytes) else str(version)
