"""Axes: where a value lies in a panel, and the round values that a reader finds labelled there."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ..columns import Points

MANY = 40  # grids: more cannot be labelled one by one, and x becomes the number of crops
TICKS = 6  # at most, of an axis of numbers


@dataclass(frozen=True, slots=True)
class Scale:
    """Values between two ends as pixels between two others; `ticks` are values to label."""

    low: float
    high: float
    start: float
    end: float
    ticks: tuple[float, ...]
    log: bool = False

    def __call__(self, value: float) -> float:
        low, high, value = map(math.log10, (self.low, self.high, value)) if self.log else (self.low, self.high, value)
        return self.start + (value - low) / (high - low) * (self.end - self.start)


def linear(values: Iterable[float], start: float, end: float, *, zero: bool = True) -> Scale:
    """From zero, or from the least of the values, to a round number above them all."""
    found = [*values, *([0.0] if zero else [])] or [0.0, 1.0]
    low, high = min(found), max(found)
    if high - low < 1e-12 * max(abs(high), 1e-12):
        high = low + (abs(low) or 1.0)
    step = _step(high - low)
    low, high = math.floor(low / step + 1e-9) * step, math.ceil(high / step - 1e-9) * step
    count = round((high - low) / step)
    return Scale(low, high, start, end, tuple(low + at * step for at in range(count + 1)))


def logarithmic(values: Iterable[float], start: float, end: float) -> Scale:
    """Around positive values, with a tick at each power of ten, or at 1, 2 and 5 of each if there are few."""
    found = list(values)
    low, high = min(found) / 1.25, max(found) * 1.25
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks = [10.0**power for power in powers]
    if len([tick for tick in ticks if low <= tick <= high]) < 3:
        ticks = [first * 10.0**power for power in powers for first in (1, 2, 5)]
    return Scale(low, high, start, end, tuple(tick for tick in ticks if low <= tick <= high), log=True)


def _step(span: float) -> float:
    """1, 2 or 5 times a power of ten, so that at most TICKS steps make the span."""
    power = 10.0 ** math.floor(math.log10(span / TICKS))
    return next(power * first for first in (1, 2, 5, 10) if power * first * TICKS >= span * (1 - 1e-9))


def shown(value: float) -> str:
    """A tick's label: 1,200 and 0.12."""
    return f"{value:,.0f}" if value == 0 or abs(value) >= 1000 else f"{value:.6g}"


@dataclass(frozen=True, slots=True)
class Grids:
    """The x axis: grids one by one, by crops and then rows, which is by image tokens; of many, the number of crops."""

    keys: tuple[float, ...]  # of each place on the axis: a grid's number, or a number of crops
    of_point: tuple[int, ...]  # the place of each point
    labels: tuple[str, ...]  # of each place; empty if the axis is one of numbers

    @property
    def alone(self) -> bool:
        """Whether there is one grid, so that a line would be a dot."""
        return len(self.keys) < 2

    @property
    def title(self) -> str:
        return "grid, rows x columns of crops" if self.labels else "crops"


def grids(points: Points) -> Grids:
    """The axis of these points."""
    columns = points.columns
    order = sorted(set(zip(columns["crops"], columns["rows"], columns["grid"], strict=True)))
    if len(order) > MANY:
        crops = sorted({crops for crops, _, _ in order})
        places = {number: at for at, number in enumerate(crops)}
        return Grids(tuple(map(float, crops)), tuple(places[number] for number in columns["crops"]), ())
    names = [grid for _, _, grid in order]
    at = {grid: place for place, grid in enumerate(names)}
    return Grids(tuple(map(float, range(len(names)))), tuple(at[grid] for grid in columns["grid"]), tuple(names))


def averaged(points: Points) -> bool:
    """Whether x is the number of crops, and several grids share one."""
    columns = points.columns
    return len(set(columns["grid"])) > max(MANY, len(set(columns["crops"])))


def means(axis: Grids, places: Sequence[int], values: Sequence[float | None]) -> list[tuple[int, float, int]]:
    """Place, mean value and one point of each place that has a value, in order; `places` are the points'."""
    sums: dict[int, list[tuple[float, int]]] = {}
    for point in places:
        value = values[point]
        if value is not None and math.isfinite(value):
            sums.setdefault(axis.of_point[point], []).append((value, point))
    return [(at, math.fsum(v for v, _ in found) / len(found), found[0][1]) for at, found in sorted(sums.items())]
