"""Calibrations as JSON files: those that the package brings, one a GPU, and a user's own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from functools import cache
from importlib.resources import files
from math import isclose
from pathlib import Path
from typing import Any

from ..errors import CalibrationError
from ..files import untrusted
from ..files.text import quoted
from ..model.stages import STAGES
from .calibration import CONSTANTS, OTHER_DEVICE, RESOURCE, SHEET, Calibration, Constant, Range
from .devices import Device

SCHEMA = 1
MOST_BYTES = 2**20
LEAST, MOST = 1e-3, 1e30  # of a constant, in its unit: no GPU is near either, and no time overflows within them
WIDEST = 1e3  # a spread
REMEDY = "calibrate it: ocrsweep calibrate --output FILE, then --set device.calibration=FILE"


def to_json(calibration: Calibration) -> dict[str, Any]:
    """A calibration as one JSON object; each constant with its unit."""
    constants = {
        name: {"value": c.value, "unit": CONSTANTS[name][0], "low": c.low, "high": c.high}
        for name, c in calibration.constants.items()
    }
    return {
        "schema": SCHEMA,
        "device": calibration.device,
        "sheet": dict(calibration.sheet),
        "environment": dict(calibration.environment),
        "constants": constants,
        "spread": dict(calibration.spread),
        "covers": {key: asdict(reach) for key, reach in calibration.covers.items()},
        "fitted": list(calibration.fitted),
        "judged": list(calibration.judged),
    }


def from_json(document: Mapping[str, Any]) -> Calibration:
    """A calibration from its JSON object. Raises KeyError, TypeError or ValueError if it is not one."""
    if document["schema"] != SCHEMA:
        raise ValueError(f"schema {document['schema']!r}, not {SCHEMA}")
    if document["constants"].keys() != CONSTANTS.keys():
        raise ValueError(f"its constants are not {', '.join(CONSTANTS)}")
    if document["spread"].keys() != STAGES.keys():
        raise ValueError(f"its spread is not of {', '.join(STAGES)}")
    return Calibration(
        device=str(document["device"]),
        sheet={what: _number(document["sheet"][what], what) for what in SHEET},
        constants={name: _constant(c, name) for name, c in document["constants"].items()},
        spread={stage: _number(x, f"the spread of {stage}", 1, WIDEST) for stage, x in document["spread"].items()},
        covers={str(key): _range(reach) for key, reach in document["covers"].items()},
        environment={str(key): str(value) for key, value in document["environment"].items()},
        fitted=tuple(map(str, document["fitted"])),
        judged=tuple(map(str, document["judged"])),
    )


def _constant(given: Mapping[str, Any], name: str) -> Constant:
    constant = Constant(*(_number(given[key], name) for key in ("value", "low", "high")))
    if not constant.low <= constant.value <= constant.high:
        raise ValueError(f"{name} is outside its interval")
    return constant


def _range(given: Mapping[str, Any]) -> Range:
    for size in given.values():
        if type(size) is not int or size < 1:
            raise ValueError(f"it covers {quoted(size)}, which is not a whole number of at least 1")
    return Range(**given)


def _number(number: object, name: str, least: float = LEAST, most: float = MOST) -> float:
    if type(number) not in (int, float) or not least <= number <= most:  # type: ignore[operator]
        raise ValueError(f"{name} must be a number from {least:g} to {most:g}, got {quoted(number)}")
    return float(number)  # type: ignore[arg-type]


def read(path: Path) -> Calibration:
    """The calibration in a file. Raises CalibrationError, in one line, if it holds none."""
    try:
        return from_json(untrusted.parse_json(untrusted.read(path, MOST_BYTES)))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        reason = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise CalibrationError(f"{quoted(str(path))} is no calibration: {reason};", hint=REMEDY) from None


@cache
def packaged() -> dict[str, Calibration]:
    """The calibrations of this package, by the names of their devices."""
    folder = files(__package__).joinpath("calibrations")
    found = [
        from_json(untrusted.parse_json(file.read_bytes())) for file in folder.iterdir() if file.name.endswith(".json")
    ]
    return {calibration.device: calibration for calibration in found}


@cache
def calibration_of(device: Device) -> Calibration:
    """The device's own calibration; or that of another sheet, its kin's or its own before it was changed, scaled.

    Raises CalibrationError, which names the remedy, if the device has neither.
    """
    measured = _measured(device)
    if measured is None:
        raise CalibrationError(f"{device.name} has no calibration, and no kin that has one;", hint=REMEDY)
    if all(isclose(getattr(device, what), measured.sheet[what], rel_tol=1e-9) for what in SHEET):
        return replace(measured, device=device.name)
    return scaled(measured, device)


def _measured(device: Device) -> Calibration | None:
    """What was measured on the device, under its catalogue's name if its figures were changed, or else on its kin."""
    if device.calibration is not None:
        return read(Path(device.calibration))
    known = packaged()
    for name in sorted(known, key=len, reverse=True):
        if device.name == name or device.name.startswith(f"{name} with "):
            return known[name]
    return known.get(device.calibrated_as or "")


def scaled(calibration: Calibration, device: Device) -> Calibration:
    """The calibration of a measured GPU, for one of which only the sheet is known.

    A rate grows with what the sheet says of its resource; launches take as long.
    """
    grown = {what: getattr(device, what) / calibration.sheet[what] for what in SHEET}
    constants = {name: _times(c, grown.get(RESOURCE[name], 1.0)) for name, c in calibration.constants.items()}
    return replace(
        calibration,
        device=device.name,
        constants=constants,
        spread={stage: factor * OTHER_DEVICE for stage, factor in calibration.spread.items()},
        scaled_from=calibration.device,
    )


def _times(constant: Constant, factor: float) -> Constant:
    return Constant(constant.value * factor, constant.low * factor, constant.high * factor)
