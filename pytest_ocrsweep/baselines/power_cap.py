"""The power cap as a state of a process: how much of its sampling ran under it, and at which clock."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from .json_layout import JsonObject, Layout, Plain, Wrong, known, number, positive
from .machine import POWER_CAP, Machine, in_numbers, mean

RARE = 0.1
"""Fewer of the readings are a flicker of the cap, and not a state."""

APART = 0.5
"""Processes whose shares lie further apart ran in different states. Not a threshold on each share: a point that
always runs near it would be in one state today and in the other tomorrow."""

CAPPED_NOISE = 0.0037
"""Sigma expected between processes under the cap: two H200s were 0.51 and 0.54 % apart at two points, which is 0.37 %
each way; without the cap the same two cards were 0.05 to 0.09 % apart in the middle. Two cards are all there is."""


@dataclass(frozen=True, slots=True)
class PowerCap(JsonObject):
    """The share of a process's readings that show the power cap, and the mean SM clock over all its readings."""

    share: float
    sm_clock_mhz: int | None = None

    @classmethod
    def of(cls, readings: Sequence[Machine]) -> PowerCap | None:
        """None where readings show the cap too rarely, or are not known."""
        known = [r for r in readings if r.throttle_reasons is not None]
        share = sum(POWER_CAP in (r.throttle_reasons or ()) for r in known) / max(1, len(known))
        if share < RARE:
            return None
        clock = mean(r.sm_clock_mhz for r in known)
        return cls(round(share, 3), None if clock is None else round(clock))


def over(processes: Iterable[PowerCap | None]) -> PowerCap | None:
    """The state of several processes: the middle of their shares, and the mean clock of those under the cap."""
    each = list(processes)
    share = statistics.median(cap.share if cap else 0.0 for cap in each)
    if share < RARE:
        return None
    clock = mean(cap.sm_clock_mhz for cap in each if cap)
    return PowerCap(share, None if clock is None else round(clock))


def same_state(then: PowerCap | None, now: PowerCap | None) -> bool:
    """Whether times taken so may be compared."""
    return abs(_share(then) - _share(now)) <= APART


def changed(then: PowerCap | None, readings: Sequence[Machine]) -> str | None:
    """In words, why a process with these readings is not compared with times of state `then`; None if it is."""
    now, known = PowerCap.of(readings), any(r.throttle_reasons is not None for r in readings)
    if not known or same_state(then, now):
        return None
    if _share(now) > _share(then):
        numbers = in_numbers(readings)
        return f"{_recorded(then)}, now {_under(now)}{f': {numbers}' if numbers else ''}"
    return f"{_recorded(then)}, now {_under(now) if now else 'without it'}"


def _share(cap: PowerCap | None) -> float:
    return cap.share if cap else 0.0


def _recorded(cap: PowerCap | None) -> str:
    if cap is None:
        return "recorded without the power cap"
    clock = "" if cap.sm_clock_mhz is None else f" at {cap.sm_clock_mhz:,} MHz"
    return f"recorded under the power cap in {100 * cap.share:.0f} % of readings{clock}"


def _under(cap: PowerCap | None) -> str:
    return f"under it in {100 * _share(cap):.0f} % of readings"


# JSON


def _read_share(value: object) -> float:
    share: float = number.read(value)
    if not 0 < share <= 1:
        raise Wrong(f"must be above 0 and at most 1, got {share}")
    return share


POWER_CAPPED = Layout(PowerCap, {"share": Plain(_read_share), "sm_clock_mhz": known(positive)})


def recorded(value: object) -> PowerCap:
    """What a baseline holds of it. Raises ValueError."""
    try:
        return POWER_CAPPED.read(value)
    except Wrong as wrong:
        raise ValueError(f"{'.'.join(['power_cap', *wrong.at])} {wrong.what}") from None
