"""Finds the GPUs that this process may use without torch, because torch would open them."""

from __future__ import annotations

import os
import re
import subprocess

VISIBLE = "CUDA_VISIBLE_DEVICES"
DIGITS = 9  # of a number that may be one of a GPU


def gpus() -> list[str]:
    """The GPUs that this process may use, named as CUDA_VISIBLE_DEVICES names them."""
    installed = _installed()
    chosen = os.environ.get(VISIBLE)
    if chosen is None:
        return [str(number) for number in range(installed or 0)]
    names = []
    for name in map(str.strip, chosen.split(",")):
        is_number = re.fullmatch("[0-9]+", name) is not None
        unknown = is_number and installed is not None and (len(name) > DIGITS or int(name) >= installed)
        if name in ("", "-1") or unknown:
            break  # CUDA ignores the rest too
        names.append(name)
    return [] if installed == 0 else names


def device_id(device: str) -> str:
    """One name for "cpu", "cuda" or "cuda:1" in every process: the GPU's UUID if its driver has one."""
    if device == "cpu":
        return device
    number, visible = int(device.partition(":")[2] or 0), gpus()
    name = visible[number] if number < len(visible) else str(number)
    try:
        import pynvml

        pynvml.nvmlInit()
        return str(pynvml.nvmlDeviceGetUUID(pynvml.nvmlDeviceGetHandleByIndex(int(name))))
    except Exception:  # pynvml or the driver is missing, or `name` is a UUID already
        return name if name.startswith("GPU-") else f"GPU-{name}"


def _installed() -> int | None:
    """How many GPUs the driver has; None if neither NVML nor nvidia-smi answers."""
    try:
        import pynvml

        pynvml.nvmlInit()
        return int(pynvml.nvmlDeviceGetCount())
    except Exception:  # pynvml or the driver is missing; pynvml's error types are its own
        pass
    try:
        listing = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=30, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    return sum(line.startswith("GPU ") for line in listing.splitlines())
