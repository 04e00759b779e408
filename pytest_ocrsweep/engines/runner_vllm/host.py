"""How fast the engine's host is: what a fixed piece of Python takes on it, in nanoseconds."""

from __future__ import annotations

import time

READINGS, PAUSE_S = 20, 0.05  # when the engine has started


def speed() -> list[int]:
    """Readings over a second: a shared host is slow for seconds, but seldom all of one."""
    found = []
    for _ in range(READINGS):
        found.append(work_ns())
        time.sleep(PAUSE_S)
    return found


def work_ns() -> int:
    """What a fixed piece of Python takes on this host just now, the fastest of twenty times."""
    return min(_fixed_work_ns() for _ in range(20))


def _fixed_work_ns() -> int:
    began, made = time.perf_counter_ns(), {}
    for number in range(2000):
        made[number % 97] = (number, str(number))
    return time.perf_counter_ns() - began
