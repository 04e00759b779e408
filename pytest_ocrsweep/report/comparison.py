"""Two sides of the same points, number by number: what moved, how far, and whether noise explains it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import NamedTuple

from ..baselines import evidence, gate
from ..baselines.attribution import attribute
from ..baselines.json_layout import Json
from ..baselines.metrics import exact_names
from ..baselines.own import CALL, OwnKey
from ..baselines.result import COSTS, Costs
from ..errors import ReportError
from ..model.geometry import CropGrid, Workload
from ..model.stages import STAGES
from ..sweep.session import describe
from .table import points as counted_points

EXACT = (*exact_names(), "floor_ns")
TIME = "device_ns"
METRICS = (*EXACT, TIME)
ORDER = (*STAGES, CALL)
PARTS = 3  # components that the reason of a change names
SOME = 3  # kinds of points and grids that an error names


class ComparisonKey(NamedTuple):
    """What a point, or code of a user's `own`, is found by on both sides; a call has neither grid nor attention."""

    workload: str  # as the options that give it
    stage: str
    grid: CropGrid | None
    attention: str | None
    own: str = ""

    def __str__(self) -> str:
        key = OwnKey(self.own, self.stage, self.grid, self.attention)
        return str(key) if self.own else key.point

    @classmethod
    def of(cls, work: Workload, stage: str, attention: str) -> ComparisonKey:
        return cls(describe(work), stage, work.grid, attention)


@dataclass(frozen=True, slots=True)
class SideTime:
    """A measured time: its processes, the noise to `expect` between such, and what makes it comparable."""

    baseline: evidence.Baseline
    alike: Mapping[str, str | None]  # clock, experts, dtype and weights: a time of other ones says nothing beside it
    expected: float = evidence.EXPECTED_NOISE


@dataclass(frozen=True, slots=True)
class SidePoint:
    """What one side has of a point."""

    work: Workload
    numbers: Mapping[str, int]  # of EXACT
    bound: str | None = None  # what sets floor_ns
    components: Mapping[str, Costs] = field(default_factory=dict)
    time: SideTime | None = None


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two: its `name` as it was given, what is known `about` it, and its points."""

    name: str
    about: Mapping[str, str | None]  # model, gpu, torch, …; None where unknown
    points: Mapping[ComparisonKey, SidePoint]


@dataclass(frozen=True, slots=True)
class Change:
    """A number on both sides; `ratio` 0.03 is 3 % more, None from zero; `margin` is the gate's, of times only."""

    key: ComparisonKey
    metric: str
    old: int
    new: int
    ratio: float | None
    margin: float | None = None
    moved: bool = True  # of a time: more than its margin explains
    why: str = ""

    @property
    def size(self) -> float:
        """What changes are sorted by."""
        return float("inf") if self.ratio is None else abs(self.ratio)


CHANGED = tuple(each.name for each in fields(Change) if each.name != "key")


@dataclass(frozen=True, slots=True)
class Comparison:
    """What two sides say of the points that both have; `changes` are largest first."""

    a: Side
    b: Side
    notes: list[str]  # what else is different, and what could not be compared
    compared: dict[str, int]  # points by metric
    changes: list[Change]
    only_a: list[ComparisonKey]
    only_b: list[ComparisonKey]

    @property
    def moved(self) -> list[Change]:
        """Counted numbers that differ at all, and times that differ by more than their margin."""
        return [change for change in self.changes if change.moved]

    def fails(self, on: str) -> bool:
        """Whether anything moved, or (`regression`) anything rose: more work, more bytes, more time."""
        return on != "never" and any(on == "change" or change.new > change.old for change in self.moved)

    def as_json(self) -> Json:
        """For programs: base units, and every change."""
        sides = {name: {"name": side.name, **side.about} for name, side in (("a", self.a), ("b", self.b))}
        return {
            **sides,
            "notes": self.notes,
            "compared": self.compared,
            "moved": len(self.moved),
            "changes": [
                {**_named(change.key), **{name: getattr(change, name) for name in CHANGED}} for change in self.changes
            ],
            "only_a": [_named(key) for key in self.only_a],
            "only_b": [_named(key) for key in self.only_b],
        }


def compare(a: Side, b: Side) -> Comparison:
    """What changed from `a` to `b`. Raises ReportError if they have nothing in common.

    If each side has one workload, the sides are compared even if the workloads differ; the notes name both.
    """
    notes = [f"{name} {then} -> {b.about[name]}" for name, then in a.about.items() if _differs(then, b.about.get(name))]
    given = b
    a, b, other_workload = _of_one_workload(a, b)
    both = sorted(a.points.keys() & b.points.keys(), key=_order)
    compared = dict.fromkeys(METRICS, 0)
    changes: list[Change] = []
    apart: dict[str, int] = {}  # reasons why times could not be compared
    for key in both:
        old, new = a.points[key], b.points[key]
        for metric in EXACT:
            if metric not in old.numbers or metric not in new.numbers:
                continue
            compared[metric] += 1
            if old.numbers[metric] != new.numbers[metric]:
                changes.append(_counted(key, metric, old, new))
        if old.time and new.time:
            if unlike := _unlike(old.time, new.time):
                apart[unlike] = apart.get(unlike, 0) + 1
                continue
            compared[TIME] += 1
            changes.append(_timed(key, old.time, new.time))
    if not any(compared.values()) and not apart:
        has = _has if both else _points
        raise ReportError(f"{a.name} and {b.name} have nothing in common: {has(a)}, and {has(given)}")
    notes += other_workload
    notes += [f"times cannot be compared at {counted_points(count)}: {unlike}" for unlike, count in apart.items()]
    changes.sort(key=lambda change: (-change.size, _order(change.key), METRICS.index(change.metric)))
    only_a, only_b = (sorted(x.points.keys() - y.points.keys(), key=_order) for x, y in ((a, b), (b, a)))
    return Comparison(a, b, notes, {m: n for m, n in compared.items() if n}, changes, only_a, only_b)


