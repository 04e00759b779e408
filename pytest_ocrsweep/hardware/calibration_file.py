"""Calibrations as JSON files: those that the package brings, one a GPU, and a user's own."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from ..errors import CalibrationError
from ..files.text import quoted
from .calibration import CONSTANTS, OTHER_DEVICE, RESOURCE, SHEET, Calibration, Constant, Range
from .devices import Device

SCHEMA = 1
MOST_BYTES = 2**20
REMEDY = "calibrate it: ocrsweep calibrate --output FILE, then --set device.calibration=FILE"


def to_json(calibration: Calibration) -> dict[str, object]:
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
    """A calibration from its JSON object. Raises KeyError, TypeError or ValueError if it is none."""
    if document["schema"] != SCHEMA:
        raise ValueError(f"schema {document['schema']!r}, not {SCHEMA}")
    if document["constants"].keys() != CONSTANTS.keys():
        raise ValueError(f"its constants are not {', '.join(CONSTANTS)}")
    constants = {
        name: Constant(*(_positive(c[key]) for key in ("value", "low", "high")))
        for name, c in document["constants"].items()
    }
    return Calibration(
        device=str(document["device"]),
        sheet={what: _positive(document["sheet"][what]) for what in SHEET},
        constants=constants,
        spread={str(stage): _positive(factor) for stage, factor in document["spread"].items()},
        covers={key: Range(**reach) for key, reach in document["covers"].items()},
        environment={str(key): str(value) for key, value in document["environment"].items()},
        fitted=tuple(map(str, document["fitted"])),
        judged=tuple(map(str, document["judged"])),
    )


def _positive(number: object) -> float:
    if not isinstance(number, int | float) or not 0 < number < float("inf"):
        raise ValueError(f"{number!r} is not a positive number")
    return float(number)


def read(path: Path) -> Calibration:
    """The calibration in a file. Raises CalibrationError, in one line, if it holds none."""
    try:
        with path.open("rb") as file:
            text = file.read(MOST_BYTES + 1)
        if len(text) > MOST_BYTES:
            raise ValueError(f"more than {MOST_BYTES:,} bytes")
        return from_json(json.loads(text))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        reason = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise CalibrationError(f"{quoted(str(path))} is no calibration: {reason};", hint=REMEDY) from None


@cache
def packaged() -> dict[str, Calibration]:
    """The calibrations of this package, by the names of their devices."""
    folder = files(__package__).joinpath("calibrations")
    found = [from_json(json.loads(file.read_text())) for file in folder.iterdir() if file.name.endswith(".json")]
    return {calibration.device: calibration for calibration in found}


@cache
def calibration_of(device: Device) -> Calibration:
    """The device's own calibration, or that of the GPU in `calibrated_as`, scaled by both data sheets.

    Raises CalibrationError, which names the remedy, if the device has neither.
    """
    if device.calibration is not None:
        return replace(read(Path(device.calibration)), device=device.name)
    known = packaged()
    for name in sorted(known, key=len, reverse=True):
        if device.name == name or device.name.startswith(f"{name} with "):
            return known[name]
    if device.calibrated_as is None or device.calibrated_as not in known:
        raise CalibrationError(f"{device.name} has no calibration, and there is none to scale to it;", hint=REMEDY)
    return scaled(known[device.calibrated_as], device)


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
