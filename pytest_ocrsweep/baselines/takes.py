"""What one process took at each point, for a comparison of processes that needs no recorded times."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from ..model.geometry import CropGrid
from ..model.stages import STAGES
from .attribution import Observed
from .gate import Outcome
from .point_profile import PointProfile
from .sweep_report import Report

Key = tuple[str, CropGrid, str]  # stage, grid, attention
N = TypeVar("N", int, float)


@dataclass(frozen=True, slots=True)
class Run:
    """One process: its acceptable times, and the points that it swept without one."""

    takes: Mapping[Key, Observed] = field(hash=False)
    refused: frozenset[Key] = frozenset()  # no acceptable sample: throttled, or not alone on the GPU
    untimed: frozenset[Key] = frozenset()  # counted only, or too large for the memory
    profiles: Mapping[Key, PointProfile] = field(default_factory=dict, hash=False)
    clocks: Mapping[Key, str | None] = field(default_factory=dict, hash=False)  # how it was timed: cuda-graph, host

    @classmethod
    def of(cls, report: Report) -> Run:
        takes, profiles, clocks = dict[Key, Observed](), dict[Key, PointProfile](), dict[Key, str | None]()
        refused, untimed = set(), set()
        for point in report.points:
            if point.vendor is None:
                untimed.add(point.key)
                continue
            if point.vendor.gate.outcome == Outcome.NO_SAMPLE:
                refused.add(point.key)
                continue
            # A run that updates nothing counts FLOPs on the reference model only for a point that fails.
            flops = point.analytic["tensor_flops"]
            median = point.vendor.device_ns.median
            takes[point.key] = replace(point.vendor.observed, time_ns=median, tensor_flops=flops)
            clocks[point.key] = point.vendor.clock
            if point.vendor.profile:
                profiles[point.key] = point.vendor.profile
        return cls(takes, frozenset(refused), frozenset(untimed), profiles, clocks)

    @property
    def swept(self) -> set[Key]:
        return {*self.takes, *self.refused, *self.untimed}


def seen(takes: Sequence[Observed]) -> Observed:
    """The middle of what several processes saw, field by field; what one of them does not know is unknown."""
    return Observed(
        _middle([take.time_ns for take in takes]),
        _middle([take.tensor_flops for take in takes]),
        _middle([take.kernels for take in takes]),
        _middle([take.peak_bytes for take in takes]),
        _middle([take.sm_clock_mhz for take in takes]),
        power_capped=_shared({take.power_capped for take in takes}),
    )


def _shared(values: set[bool | None]) -> bool | None:
    return values.pop() if len(values) == 1 else None


def _middle(values: Sequence[N | None]) -> N | None:
    known = [value for value in values if value is not None]
    return sorted(known)[(len(known) - 1) // 2] if known and len(known) == len(values) else None


def ordered(keys: Iterable[Key]) -> tuple[Key, ...]:
    """By stage, grid and attention."""
    stages = list(STAGES)
    return tuple(sorted(keys, key=lambda key: (stages.index(key[0]), key[1], key[2])))
