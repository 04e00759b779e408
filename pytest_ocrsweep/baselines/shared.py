"""What all points of a family share on a machine: its offset from the record, which is said and judged by itself.

A family is the points of one stage that differ in the grid alone. Two machines of one GPU's name differ by up to 1.2 %
in all of them at once, so a point is judged by what remains of its change without the family's offset.
"""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from ..model.geometry import CropGrid, Workload
from .counted import PointKey
from .evidence import EXPECTED_NOISE, Baseline, Process
from .measurement import Environment, of_machine
from .recorded_time import RecordedTime

LEAST = 5
"""Points that tell an offset at least: fewer, and one that moved by itself would move it."""

MOST = 9
"""Points that a run measures for it at most: with 0.25 % between processes their median is good to 0.1 %."""

LIMIT = 0.013
"""A family that is slower than recorded by more fails: two machines lie 0.6 % apart (sd), a slowdown of 3 % beyond."""

SURE = 4
"""Standard errors of an offset that the limit is at least: a noisy clock's offset is no slowdown."""

SAID = 0.005
"""A smaller offset is not worth a line of the summary."""


class Family(NamedTuple):
    """The points of a stage that differ in the grid alone."""

    work: Workload  # with a grid of 1x1
    attention: str

    @classmethod
    def of(cls, key: PointKey) -> Family:
        return cls(replace(key.work, grid=CropGrid(1, 1)), key.attention)


@dataclass(frozen=True, slots=True)
class Shared:
    """How much slower than recorded a family is on this machine, a ratio, and the standard error of that."""

    offset: float = 0.0
    error: float = 0.0
    points: int = 0  # that it rests on; 0 where nothing is known

    @classmethod
    def of(cls, changes: Sequence[float], noise: float = EXPECTED_NOISE) -> Shared:
        """From the changes of a family's points against their records; nothing is known from fewer than LEAST.

        `noise` is what one of them may be off by chance, as the record tells. Their own spread tells none: where the
        longer half of the points got slower it is wide, and would excuse just that.
        """
        if len(changes) < LEAST:
            return cls()
        # Of two in the middle the smaller: half of the points that moved are no offset of the others.
        offset = min(statistics.median_low(changes), statistics.median_high(changes), key=abs)
        return cls(offset, 1.2533 * noise / math.sqrt(len(changes)), len(changes))  # of a median

    @property
    def limit(self) -> float:
        """How much slower than recorded the family may be as a whole."""
        return max(LIMIT, SURE * self.error)

    def without(self, change: float) -> float:
        """What remains of a point's change."""
        return (1 + change) / (1 + self.offset) - 1

    def takes_part(self, change: float) -> bool:
        """Whether a point fails with the whole: it moved as the others did, or by more than they may as a whole."""
        return self.offset > self.limit and change > min(self.offset / 2, self.limit)

    @property
    def of_machine(self) -> float:
        """The offset as far as a machine explains it."""
        return of_machine(self.offset, self.limit)

    @property
    def excuses(self) -> float:
        """What is taken out of a change before a point is called slower: code that made most points faster made none
        slower that stayed as it was.
        """
        return max(self.offset, self.of_machine)

    @property
    def explains(self) -> float:
        """What is taken out of a change before a point is called faster; the same the other way round."""
        return min(self.offset, self.of_machine)


ALONE = Shared()
"""Nothing is known of the other points: a change is the point's own."""


def aligned(points: Mapping[PointKey, RecordedTime]) -> dict[PointKey, Baseline]:
    """The points' baselines, each process as a middling one of those that recorded the family.

    What a machine, or a process on it, adds to all points of a family is no noise of theirs, and must not widen their
    margins.
    """
    offsets = _offsets(points)
    return {key: _without(stored, Family.of(key), offsets) for key, stored in points.items()}


def of_family(points: Iterable[PointKey], key: PointKey) -> list[PointKey]:
    """Those of the points that are of the same family."""
    family = Family.of(key)
    return [other for other in points if Family.of(other) == family]


def spread_out(keys: Collection[PointKey], baselines: Mapping[PointKey, Baseline]) -> list[PointKey]:
    """At most MOST of the points, from the shortest to the longest, evenly by rank."""
    ranked = sorted(keys, key=lambda key: baselines[key].time_ns)
    count = min(len(ranked), MOST)
    return [ranked[round(step * (len(ranked) - 1) / max(count - 1, 1))] for step in range(count)]


class _Run(NamedTuple):
    """A process that recorded points of a family, as far as the record tells."""

    family: Family
    environment: Environment
    latest: int  # 0 for the latest process of the environment, 1 for the one before


def _runs(stored: RecordedTime, family: Family) -> list[_Run]:
    """The run that each of a point's processes belongs to; counted from the end, as the oldest are not kept."""
    all_of_them = stored.environments
    return [_Run(family, each, all_of_them[index + 1 :].count(each)) for index, each in enumerate(all_of_them)]


def _ran(stored: RecordedTime, family: Family) -> Iterator[tuple[_Run, Process]]:
    return zip(_runs(stored, family), stored.baseline.processes, strict=True)


def _offsets(points: Mapping[PointKey, RecordedTime]) -> dict[_Run, float]:
    """How much slower than the family's middle each run was, where enough points tell."""
    changes: dict[_Run, list[float]] = defaultdict(list)
    for key, stored in points.items():
        middle = statistics.median(process.median_ns for process in stored.baseline.processes)
        for run, process in _ran(stored, Family.of(key)):
            changes[run].append(process.median_ns / middle - 1)
    return {run: statistics.median(each) for run, each in changes.items() if len(each) >= LEAST}


def _without(stored: RecordedTime, family: Family, offsets: Mapping[_Run, float]) -> Baseline:
    scaled = (_scaled(process, 1 / (1 + offsets.get(run, 0.0))) for run, process in _ran(stored, family))
    return replace(stored.baseline, processes=tuple(scaled))


def _scaled(process: Process, by: float) -> Process:
    times = (process.median_ns, process.q1_ns, process.q3_ns)
    median, q1, q3 = (ns * by for ns in times)
    return replace(process, median_ns=median, q1_ns=q1, q3_ns=q3)
