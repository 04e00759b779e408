"""A device that a user describes: by other figures than its catalogue has, or by a file of the project."""

from __future__ import annotations

import os
from dataclasses import fields, replace

from ..hardware.devices import Device
from .search_path import searched

NO_FIGURES = ("source", "calibrated_as", "calibration", "power")  # fields of a device that do not make it another one


def beside_its_file(device: Device) -> Device:
    """The device with the path of its calibration; a file of the project has it relative to itself."""
    folder = searched()
    if device.calibration is None or folder is None or os.path.isfile(device.calibration):
        return device
    beside = folder / "device" / device.calibration
    return replace(device, calibration=str(beside)) if beside.is_file() else device


def named(device: Device, listed: Device | None) -> Device:
    """The device; if a figure is not its catalogue's, its name says so, since it is another device then."""
    figures = {field.name: getattr(device, field.name) for field in fields(Device) if field.name not in NO_FIGURES}
    if listed is None or not (changed := [name for name in figures if figures[name] != getattr(listed, name)]):
        return device
    return replace(
        device, name=f"{device.name} with {', '.join(f'{name}={_shown(figures[name])}' for name in changed)}"
    )


def _shown(figure: float | None) -> str:
    return "null" if figure is None else f"{figure:.15g}"
