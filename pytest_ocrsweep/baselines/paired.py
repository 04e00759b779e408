"""Base against head, in processes that took turns on one machine: which points and which whole stages got slower.

Times are compared as logarithms. The points of a stage and attention share what their process did to all of them, and
what the code did: this shared part is judged by itself, by its own noise between processes. A point is judged by what
remains of it, by the noise of the stage's points (`process_noise`), and fails only if its whole change is beyond the
margin too: a point that stays as it was while the others got faster is no slower. Whatever the means say, nothing is
slower unless every process of head was slower than every one of base.

A process that lies OUTLYING from the others of its side counts for nothing, at a point or at all of a stage, and is
named.
"""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from .attribution import Observed
from .blame import Cause, Clocks, blame
from .paired_group import Group, Logs, Outlier, Pair, PairedGroup
from .process_noise import Noise
from .takes import Key, Run, ordered, seen

SMALLEST = 0.005
"""No margin is smaller: less is nothing that a reviewer must hear of."""

FALSE_RED = 0.002
"""The share of unchanged runs that may be red, one half by points, one half by stages as a whole. It leaves room for
points whose noise differs a little, which nobody can tell from few processes."""

LEAST_PROCESSES = 2
"""On each side; of a single one nobody knows the noise."""


@dataclass(frozen=True, slots=True)
class Change:
    """How much slower head is, as a ratio (0.03 is 3 %), and how much an unchanged one may be found to be.

    `beyond` is the part of it that the other points of the stage and attention do not share.
    """

    ratio: float
    beyond: float
    margin: float
    apart: int

    @property
    def slower(self) -> bool:
        return min(self.ratio, self.beyond) > self.margin and self.apart > 0

    @property
    def faster(self) -> bool:
        return max(self.ratio, self.beyond) < -self.margin and self.apart < 0


@dataclass(frozen=True, slots=True)
class PointChange:
    """One point; `then` and `now` are what its processes of base and head saw, in the middle."""

    key: Key
    change: Change
    then: Observed
    now: Observed
    processes: tuple[int, int]  # of base and head that count
    causes: tuple[Cause, ...] = ()  # if both sides were profiled

    def __str__(self) -> str:
        return " ".join(map(str, self.key))


@dataclass(frozen=True, slots=True)
class SharedChange:
    """What all points of a stage and attention share."""

    stage: str
    attention: str
    points: int
    change: Change

    def __str__(self) -> str:
        return f"{self.stage} {self.attention}"


@dataclass(frozen=True, slots=True)
class PairedJudgement:
    """What the pairs came to."""

    points: tuple[PointChange, ...]
    shared: tuple[SharedChange, ...]
    outliers: tuple[Outlier, ...]
    only_base: tuple[Key, ...]
    only_head: tuple[Key, ...]
    lost: tuple[Key, ...]  # base measured them, and head swept them without a time
    otherwise: tuple[Key, ...]  # timed in another way: by CUDA graphs, or from the host
    unjudged: tuple[Key, ...]  # too few acceptable processes

    @property
    def slower(self) -> list[PointChange]:
        """The worst first."""
        return sorted((each for each in self.points if each.change.slower), key=lambda each: -each.change.ratio)

    @property
    def slower_as_a_whole(self) -> list[SharedChange]:
        """The worst first."""
        return sorted((each for each in self.shared if each.change.slower), key=lambda each: -each.change.ratio)

    @property
    def red(self) -> bool:
        return bool(self.slower or self.slower_as_a_whole or self.lost)


def judge(base: Sequence[Run], head: Sequence[Run]) -> PairedJudgement:
    """The verdict on all points that both sides took LEAST_PROCESSES times."""
    swept = [{key for run in side for key in run.swept} for side in (base, head)]
    timed = [{key for run in side for key in run.takes} for side in (base, head)]
    lost = {key for key in timed[0] - timed[1] if any(key in run.untimed for run in head)}
    otherwise = {key for key in timed[0] & timed[1] if len({_clock(key, run) for run in (*base, *head)} - {None}) > 1}
    enough = [key for key in ordered(timed[0] & timed[1] - otherwise) if _enough(key, base) and _enough(key, head)]
    groups = _groups(enough, base, head)
    return PairedJudgement(
        tuple(_points(groups, base, head)),
        tuple(_shared(groups)),
        tuple(outlier for group in groups for outlier in group.outliers),
        ordered(swept[0] - swept[1]),
        ordered(swept[1] - swept[0]),
        ordered(lost),
        ordered(otherwise),
        ordered(swept[0] & swept[1] - lost - otherwise - set(enough)),
    )


def _clock(key: Key, run: Run) -> str | None:
    return run.clocks.get(key)


def _enough(key: Key, side: Sequence[Run]) -> bool:
    return sum(key in run.takes for run in side) >= LEAST_PROCESSES


def _groups(keys: Sequence[Key], base: Sequence[Run], head: Sequence[Run]) -> list[PairedGroup]:
    logs: dict[Group, dict[Key, Pair]] = defaultdict(dict)
    for key in keys:
        logs[key[0], key[2]][key] = Pair(_logs(key, base), _logs(key, head))
    return [PairedGroup(group, pairs) for group, pairs in logs.items()]


def _logs(key: Key, side: Sequence[Run]) -> dict[int, float]:
    times = {at: run.takes[key].time_ns for at, run in enumerate(side) if key in run.takes}
    return {at: math.log(ns) for at, ns in times.items() if ns}


def _shared(groups: Sequence[PairedGroup]) -> Iterator[SharedChange]:
    sharing = [group for group in groups if group.shares]
    for group in sharing:
        ratio = math.expm1(group.shifts.difference)
        margin = max(SMALLEST, group.shared_margin(FALSE_RED / 2 / len(sharing)))
        yield SharedChange(*group.group, len(group.logs), Change(ratio, ratio, margin, group.shifts.apart))


def _points(groups: Sequence[PairedGroup], base: Sequence[Run], head: Sequence[Run]) -> Iterator[PointChange]:
    chance = FALSE_RED / 2 / max(1, sum(len(group.logs) for group in groups))
    for stage in dict.fromkeys(group.group[0] for group in groups):
        of_stage = [group for group in groups if group.group[0] == stage]
        noise = Noise({key: rest.squares for group in of_stage for key, rest in group.rests.items()})
        for group in of_stage:
            for key, rest in group.rests.items():
                limit = max(SMALLEST, noise.of(key).margin(chance, len(rest.base), len(rest.head)))
                kept = group.kept(key)
                change = Change(math.expm1(kept.difference), math.expm1(rest.difference), limit, rest.apart)
                yield _point(key, change, kept, base, head)


def _point(key: Key, change: Change, kept: Pair, base: Sequence[Run], head: Sequence[Run]) -> PointChange:
    then, now = _seen(key, kept.base, base), _seen(key, kept.head, head)
    causes = _causes(key, change.margin, (then, now), base, head) if change.slower else ()
    return PointChange(key, change, then, now, (len(kept.base), len(kept.head)), tuple(causes))


def _seen(key: Key, kept: Logs, side: Sequence[Run]) -> Observed:
    middle = seen([side[at].takes[key] for at in kept])
    return replace(middle, time_ns=math.exp(statistics.fmean(kept.values())))


def _causes(
    key: Key, margin: float, seen: tuple[Observed, Observed], base: Sequence[Run], head: Sequence[Run]
) -> list[Cause]:
    then, now = (next((run.profiles[key] for run in side if key in run.profiles), None) for side in (base, head))
    clocks = Clocks(*(each.sm_clock_mhz for each in seen))
    return blame(then, now, margin, clocks) if then and now else []
