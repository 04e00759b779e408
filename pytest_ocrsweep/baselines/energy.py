"""The energy of a point: power by a board's counter while the point runs over and over, times the time of one call."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from .json_layout import JsonObject, Layout, Plain, Wrong, known, number, text, whole


class Reading(NamedTuple):
    """A counter of energy, and when it was read."""

    at_s: float
    mj: int


class Power(NamedTuple):
    """The mean power between two steps of a counter, and how often it stepped from the one to the other."""

    begin_s: float
    end_s: float
    mj: int
    steps: int

    @property
    def seconds(self) -> float:
        return self.end_s - self.begin_s

    @property
    def watts(self) -> float:
        return self.mj / 1000 / self.seconds


def steps(readings: Sequence[Reading]) -> list[Reading]:
    """Where the counter stepped, each in the middle of the two readings that show it, and what it said from then on.

    It steps every some 10 to 100 ms: between two steps it says what it said at the first one.
    """
    return [Reading((then.at_s + now.at_s) / 2, now.mj) for then, now in pairwise(readings) if now.mj != then.mj]


def power(readings: Sequence[Reading], since_s: float, window_s: float) -> Power | None:
    """The power from the first step after a moment to the first one that is a window later; None until there is one."""
    seen = [step for step in steps(readings) if step.at_s >= since_s]
    for count, step in enumerate(seen):
        if count and step.at_s - seen[0].at_s >= window_s:
            return Power(seen[0].at_s, step.at_s, step.mj - seen[0].mj, count)
    return None


@dataclass(frozen=True, slots=True)
class Energy(JsonObject):
    """What one process used for a point, mJ, and its board's power at rest when the process began."""

    mj: float
    idle_w: float | None = None


@dataclass(frozen=True, slots=True)
class EnergyResult(JsonObject):
    """A point's energy as a run found and judged it; `mj` is None where nothing counts, and `why` says why.

    Of a whole stage: a decode's is of all its steps. `change` and `margin` are ratios.
    """

    mj: float | None = None
    power_w: float | None = None  # while it ran
    idle_w: float | None = None  # of the board at rest, when the process began
    window_ns: int | None = None  # from step to step of the counter, of a decode's first and last step together
    counter_steps: int | None = None  # in it
    replays: int | None = None
    temperature_c: int | None = None  # at its end
    why: str | None = None
    outcome: str | None = None
    change: float | None = None
    margin: float | None = None

    def least(self, other: EnergyResult | None) -> EnergyResult:
        """The lower of two: what keeps a board busier passes, what the point itself uses does not."""
        return other if other and other.mj and self.mj and other.mj < self.mj else self

    @property
    def of_process(self) -> Energy | None:
        """As baselines hold it."""
        return None if self.mj is None else Energy(self.mj, self.idle_w)


# JSON


def _read_positive(value: object) -> float:
    found: float = number.read(value)
    if found <= 0:
        raise Wrong(f"must be above 0, got {found}")
    return found


_POSITIVE = Plain(_read_positive)
ENERGY = Layout(Energy, {"mj": _POSITIVE, "idle_w": known(_POSITIVE)})
ENERGY_RESULT = Layout(
    EnergyResult,
    {
        **dict.fromkeys(("mj", "power_w", "idle_w"), known(_POSITIVE)),
        **dict.fromkeys(("window_ns", "counter_steps", "replays", "temperature_c"), known(whole)),
        **dict.fromkeys(("why", "outcome"), known(text)),
        **dict.fromkeys(("change", "margin"), known(number)),
    },
)


def recorded(value: object) -> Energy:
    """What a baseline holds of it. Raises ValueError."""
    try:
        return ENERGY.read(value)
    except Wrong as wrong:
        raise ValueError(f"{'.'.join(['energy', *wrong.at])} {wrong.what}") from None