def _counted(key: ComparisonKey, metric: str, a: SidePoint, b: SidePoint) -> Change:
    old, new = a.numbers[metric], b.numbers[metric]
    why = parts_of(metric, a.components, b.components)
    if metric == "floor_ns" and a.bound and b.bound:
        why = f"{a.bound} bound" if a.bound == b.bound else f"{a.bound} -> {b.bound} bound"
    return Change(key, metric, old, new, new / old - 1 if old else None, why=why)


def parts_of(metric: str, a: Mapping[str, Costs], b: Mapping[str, Costs]) -> str:
    """The components that a cost changed in, most first."""
    if metric not in COSTS or not a or not b:
        return ""
    old, new = ({part: getattr(costs, metric) for part, costs in side.items()} for side in (a, b))
    by_part = {part: new.get(part, 0) - old.get(part, 0) for part in {**old, **new}}
    largest = sorted(filter(by_part.get, by_part), key=lambda part: -abs(by_part[part]))
    return ", ".join(f"{part} {by_part[part]:+,}" for part in largest[:PARTS]) + (", …" if largest[PARTS:] else "")


def _timed(key: ComparisonKey, a: SideTime, b: SideTime) -> Change:
    """Compares by the gate's rule, in both directions, with `b` as one more process beside those of `a`."""
    old, new, margin = a.baseline.time_ns, b.baseline.time_ns, gate.margin(a.baseline, a.expected)
    ratio = new / old - 1
    low, high = (a, b) if ratio > 0 else (b, a)
    apart = max(p.q3_ns for p in low.baseline.processes) < min(p.q1_ns for p in high.baseline.processes)
    moved = abs(ratio) > margin and (apart or abs(ratio) > margin * (1 + gate.BAND))
    why = attribute(a.baseline.observed, b.baseline.observed) if moved and ratio > 0 else ""
    return Change(key, TIME, round(old), round(new), ratio, margin, moved, why)


def _unlike(a: SideTime, b: SideTime) -> str:
    return ", ".join(
        f"{name} {then or 'unknown'} -> {b.alike[name] or 'unknown'}"
        for name, then in a.alike.items()
        if then != b.alike[name]
    )


def _of_one_workload(a: Side, b: Side) -> tuple[Side, Side, list[str]]:
    """Sides of one workload each, and not the same one, as if of the same; and what to say of it."""
    kinds = [{key.workload for key in side.points} for side in (a, b)]
    if kinds[0] == kinds[1] or any(len(kind) != 1 for kind in kinds):
        return a, b, []
    (old,), (new,) = kinds
    alike = {key._replace(workload=old): point for key, point in b.points.items()}
    return a, replace(b, points=alike), [f"workload {old} -> {new}"]


def _differs(then: str | None, now: str | None) -> bool:
    return then is not None and now is not None and then != now


def _has(side: Side) -> str:
    """Which numbers a side has, in short, of points that the other one has too."""
    metrics = {metric for point in side.points.values() for metric in point.numbers}
    metrics |= {TIME for point in side.points.values() if point.time}
    return f"{side.name} has {', '.join(metric for metric in METRICS if metric in metrics)}"


def _points(side: Side) -> str:
    """Which points a side has, in short, of which the other one has none."""
    keys = sorted(side.points, key=_order)
    kinds = ([key.own or str(key.grid) for key in keys], [key.stage for key in keys], [key.workload for key in keys])
    few = [list(dict.fromkeys(names)) for names in kinds]
    said = [", ".join(names[:SOME]) + f" and {len(names) - SOME} more" * (len(names) > SOME) for names in few]
    return f"{side.name} has {counted_points(len(keys))}: {'; '.join(said)}" if keys else f"{side.name} has no points"


def _named(key: ComparisonKey) -> Json:
    """`own` is null for a point."""
    grid = key.grid and str(key.grid)
    at = {"workload": key.workload, "stage": key.stage, "grid": grid, "attention": key.attention}
    return at | {"own": key.own or None}


def _order(key: ComparisonKey) -> tuple[str, str, int, CropGrid, str]:
    return key.workload, key.own, ORDER.index(key.stage), key.grid or CropGrid(1, 1), key.attention or ""
