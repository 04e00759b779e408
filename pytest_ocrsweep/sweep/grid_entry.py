"""A grid to sweep, and the most square grid of a number of crops."""

from __future__ import annotations

from dataclasses import dataclass
from math import isqrt

from ..model.geometry import CropGrid


@dataclass(frozen=True, slots=True)
class GridEntry:
    """A grid to sweep; it is not measured if it is `analytic_only`."""

    grid: CropGrid
    label: str | None = None
    analytic_only: bool = False


def most_square(product: int) -> CropGrid:
    """The factor pair rows ≤ columns of `product` whose sides are closest; 1x1 is the page without crops."""
    rows = next(r for r in range(isqrt(product), 0, -1) if product % r == 0)
    return CropGrid(rows, product // rows)
