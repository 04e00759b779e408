"""How `fits` and `size` print times and pages a second, and what they say of their intervals."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from ..hardware.estimate import why_not
from ..hardware.serving import Speeds

if TYPE_CHECKING:
    from ..hardware.devices import Device

DIGITS = 3  # that a number shows at least


def shown(number: float) -> str:
    """With three digits, or with all that stand before the point."""
    whole = len(str(int(number))) if number >= 1 else 0
    return f"{number:,.{max(DIGITS - whole, 0)}f}"


def interval(low: float, high: float) -> str:
    return f"{shown(low)} to {shown(high)}"


def at_least(number: float) -> str:
    """A floor where an estimate belongs."""
    return f">= {shown(number)}"


def notes(devices: Mapping[str, Device], found: Mapping[str, Speeds | None]) -> Iterator[str]:
    """Why intervals are wide, and what to do where nothing can be expected."""
    for reason in dict.fromkeys(reason for speeds in found.values() if speeds for reason in speeds.reasons):
        names = [name for name, speeds in found.items() if speeds and reason in speeds.reasons]
        yield f"wide intervals on {', '.join(names)}: {reason}"
    for name, device in devices.items():
        if error := why_not(device):
            yield f"{name}: floors only (>=): {error}"
