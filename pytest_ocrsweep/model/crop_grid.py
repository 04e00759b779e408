"""The crop grid: rows and columns of crops, or of tiles, and the grid that a page is cut into."""

from __future__ import annotations

import re
import reprlib
from dataclasses import dataclass
from functools import cache, lru_cache

from ..files import near_miss
from .native_resolution import require_size

MAX_CROPS = 9  # DeepSeek-OCR's own limit, if a caller names no other


@dataclass(frozen=True, slots=True, order=True)
class CropGrid:
    """`rows` × `columns` crops; 1x1 stands for the global view without crops. Raises ValueError for less than 1x1."""

    rows: int
    columns: int

    def __post_init__(self) -> None:
        if any(type(side) is not int or side < 1 for side in (self.rows, self.columns)):
            raise ValueError(f"a crop grid needs at least 1 row and 1 column, in whole numbers, got {self}")

    def __str__(self) -> str:
        return f"{self.rows}x{self.columns}"

    @property
    def crops(self) -> int:
        """The number of crop views: rows × columns, but 0 for 1x1."""
        product = self.rows * self.columns
        return 0 if product == 1 else product

    @classmethod
    @lru_cache(2**16)  # thousands of points have few different grids
    def parse(cls, text: str) -> CropGrid:
        """`"2x3"` gives 2 rows and 3 columns. Raises ValueError for text that is not a grid."""
        match = re.fullmatch(r"\s*([0-9]{1,6})\s*[xX×]\s*([0-9]{1,6})\s*", text)
        if match is None:
            meant = near_miss.grid(text) or ": write ROWSxCOLUMNS, for example 2x3"
            raise ValueError(f"{reprlib.repr(text)} is not a crop grid{meant}")
        return cls(int(match[1]), int(match[2]))

    @classmethod
    def of(cls, grid: CropGrid | str) -> CropGrid:
        """A grid as it is, or from its text. Raises ValueError for anything else."""
        if isinstance(grid, cls):
            return grid
        return cls.parse(grid if isinstance(grid, str) else reprlib.repr(grid))

    @classmethod
    def upto(cls, crops: int = MAX_CROPS) -> list[CropGrid]:
        """Every rows × columns with at most `crops` crops, 1x1 included, sorted."""
        return sorted(cls(r, c) for r in range(1, crops + 1) for c in range(1, crops // r + 1))

    @classmethod
    def for_image(cls, width: int, height: int, crop_side: int = 640, most_crops: int = MAX_CROPS) -> CropGrid:
        """The grid that the reference model chooses for a page of `width` × `height` pixels.

        It takes the nearest aspect ratio among 2 to `most_crops` crops; on a tie the later, larger grid, if the page
        covers more than half of its area. Raises ValueError for a size below 1. Source: transformers
        `get_optimal_tiled_canvas`.
        """
        require_size(width, height)
        if max(width, height) <= crop_side:
            return cls(1, 1)
        aspect, area = width / height, width * height
        errors = {grid: abs(aspect - grid.columns / grid.rows) for grid in _with_crops(most_crops)}
        least = min(errors.values())
        nearest, *larger = (grid for grid, error in errors.items() if error == least)
        filled = [grid for grid in larger if area > 0.5 * crop_side**2 * grid.crops]
        return filled[-1] if filled else nearest


@cache
def _with_crops(most_crops: int) -> tuple[CropGrid, ...]:
    """Every grid of 2 to `most_crops` crops in transformers' order, which decides ties."""
    cut = (grid for grid in CropGrid.upto(most_crops) if grid.crops)
    return tuple(sorted(cut, key=lambda grid: (grid.crops, grid.columns)))
