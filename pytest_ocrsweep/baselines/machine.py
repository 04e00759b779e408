"""What a machine reports of itself around samples and while they are taken, and what makes them unacceptable."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

POWER_CAP = "sw_power_cap"
"""NVML's reason for a clock below what was asked for that is no objection, but a state: see `power_cap`."""

BENIGN = frozenset({"none", "gpu_idle", "applications_clocks_setting", POWER_CAP})
"""NVML throttle reasons that do not spoil a sample: idle between calls, clocks set on purpose, the power cap."""

GRAPH_SPEED_CHANGE = 1.09
"""A driver's two speeds of CUDA graphs lie 18 to 20 % apart, readings of one within 1 %; this is halfway. On a card
under its power cap, readings of one speed were 7 % apart, as the clock was."""


SLOW_HOST = 1.25
"""A virtual machine's cores ran at half their speed for seconds, as neighbours had the other half; in quiet, a fixed
piece of work took the same within 10 %."""


@dataclass(frozen=True, slots=True)
class Machine:
    """The state of the GPU, or of an engine's host, at one moment, as it reports it; None for what it does not."""

    sm_clock_mhz: int | None = None
    power_w: float | None = None
    throttle_reasons: tuple[str, ...] | None = None
    other_processes: int | None = None
    graph_kernel_ns: int | None = None  # from one to the next of a CUDA graph's kernels that do next to nothing
    lasting_kernel_ns: int | None = None  # the same, at the speed that the driver keeps
    temperature_c: int | None = None
    max_clock_mhz: int | None = None
    power_limit_w: float | None = None
    host_ns: int | None = None  # what a fixed piece of work takes on the host
    fastest_host_ns: int | None = None  # what it took at the fastest


UNKNOWN = Machine()


def graph_speed_changed(then: float, now: float) -> bool:
    """Whether the driver ran CUDA graphs at different speeds at two readings of `graph_kernel_ns`."""
    return max(then, now) > GRAPH_SPEED_CHANGE * min(then, now)


def throttled(readings: Sequence[Machine]) -> str | None:
    """Why the GPU's clock was lower than it should be, in numbers, if any reading shows an objectionable reason."""
    known = [r for r in readings if r.throttle_reasons is not None]
    slow = [r for r in known if not BENIGN.issuperset(r.throttle_reasons or ())]
    if not slow:
        return None
    reasons = sorted({reason for r in slow for reason in r.throttle_reasons or ()} - BENIGN)
    seen = f"{', '.join(reasons)} in {len(slow)} of {len(known)} readings"
    numbers = in_numbers(slow)
    return f"throttled ({seen}: {numbers})" if numbers else f"throttled ({seen})"


def in_numbers(readings: Sequence[Machine]) -> str:
    """Mean clock and power beside their limits, and the highest temperature: "1,410 of 1,980 MHz, 87 °C"."""
    clock = _beside(mean(r.sm_clock_mhz for r in readings), readings[-1].max_clock_mhz, "MHz")
    power = _beside(mean(r.power_w for r in readings), readings[-1].power_limit_w, "W")
    hottest = max((r.temperature_c for r in readings if r.temperature_c is not None), default=None)
    return ", ".join(filter(None, [clock, power, None if hottest is None else f"{hottest} °C"]))


def _beside(value: float | None, limit: float | None, unit: str) -> str | None:
    if value is None:
        return None
    return f"{value:,.0f} {unit}" if limit is None else f"{value:,.0f} of {limit:,.0f} {unit}"


def mean(values: Iterable[float | None]) -> float | None:
    """The mean of the known values; None if none is."""
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if known else None


def contended(readings: Iterable[Machine]) -> str | None:
    """That other processes used the GPU, if any reading shows them."""
    others = max((r.other_processes or 0 for r in readings), default=0)
    return f"contention ({others} other process{'es' if others > 1 else ''} on the GPU)" if others else None


def fastest_host(host_ns: Sequence[int]) -> int | None:
    """What a fixed piece of work takes on a host at its fastest: the second fastest of all readings.

    A clock that jumps makes a single reading too fast, however far, and all others slow beside it; a host that is quiet
    gives many within 10 %. Of two readings it is the faster, as nothing tells which is wrong.
    """
    return sorted(host_ns)[1 if len(host_ns) > 2 else 0] if host_ns else None


def slow_host(readings: Iterable[Machine]) -> str | None:
    """That the host ran slower than it can, if any reading shows it."""
    slowest = max((r.host_ns / r.fastest_host_ns for r in readings if r.host_ns and r.fastest_host_ns), default=1.0)
    return f"the host ran at {100 / slowest:.0f} % of its speed" if slowest > SLOW_HOST else None


def graph_speed(before: Machine, after: Machine) -> str | None:
    """That the driver ran CUDA graphs at another speed than it keeps, or changed it between two readings."""
    for reading in (before, after):
        now, lasting = reading.graph_kernel_ns, reading.lasting_kernel_ns
        if now and lasting and now < lasting and graph_speed_changed(now, lasting):
            return f"the driver ran CUDA graphs faster than it does for good ({now} against {lasting} ns a kernel)"
    if _graph_speed_changed(before, after):
        paces = f"{before.graph_kernel_ns} -> {after.graph_kernel_ns} ns a kernel"
        return f"the driver's pace of CUDA graphs changed ({paces})"
    return None


def _graph_speed_changed(before: Machine, after: Machine) -> bool:
    """A lower clock makes kernels slower too: both the times and the cycles must have changed."""
    then, now = before.graph_kernel_ns, after.graph_kernel_ns
    if not (then and now and graph_speed_changed(then, now)):
        return False
    clocks = before.sm_clock_mhz, after.sm_clock_mhz
    return not all(clocks) or graph_speed_changed(then * (clocks[0] or 0), now * (clocks[1] or 0))
