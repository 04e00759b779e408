"""What a row of a simulated table must keep."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounded:
    """A world with bounds of its share of red."""

    most_red: float = 1.0
    least_red: float = 0.0

    @property
    def bound(self) -> str:
        """What its share of red must keep, in words."""
        if self.most_red < 1:
            return f"at most {self.most_red:.1%}"
        return f"at least {self.least_red:.1%}" if self.least_red else "-"

    def keeps(self, red: float) -> bool:
        """Whether a share of red is within the bounds."""
        return self.least_red <= red <= self.most_red

    def judged(self, red: float) -> str:
        """The bound, and whether it was kept."""
        return f"{self.bound}{'' if self.keeps(red) else ': NOT KEPT'}"
