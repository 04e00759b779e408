"""How fast an engine's host was around the rounds of a point, beside the fastest that the run knew then."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from .json_layout import JsonObject, Layout, positive
from .machine import SLOW_HOST, Machine


@dataclass(frozen=True, slots=True)
class HostSpeed(JsonObject):
    """What a fixed piece of work took, in ns."""

    slowest_ns: int
    fastest_ns: int

    @classmethod
    def of(cls, readings: Iterable[Machine]) -> HostSpeed | None:
        """None where no host said its speed."""
        known = [(each.host_ns, each.fastest_host_ns) for each in readings if each.host_ns and each.fastest_host_ns]
        return cls(max(ns for ns, _ in known), min(ns for _, ns in known)) if known else None

    def too_slow_for(self, fastest_ns: int) -> str | None:
        """In words, that a host that has been so fast was slow; None if it was not."""
        if self.slowest_ns <= SLOW_HOST * fastest_ns:
            return None
        return f"the host ran at {100 * fastest_ns / self.slowest_ns:.0f} % of the speed that it had later"


HOST_SPEED = Layout(HostSpeed, {"slowest_ns": positive, "fastest_ns": positive})
