"""A point's energy by the board's own counter, while its calls run back to back."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch

from ..baselines.energy import EnergyResult, Power, Reading, power
from ..baselines.machine import Machine, contended, throttled
from ..baselines.sampling import GLANCE_S
from ..baselines.watch import Watch
from ..errors import MeasureError
from . import gpu_state
from .clocks import Clock, ProfilerClock

POLL_S = 0.001
RAMP_S = 0.2  # of load before the window: what a counter says lags behind by up to a tenth of a second
BATCH_S = 0.1  # of calls between two looks: their wait for the device at its end must be little beside it
PATIENCE_S = 3.0  # beyond the window, for a counter that steps seldom


class Used(NamedTuple):
    """Of one call: the board's power while it ran over and over, and the time from one call to the next."""

    power: Power
    call_s: float
    calls: int

    @property
    def mj(self) -> float:
        return self.power.watts * 1000 * self.call_s


@dataclass(frozen=True, slots=True)
class EnergyMeter:
    """Reads a counter over windows of `window_s`; without one, `why` says so of every point."""

    window_s: float
    count: Callable[[], int] | None = None
    idle_w: float | None = None
    why: str | None = None

    @classmethod
    def at_rest(cls, device: torch.device, window_ms: int) -> EnergyMeter:
        """For a device that has nothing to do now, whose power at rest is read first."""
        meter = cls(window_ms / 1000)
        try:
            count = gpu_state.energy_counter(device)
            rest, _ = meter._watched(count, lambda: time.sleep(BATCH_S), 0.0)
        except MeasureError as error:
            return cls(meter.window_s, why=str(error))
        return cls(meter.window_s, count, round(rest.watts, 1))

    def of(
        self,
        clocks: Sequence[Clock],
        halves: Sequence[int],
        read: Callable[[], Machine],
        glance: Callable[[], Machine] | None = None,
    ) -> EnergyResult:
        """The energy of a whole stage, by those of its first and last step as its time is.

        It is not known where the machine was not fit: `read` around the window, and `glance` in it, say so.
        """
        if self.count is None:
            return EnergyResult(why=self.why)
        if any(isinstance(clock, ProfilerClock) for clock in clocks):
            return EnergyResult(idle_w=self.idle_w, why="no CUDA graph captures the call")
        before = read()
        try:
            with Watch(glance or Machine, GLANCE_S) as watch:
                used = [self._used(self.count, clock) for clock in clocks]
        except MeasureError as error:
            return EnergyResult(idle_w=self.idle_w, why=str(error))
        after = read()
        seen = [before, *watch.readings, after]
        if why := throttled(seen) or contended(seen):
            return EnergyResult(idle_w=self.idle_w, why=why)
        mj = sum(each.mj * half for each, half in zip(used, halves, strict=True)) / 2
        seconds = sum(each.call_s * half for each, half in zip(used, halves, strict=True)) / 2
        return EnergyResult(
            mj=round(mj, 3),
            power_w=round(mj / 1000 / seconds, 1),
            idle_w=self.idle_w,
            window_ns=round(sum(each.power.seconds for each in used) * 1e9),
            counter_steps=sum(each.power.steps for each in used),
            replays=sum(each.calls for each in used),
            temperature_c=after.temperature_c,
        )

    def _used(self, count: Callable[[], int], clock: Clock) -> Used:
        call_s = max(min(clock.batch(3)) / 1e9, 1e-6)
        calls = max(1, round(BATCH_S / call_s))
        found, batches = self._watched(count, lambda: clock.batch(calls), RAMP_S)
        inside = [(begin, end) for begin, end in batches if end > found.begin_s and begin < found.end_s]
        return Used(found, (inside[-1][1] - inside[0][0]) / (len(inside) * calls), len(inside) * calls)

    def _watched(
        self, count: Callable[[], int], work: Callable[[], object], ramp_s: float
    ) -> tuple[Power, list[tuple[float, float]]]:
        """The power while `work` is repeated, and when each of its repetitions began and ended."""
        begun = time.perf_counter()
        batches: list[tuple[float, float]] = []
        with Watch(lambda: Reading(time.perf_counter(), count()), POLL_S) as watch:
            while (found := power(watch.readings, begun + ramp_s, self.window_s)) is None:
                begin = time.perf_counter()
                work()
                batches.append((begin, time.perf_counter()))
                if batches[-1][1] - begun > ramp_s + self.window_s + PATIENCE_S:
                    raise MeasureError(f"the counter of energy did not step twice in {batches[-1][1] - begun:.1f} s")
        return found, batches
