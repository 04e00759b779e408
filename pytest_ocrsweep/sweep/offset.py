"""How far this machine is from the record in all points of a family, measured before the family is judged."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from ..baselines import shared
from ..baselines.counted import PointKey
from ..baselines.evidence import Baseline, expected_noise
from ..baselines.recorded_time import incomparable, usual_noise
from ..baselines.shared import ALONE, Family, Shared
from ..errors import OutOfMemory
from .timed_point import TimedPoint, Yardstick

if TYPE_CHECKING:
    from .session import Sweep


class Offsets:
    """Each family's offset on this process's device, measured once.

    It is measured at points of the family that are recorded, whether this run judges them or not; where it does, their
    first round is taken once.
    """

    def __init__(self, sweep: Sweep) -> None:
        self._sweep = sweep
        self._baselines: dict[str, dict[PointKey, Baseline]] = {}
        self._known: dict[tuple[str, Family], Shared] = {}

    def yardstick(self, stage: str, key: PointKey) -> Yardstick:
        """What the point's time is to be judged by. Raises DeviceLost."""
        stored = self._sweep.timed_of(stage, self._sweep.meter.gpu)
        if stage not in self._baselines:
            self._baselines[stage] = shared.aligned(stored)
        baselines = self._baselines[stage]
        expected = expected_noise(baselines.values(), usual_noise(stored.values()))
        if key not in stored:
            return Yardstick(expected=expected)
        where = stage, Family.of(key)
        if where not in self._known:
            self._known[where] = self._measured(stage, key, expected)
        return Yardstick(stored[key], baselines[key], expected, self._known[where])

    def _measured(self, stage: str, key: PointKey, expected: float) -> Shared:
        family = shared.of_family(self._baselines[stage], key)
        # The self-test's delay of one component is made from that point's record, and is no delay of the others.
        if len(family) < shared.LEAST or self._sweep.options.slowdown.component:
            return ALONE
        chosen = shared.spread_out(family, self._baselines[stage])
        looks = [self._looked(stage, chosen)]
        found = self._shared(stage, looks[0], expected)
        if abs(found.offset) <= max(shared.SAID, 2 * found.error):
            return found
        # A driver in an odd moment makes several points faster: what is worth a line is looked at again, twice.
        for _ in range(2):
            looks.append(self._looked(stage, chosen, anew=True))
        middle = {key: statistics.median(look[key] for look in looks if key in look) for key in looks[-1]}
        return self._shared(stage, middle, expected)

    def _shared(self, stage: str, changes: Mapping[PointKey, float], expected: float) -> Shared:
        noise = [self._baselines[stage][key].noise(expected).of_mean() for key in changes]
        return Shared.of(list(changes.values()), statistics.median(noise)) if noise else ALONE

    def _looked(self, stage: str, chosen: Iterable[PointKey], *, anew: bool = False) -> dict[PointKey, float]:
        """How much slower each point is than recorded, where that can be said."""
        changes = {key: self._change(stage, key, anew) for key in chosen}
        return {key: change for key, change in changes.items() if change is not None}

    def _change(self, stage: str, key: PointKey, anew: bool) -> float | None:
        sweep, meter = self._sweep, self._sweep.meter
        stored = self._sweep.timed_of(stage, meter.gpu)[key]
        try:
            work = key.work.cut_by(sweep.settings.model.tiling)  # a file does not say how pages are cut
            point = TimedPoint(stage, work, key.attention, sweep.page_of(work.grid), sweep.own_name)
            taken = meter.first(point, anew=anew)
        except OutOfMemory:
            return None
        if taken.first.objections or incomparable(stored, taken.clock, taken.experts, meter.environment()):
            return None
        return taken.first.quartiles[1] / self._baselines[stage][key].time_ns - 1
