"""Calibrations as JSON files: those that the package brings, one a GPU, and a user's own."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from functools import cache
from importlib.resources import files
from math import isclose
from pathlib import Path
from typing import Any

from ..errors import CalibrationError
from ..files.text import quoted, text_of
from ..files.untrusted import parse_json
from ..files.untrusted import read as read_bytes
from ..model.stages import STAGES
from .calibration import (
    CONSTANTS,
    L2,
    MOST_OFF,
    OTHER_DEVICE,
    RESOURCE,
    SHEET,
    Calibration,
    Constant,
    Range,
    suggested_by,
)
from .devices import Device

SCHEMA = 1
MOST_BYTES = 2**20
MOST = 1e30
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
    known = (*SHEET, L2) if L2 in document["sheet"] else SHEET
    sheet = {what: _positive(document["sheet"][what]) for what in known}
    constants = {name: _constant(name, fields, sheet) for name, fields in document["constants"].items()}
    if not isinstance(document["device"], str) or not document["device"]:
        raise ValueError(f"its device is {quoted(document['device'])}, and not a name")
    if not document["spread"] or document["spread"].keys() - STAGES:
        raise ValueError(f"its spread is not of {', '.join(STAGES)}")
    return Calibration(
        device=document["device"],
        sheet=sheet,
        constants=constants,
        spread={str(stage): _positive(factor, 1, MOST_OFF) for stage, factor in document["spread"].items()},
        covers={str(key): _range(reach) for key, reach in document["covers"].items()},
        environment={str(key): str(value) for key, value in document["environment"].items()},
        fitted=tuple(map(str, document["fitted"])),
        judged=tuple(map(str, document["judged"])),
    )


def _positive(number: object, least: float = 1e-3, most: float = MOST) -> float:
    """Bounded, so that no sum of lines overflows."""
    if isinstance(number, bool) or not isinstance(number, int | float) or not least <= number <= most:
        raise ValueError(f"{quoted(number)} is not a number from {least:g} to {most:g}")
    return float(number)


def _constant(name: str, fields: Mapping[str, Any], sheet: Mapping[str, float]) -> Constant:
    value, low, high = (_positive(fields[end]) for end in ("value", "low", "high"))
    if not low <= value <= high:
        raise ValueError(f"{value:g} is not within its interval, {low:g} to {high:g}")
    if fields["unit"] != CONSTANTS[name][0]:
        raise ValueError(f"{name} is in {quoted(fields['unit'])}, and not in {CONSTANTS[name][0]}")
    off = value / suggested_by(sheet)[name]
    if not 1 / MOST_OFF < off * (1 + 1e-9) < MOST_OFF * (1 + 1e-8):
        raise ValueError(f"{name} is {value:g} {CONSTANTS[name][0]}, {off:.2g} times what its sheet suggests")
    return Constant(value, low, high)


def _range(fields: Mapping[str, Any]) -> Range:
    tokens = "tokens" if "tokens" in fields else "context_tokens"  # as older files say
    weight_bytes = fields.get("weight_bytes")
    known = None if weight_bytes is None else _count(weight_bytes)
    return Range(_count(fields["batch"]), _count(fields[tokens]), known)


def _count(number: object) -> int:
    if type(number) is not int:
        raise ValueError(f"{quoted(number)} is not a whole number")
    return int(_positive(number, least=1))


def read(path: Path) -> Calibration:
    """The calibration in a file. Raises CalibrationError, in one line, if it holds none."""
    try:
        return from_json(parse_json(read_bytes(path, MOST_BYTES)))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        reason = f"no {error}" if isinstance(error, KeyError) else text_of(error)
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

    A file of another GPU is scaled too, and so is a device's own if a rate of its sheet, or its L2, was changed.

    Raises CalibrationError, which names the remedy, if the device has neither.
    """
    measured = read(Path(device.calibration)) if device.calibration is not None else _packaged(device)
    if measured is None:
        kin = device.calibrated_as
        to_scale = (
            f"{quoted(kin)} has none either: {', '.join(packaged())} have one"
            if kin
            else "there is none to scale to it"
        )
        raise CalibrationError(f"{device.name} has no calibration, and {to_scale};", hint=REMEDY)
    same_sheet = all(isclose(getattr(device, what), known, rel_tol=1e-9) for what, known in measured.sheet.items())
    own = _is_of(measured.device, device) and same_sheet
    return replace(measured, device=device.name) if own else scaled(measured, device)


def _packaged(device: Device) -> Calibration | None:
    known = packaged()
    own = [name for name in known if _is_of(name, device)]
    return known.get(max(own, key=len) if own else device.calibrated_as or "")


def _is_of(name: str, device: Device) -> bool:
    """Whether that is the device's name, or was before its figures were changed."""
    return device.name == name or device.name.startswith(f"{name} with ")


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
