"""Which components account for a point's change: its lines as recorded against its lines now.

A machine that runs everything a little slower moves all lines alike. This pace is the lower median of the components'
ratios, if lines that are ALIKE of the time grew with it; what a component lost is what it took beyond the pace. A
component is named if it

- grew by more than its own noise, margin / sqrt(share): noise of lines averages out, less so in a small component;
- grew by more than SMALLEST of the point;
- and accounts for at least GOOD_PART of what the point lost.

The time between kernels is judged alike, under the name "launches". The pace itself is named "clock" if the SM clock
fell and all lines grew, or "all components" if it is beyond the gate's band without that.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from .gate import BAND
from .point_profile import PointProfile, component_of, components

GOOD_PART = 0.2
SMALLEST = 0.0025
"""Of the point's device time: half of the least change that somebody must hear of."""

MOST_NOISE = 0.05
"""No component's noise is taken for more, as a ratio: 10 % more is never noise."""

CLOCK_STEP = 0.01
"""A clock that fell by less is the same: one boost step, 15 MHz, is 0.8 % of 1980 MHz."""

ALIKE = 0.75
"""Lines of so much of the time must have grown, if the machine or its clock is the cause."""

PACED = 0.01
"""A component with less of the time is too noisy to tell the pace."""

LINES = 3  # named of one component, at most


@dataclass(frozen=True, slots=True)
class LineChange:
    """A line that accounts for a good part of its component's change; `ratio` is None for a line that is new."""

    path: str
    change_ns: int
    ratio: float | None

    def __str__(self) -> str:
        return f"{self.path} {_grown(self.change_ns, self.ratio)}"


@dataclass(frozen=True, slots=True)
class Cause:
    """What accounts for a point's change: a component by its path, "launches", "clock" or "all components".

    `change_ns` is of one call, a decode's last step, beyond the pace of all lines; `ratio` is that over its old time.
    """

    name: str
    change_ns: int
    ratio: float | None
    of_point: float
    lines: tuple[LineChange, ...] = ()
    detail: str = ""

    def __str__(self) -> str:
        said = f"{self.name} {_grown(self.change_ns, self.ratio)}, {self.of_point * 100:+.1f} % of the point"
        rest = ", ".join(map(str, self.lines)) or self.detail
        return f"{said}: {rest}" if rest else said


@dataclass(frozen=True, slots=True)
class Clocks:
    """The SM clock in MHz then and now; None where it is not known."""

    then: int | None = None
    now: int | None = None

    @property
    def slower(self) -> float:
        """How much longer a cycle takes now, as a ratio; 0 for the same clock, a higher or an unknown one."""
        if not self.then or not self.now or self.now > self.then * (1 - CLOCK_STEP):
            return 0.0
        return self.then / self.now - 1


def blame(then: PointProfile, now: PointProfile, margin: float, clocks: Clocks = Clocks()) -> list[Cause]:
    """The causes of a point's growth, largest first; empty where nothing grew beyond its noise."""
    pace = max(_pace(then, now), 1 / (1 + margin))
    if pace > 1 + margin and not _alike(then.times, now.times, 1 + (pace - 1) / 2):
        pace = 1.0  # several components grew alike, and not the machine's every line
    found = [
        *_components(then, now, margin, pace),
        *_launches(then, now, margin, pace),
        *_all(then, now, margin, pace, clocks),
    ]
    grown = max([now.device_ns - then.device_ns, *(cause.change_ns for cause in found)])
    causes = [cause for cause in found if cause.change_ns >= GOOD_PART * grown and cause.of_point >= SMALLEST]
    return sorted(causes, key=lambda cause: -cause.change_ns)


def _pace(then: PointProfile, now: PointProfile) -> float:
    """The pace of components, not of lines, because one component may have most of the time."""
    old, new = components(then.times), components(now.times)
    least = PACED * sum(old.values())
    ratios = sorted(new[name] / time_ns for name, time_ns in old.items() if name in new and time_ns > least)
    return ratios[(len(ratios) - 1) // 2] if ratios else 1.0


def _components(then: PointProfile, now: PointProfile, margin: float, pace: float) -> list[Cause]:
    old, new = components(then.times), components(now.times)
    found = []
    for name, time_ns in new.items():
        before = old.get(name, 0) * pace
        share = max(before, time_ns) / max(1, now.device_ns)
        if time_ns - before > before * min(MOST_NOISE, margin / math.sqrt(max(share, 1e-9))):
            lines = _lines(name, then.times, now.times, pace)
            found.append(_cause(name, round(time_ns - before), before, then, lines))
    return found


def _lines(name: str, then: Mapping[str, int], now: Mapping[str, int], pace: float) -> tuple[LineChange, ...]:
    """The lines of a component that grew most, each by a good part of the component's growth."""
    paths = [path for path in now if component_of(path) == name]
    grown = {path: now[path] - then.get(path, 0) * pace for path in paths}
    whole = sum(ns for ns in grown.values() if ns > 0)
    most = sorted(paths, key=lambda path: -grown[path])[:LINES]
    return tuple(
        LineChange(path, round(grown[path]), grown[path] / (then[path] * pace) if then.get(path) else None)
        for path in most
        if grown[path] >= GOOD_PART * whole
    )


def _launches(then: PointProfile, now: PointProfile, margin: float, pace: float) -> list[Cause]:
    """The time between kernels: a difference of two measured times, and so as noisy as the whole point.

    On a CPU, where a profile takes far longer than a timed call, there is none to compare.
    """
    if then.gap_ns < -margin * then.device_ns:
        return []
    before = then.gap_ns * pace if then.gap_ns > 0 else then.gap_ns
    grown = now.gap_ns - before
    if grown <= margin * then.device_ns:
        return []
    same = (
        f"{now.kernels} kernels as before"
        if now.kernels == then.kernels
        else f"kernels {then.kernels} -> {now.kernels}"
    )
    return [_cause("launches", round(grown), before, then, detail=f"the time between kernels, {same}")]


def _all(then: PointProfile, now: PointProfile, margin: float, pace: float, clocks: Clocks) -> list[Cause]:
    busy = sum(then.times.values())
    change_ns = round(busy * (pace - 1))
    if clocks.slower and _alike(then.times, now.times, 1 + min(clocks.slower, pace - 1) / 2):
        detail = f"SM clock {clocks.then} -> {clocks.now} MHz, and all lines grew alike"
        return [_cause("clock", change_ns, busy, then, detail=detail)]
    if pace - 1 <= margin * (1 + BAND):
        return []
    clock = f"SM clock {clocks.then} -> {clocks.now} MHz" if clocks.then and clocks.now else "the SM clock is not known"
    return [_cause("all components", change_ns, busy, then, detail=clock)]


def _cause(
    name: str, change_ns: int, before: float, then: PointProfile, lines: tuple[LineChange, ...] = (), detail: str = ""
) -> Cause:
    ratio = change_ns / before if before > 0 else None
    return Cause(name, change_ns, ratio, change_ns / max(1, then.device_ns), lines, detail)


def _alike(then: Mapping[str, int], now: Mapping[str, int], least: float) -> bool:
    """Whether lines that are three quarters of the time grew by at least this ratio."""
    grown = sum(ns for path, ns in then.items() if now.get(path, 0) >= ns * least)
    return grown >= ALIKE * sum(then.values())


def _grown(change_ns: int, ratio: float | None) -> str:
    percent = "new" if ratio is None else f"{ratio * 100:+.1f} %"
    return f"{percent} ({change_ns:+,} ns)"
