"""From a page to tokens: the crop grid, the views, and the number of tokens of each."""

from __future__ import annotations

import re
import reprlib
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from ..files import near_miss
from .symbolic import N

MAX_CROPS = 9  # DeepSeek-OCR's own limit; its successor's processor allows 32


@dataclass(frozen=True, slots=True)
class Resolution:
    """Sides of the global view and of a crop, in pixels; `crop_side` is None in a mode without crops."""

    base_side: int
    crop_side: int | None = None

    def grid_of(self, width: int, height: int, most_crops: int | None = None) -> CropGrid:
        """The grid that a page of `width` × `height` pixels gets in this mode; 1x1 in one without crops.

        An engine may allow fewer crops, at `most_crops`, than the model's own processor.
        """
        if not self.crop_side:
            return CropGrid(1, 1)
        return CropGrid.for_image(width, height, self.crop_side, most_crops or MAX_CROPS)


RESOLUTIONS = {
    "gundam": Resolution(1024, 640),
    "tiny": Resolution(512),
    "small": Resolution(640),
    "base": Resolution(1024),
    "large": Resolution(1280),
    "gundam-m": Resolution(1280, 1024),
}

LEAST = {"prompt_tokens": 0, "new_tokens": 1, "batch": 1}  # the smallest values in a workload

PATCH = 16
DOWNSAMPLE = 4


def queries(side: int) -> int:
    """Image tokens along one side of a view of `side` pixels."""
    return -(-(side // PATCH) // DOWNSAMPLE)


def image_tokens(sides: Resolution, rows: N, columns: N, *, crops: bool) -> N | int:
    """Image tokens of a page: a newline token ends each row of queries, and a separator ends the page.

    `rows` and `columns` are numbers; or arrays, if all pages have `crops` or all have no crops.
    """
    q = queries(sides.base_side)
    tokens: N | int = q * (q + 1) + 1
    if crops and sides.crop_side:
        q = queries(sides.crop_side)
        tokens = tokens + (rows * q) * (columns * q + 1)
    return tokens


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
        if width < 1 or height < 1:
            raise ValueError(f"a page needs a positive size, got {width}x{height} pixels")
        if max(width, height) <= crop_side:
            return cls(1, 1)
        aspect, area = width / height, width * height
        # transformers' order, which decides ties
        in_order = sorted(
            (grid for grid in cls.upto(most_crops) if grid.crops), key=lambda grid: (grid.crops, grid.columns)
        )
        errors = {grid: abs(aspect - grid.columns / grid.rows) for grid in in_order}
        least = min(errors.values())
        nearest, *larger = (grid for grid, error in errors.items() if error == least)
        filled = [grid for grid in larger if area > 0.5 * crop_side**2 * grid.crops]
        return filled[-1] if filled else nearest


@dataclass(frozen=True, slots=True)
class Workload:
    """A batch of pages with one crop grid, which may be given as "2x3", and their text.

    Raises ValueError for values that are not possible.
    """

    grid: CropGrid
    prompt_tokens: int = 10
    new_tokens: int = 100
    batch: int = 1
    resolution: str = "gundam"

    if TYPE_CHECKING:  # what the dataclass makes takes the grid's text too

        def __init__(
            self,
            grid: CropGrid | str,
            prompt_tokens: int = 10,
            new_tokens: int = 100,
            batch: int = 1,
            resolution: str = "gundam",
        ) -> None: ...

    def __post_init__(self) -> None:
        object.__setattr__(self, "grid", CropGrid.of(self.grid))
        for name, least in LEAST.items():
            value = getattr(self, name)
            if type(value) is not int or value < least:
                raise ValueError(f"{name} must be a whole number of at least {least}, got {reprlib.repr(value)}")
        if self.resolution not in RESOLUTIONS:
            got, choices = reprlib.repr(self.resolution), ", ".join(RESOLUTIONS)
            meant = near_miss.did_you_mean(str(self.resolution), RESOLUTIONS)
            raise ValueError(f"unknown resolution {got}: choose from {choices}{meant}")
        if self.grid.crops and self.sides.crop_side is None:
            raise ValueError(f"resolution {self.resolution!r} has no crops: use grid 1x1, got {self.grid}")

    @property
    def sides(self) -> Resolution:
        """Sides of the global view and of a crop, in pixels."""
        return RESOLUTIONS[self.resolution]

    @property
    def image_tokens(self) -> int:
        """Image tokens of one page."""
        return image_tokens(self.sides, self.grid.rows, self.grid.columns, crops=bool(self.grid.crops))

    @property
    def context_tokens(self) -> int:
        """Image tokens plus prompt tokens: prefill runs over them, and each decode step attends to them."""
        return self.image_tokens + self.prompt_tokens
