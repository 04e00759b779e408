"""Which GPUs this process may use, and which one it does: told without torch, which would open them."""

from __future__ import annotations

import os
import subprocess

VISIBLE = "CUDA_VISIBLE_DEVICES"


def gpus() -> list[str]:
    """The GPUs that this process may use, named as CUDA_VISIBLE_DEVICES names them."""
    installed = _installed()
    chosen = os.environ.get(VISIBLE)
    if chosen is None:
        return [str(number) for number in range(installed or 0)]
    found = []
    for name in map(str.strip, chosen.split(",")):
        unknown = name.isdigit() and installed is not None and int(name) >= installed
        if name in ("", "-1") or unknown:
            break  # CUDA too passes over the rest
        found.append(name)
    return [] if installed == 0 else found


def device_id(device: str) -> str:
    """What separate processes call "cpu", "cuda" or "cuda:1" alike: a GPU's UUID where the driver tells it."""
    if device == "cpu":
        return device
    number, visible = int(device.partition(":")[2] or 0), gpus()
    name = visible[number] if number < len(visible) else str(number)
    try:
        import pynvml

        pynvml.nvmlInit()
        return str(pynvml.nvmlDeviceGetUUID(pynvml.nvmlDeviceGetHandleByIndex(int(name))))
    except Exception:  # not installed, no driver, or named by UUID already
        return name if name.startswith("GPU-") else f"GPU-{name}"


def _installed() -> int | None:
    """How many GPUs the driver has; None where nothing can tell."""
    try:
        import pynvml

        pynvml.nvmlInit()
        return int(pynvml.nvmlDeviceGetCount())
    except Exception:  # not installed, or no driver library that it could load: its error types are its own
        pass
    try:
        shown = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=30, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    return sum(line.startswith("GPU ") for line in shown.splitlines())
