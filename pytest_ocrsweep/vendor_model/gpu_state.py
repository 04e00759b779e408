"""The GPU's clock, power, throttling and other processes by NVML; all None without a GPU or without NVML."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch

from ..baselines.sampling import Machine
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
    read = _reader(device)
    return read if speed is None else lambda: replace(read(), graph_kernel_ns=speed.kernel_ns())


def _reader(device: torch.device) -> Callable[[], Machine]:
    if device.type != "cuda":
        return Machine
    try:
        import pynvml

        pynvml.nvmlInit()
        handle = pynvml.nvmlDeviceGetHandleByUUID(uuid(device))
    except Exception:  # NVML is not installed or does not know this device: nothing is known then
        return Machine
    return lambda: _read(pynvml, handle)


def _read(nvml: Any, handle: Any) -> Machine:
    def ask(question: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return question(handle, *arguments)
        except nvml.NVMLError:
            return None  # not every board answers every question

    power = ask(nvml.nvmlDeviceGetPowerUsage)
    reasons = ask(nvml.nvmlDeviceGetCurrentClocksThrottleReasons)
    processes = ask(nvml.nvmlDeviceGetComputeRunningProcesses)
    return Machine(
        sm_clock_mhz=ask(nvml.nvmlDeviceGetClockInfo, nvml.NVML_CLOCK_SM),
        power_w=None if power is None else power / 1000,
        throttle_reasons=None
        if reasons is None
        else tuple(name for bit, name in THROTTLE_REASONS.items() if reasons & bit),
        other_processes=None if processes is None else sum(p.pid != os.getpid() for p in processes),
    )


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
