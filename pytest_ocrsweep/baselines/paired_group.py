"""The points of one stage and attention on both sides: what each process did to all of them, and what remains."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from .evidence import OUTLYING
from .process_noise import Squares, moderated
from .takes import Key

LEAST_SHARED = 3
"""Of fewer points nobody knows what they share: each is judged by its whole change."""

EXPECTED_SHARED, SHARED_WEIGHT = 0.0015, 4.0
"""What one process of an H200 does to all its points differs by 0.04 to 0.06 % from the next."""

FAR = 4.0
"""On a noisy machine a process is outlying only beyond so many standard deviations."""

SIDES = ("base", "head")
Group = tuple[str, str]  # stage, attention
Logs = Mapping[int, float]  # of one side: the logarithm of a time, by the number of its process


@dataclass(frozen=True, slots=True)
class Outlier:
    """A process (from 0) that counts for nothing, at one point or, without a key, at all points of a group."""

    side: str
    process: int
    off: float  # from the middle of its side, as a ratio
    group: Group
    key: Key | None = None


@dataclass(frozen=True, slots=True)
class Pair:
    """Logarithms of both sides: of a point's times, or of what its processes do to all points."""

    base: Logs
    head: Logs

    @property
    def difference(self) -> float:
        return statistics.fmean(self.head.values()) - statistics.fmean(self.base.values())

    @property
    def apart(self) -> int:
        """1 if every process of head was slower than all of base, -1 if every one was faster."""
        base, head = self.base.values(), self.head.values()
        return (min(head) > max(base)) - (max(head) < min(base))

    @property
    def squares(self) -> Squares:
        sides = (list(self.base.values()), list(self.head.values()))
        means = [statistics.fmean(side) for side in sides]
        total = sum((x - mean) ** 2 for side, mean in zip(sides, means, strict=True) for x in side)
        return Squares(total, len(self.base) + len(self.head) - 2)

    @property
    def middle(self) -> float:
        return (statistics.median(self.base.values()) + statistics.median(self.head.values())) / 2

    def near(self, limit: float) -> Pair:
        """Without the processes further from the middle of their side."""
        return Pair(_near(self.base, limit), _near(self.head, limit))

    def less(self, other: Pair) -> Pair:
        """What remains of each process that the other has too."""
        sides = zip((self.base, self.head), (other.base, other.head), strict=True)
        return Pair(*({at: x - theirs[at] for at, x in mine.items() if at in theirs} for mine, theirs in sides))


def _near(side: Logs, limit: float) -> Logs:
    """All of them if two are all, or if no majority lies together: nobody knows then which one is odd."""
    middle = statistics.median(side.values())
    near = {at: x for at, x in side.items() if abs(x - middle) <= limit}
    return near if 2 * len(near) > len(side) > 2 else side


@dataclass(frozen=True)
class PairedGroup:
    """`logs` has both sides of each point."""

    group: Group
    logs: Mapping[Key, Pair]

    @property
    def shares(self) -> bool:
        return len(self.logs) >= LEAST_SHARED

    @cached_property
    def _all_shifts(self) -> Pair:
        """What each process did to all points, from their middle: the median, which single points do not move."""
        if not self.shares:
            return Pair(*(dict.fromkeys(self._processes(side), 0.0) for side in SIDES))
        middle = {key: pair.middle for key, pair in self.logs.items()}
        sides = []
        for side in SIDES:
            of_side = [(key, getattr(pair, side)) for key, pair in self.logs.items()]
            shifts = {
                at: statistics.median(logs[at] - middle[key] for key, logs in of_side if at in logs)
                for at in self._processes(side)
            }
            sides.append(shifts)
        return Pair(*sides)

    def _processes(self, side: str) -> list[int]:
        return sorted({at for pair in self.logs.values() for at in getattr(pair, side)})

    @cached_property
    def shifts(self) -> Pair:
        """Those of the processes that count."""
        return self._all_shifts.near(OUTLYING)

    @cached_property
    def _all_rests(self) -> dict[Key, Pair]:
        """What remains of the points; where too few processes would be left, all of them count."""
        rests = {}
        for key, pair in self.logs.items():
            rest = pair.less(self.shifts)
            rests[key] = rest if min(len(rest.base), len(rest.head)) > 1 else pair.less(self._all_shifts)
        return rests

    @cached_property
    def rests(self) -> dict[Key, Pair]:
        """The same, of the processes that count at each point."""
        typical = statistics.median(math.sqrt(rest.squares.variance) for rest in self._all_rests.values())
        limit = max(OUTLYING, FAR * typical)
        return {key: rest.near(limit) for key, rest in self._all_rests.items()}

    def kept(self, key: Key) -> Pair:
        """The logarithms of the times that count at a point."""
        zero = {side: dict.fromkeys(getattr(self.rests[key], side), 0.0) for side in SIDES}
        return self.logs[key].less(Pair(**zero))

    @property
    def outliers(self) -> list[Outlier]:
        found = [Outlier(side, at, off, self.group) for side, at, off in _dropped(self._all_shifts, self.shifts)]
        for key, rest in self._all_rests.items():
            found += [Outlier(side, at, off, self.group, key) for side, at, off in _dropped(rest, self.rests[key])]
        return found

    def shared_margin(self, chance: float) -> float:
        noise = moderated(self.shifts.squares, EXPECTED_SHARED, SHARED_WEIGHT)
        return noise.margin(chance, len(self.shifts.base), len(self.shifts.head))


def _dropped(before: Pair, after: Pair) -> Sequence[tuple[str, int, float]]:
    found = []
    for side in SIDES:
        all_of, kept = getattr(before, side), getattr(after, side)
        middle = statistics.median(kept.values())
        found += [(side, at, math.expm1(x - middle)) for at, x in all_of.items() if at not in kept]
    return found
