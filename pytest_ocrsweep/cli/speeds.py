"""How `fits` and `size` print times and pages a second, and what they say of their intervals."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from ..hardware.estimate import why_not
from ..hardware.serving import Speeds

if TYPE_CHECKING:
    from ..hardware.devices import Device

DIGITS = 3  # that a number shows at least
FEW = 3  # reasons that are shown


def shown(number: float) -> str:
    """The number with three digits, or with all digits before its decimal point if these are more."""
    whole = len(str(int(number))) if number >= 1 else 0
    return f"{number:,.{max(DIGITS - whole, 0)}f}"


def interval(low: float, high: float) -> str:
    return f"{shown(low)} to {shown(high)}"


def at_least(number: float) -> str:
    """A floor where an estimate belongs."""
    return f">= {shown(number)}"


def notes(devices: Mapping[str, Device], found: Mapping[str, Sequence[Speeds | None]]) -> Iterator[str]:
    """Why intervals are wide, and what to do where nothing can be expected."""
    by_reason: dict[str, dict[str, None]] = {}
    for name, of_device in found.items():
        for reason in {reason: None for speeds in of_device if speeds for reason in speeds.reasons}:
            by_reason.setdefault(reason, {})[name] = None
    most = sorted(by_reason, key=lambda reason: -len(by_reason[reason]))
    yield from (f"wide intervals on {', '.join(by_reason[reason])}: {reason}" for reason in most[:FEW])
    if len(most) > FEW:
        yield f"{len(most) - FEW} reasons more for wide intervals: --json has all"
    for name, device in devices.items():
        if error := why_not(device):
            yield f"{name}: floors only (<=, >=): {error}"
