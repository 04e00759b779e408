"""From a page to tokens: the crop grid, the views, and how many tokens each becomes."""

from __future__ import annotations

import re
import reprlib
from dataclasses import dataclass
from functools import lru_cache

from .symbolic import N

MAX_CROPS = 9  # DeepSeek-OCR's own limit; its successor's processor allows 32


@dataclass(frozen=True, slots=True)
class Resolution:
    """Sides in pixels of the global view and of a crop; a mode without crops has `crop_side` None."""

    base_side: int
    crop_side: int | None = None


RESOLUTIONS = {
    "gundam": Resolution(1024, 640),
    "tiny": Resolution(512),
    "small": Resolution(640),
    "base": Resolution(1024),
    "large": Resolution(1280),
    "gundam-m": Resolution(1280, 1024),
}

LEAST = {"prompt_tokens": 0, "new_tokens": 1, "batch": 1}  # of a workload

PATCH = 16
DOWNSAMPLE = 4


def queries(side: int) -> int:
    """Image tokens along one side of a view of `side` pixels."""
    return -(-(side // PATCH) // DOWNSAMPLE)


def image_tokens(sides: Resolution, rows: N, columns: N, *, crops: bool) -> N | int:
    """Tokens of a page: each row of queries ends in a newline token, a separator ends the page.

    `rows` and `columns` are numbers, or arrays of them where all pages have `crops` or none has.
    """
    q = queries(sides.base_side)
    tokens: N | int = q * (q + 1) + 1
    if crops and sides.crop_side:
        q = queries(sides.crop_side)
        tokens = tokens + (rows * q) * (columns * q + 1)
    return tokens


@dataclass(frozen=True, slots=True, order=True)
class CropGrid:
    """`rows` × `columns` crops; 1x1 means no crops, the global view alone."""

    rows: int
    columns: int

    def __post_init__(self) -> None:
        if any(type(side) is not int or side < 1 for side in (self.rows, self.columns)):
            raise ValueError(f"a crop grid needs at least 1 row and 1 column, in whole numbers, got {self}")

    def __str__(self) -> str:
        return f"{self.rows}x{self.columns}"

    @property
    def crops(self) -> int:
        """Crop views: rows × columns, or 0 for 1x1."""
        product = self.rows * self.columns
        return 0 if product == 1 else product

    @classmethod
    @lru_cache(2**16)  # few differ in thousands of points
    def parse(cls, text: str) -> CropGrid:
        """`"2x3"` → 2 rows, 3 columns. Raises ValueError with one clear line."""
        match = re.fullmatch(r"\s*([0-9]{1,6})\s*[xX×]\s*([0-9]{1,6})\s*", text)
        if match is None:
            raise ValueError(f"{reprlib.repr(text)} is not a crop grid: write ROWSxCOLUMNS, for example 2x3")
        return cls(int(match[1]), int(match[2]))

    @classmethod
    def upto(cls, crops: int = MAX_CROPS) -> list[CropGrid]:
        """Every rows × columns with at most `crops` crops, 1x1 included, sorted."""
        return sorted(cls(r, c) for r in range(1, crops + 1) for c in range(1, crops // r + 1))

    @classmethod
    def for_image(cls, width: int, height: int, crop_side: int = 640) -> CropGrid:
        """The vendor's own choice for a page of `width` × `height` pixels.

        Source: transformers `get_optimal_tiled_canvas` with DeepSeek-OCR's 2 to 9 crops: the nearest aspect
        ratio; on a tie the later (larger) grid while the page covers over half of its area.
        """
        if width < 1 or height < 1:
            raise ValueError(f"a page needs a positive size, got {width}x{height} pixels")
        if max(width, height) <= crop_side:
            return cls(1, 1)
        aspect, area = width / height, width * height
        # The vendor's order, which decides ties.
        in_order = sorted((grid for grid in cls.upto() if grid.crops), key=lambda grid: (grid.crops, grid.columns))
        errors = {grid: abs(aspect - grid.columns / grid.rows) for grid in in_order}
        least = min(errors.values())
        nearest, *larger = (grid for grid, error in errors.items() if error == least)
        filled = [grid for grid in larger if area > 0.5 * crop_side**2 * grid.crops]
        return filled[-1] if filled else nearest


@dataclass(frozen=True, slots=True)
class Workload:
    """One page image and its text: what a stage is asked to do."""

    grid: CropGrid
    prompt_tokens: int = 10
    new_tokens: int = 100
    batch: int = 1
    resolution: str = "gundam"

    def __post_init__(self) -> None:
        for name, least in LEAST.items():
            value = getattr(self, name)
            if type(value) is not int or value < least:
                raise ValueError(f"{name} must be a whole number of at least {least}, got {reprlib.repr(value)}")
        if self.resolution not in RESOLUTIONS:
            got, choices = reprlib.repr(self.resolution), ", ".join(RESOLUTIONS)
            raise ValueError(f"unknown resolution {got}: choose from {choices}")
        if self.grid.crops and self.sides.crop_side is None:
            raise ValueError(f"resolution {self.resolution!r} has no crops: use grid 1x1, got {self.grid}")

    @property
    def sides(self) -> Resolution:
        """Pixels a side of the global view and of a crop."""
        return RESOLUTIONS[self.resolution]

    @property
    def image_tokens(self) -> int:
        """Tokens of one page."""
        return image_tokens(self.sides, self.grid.rows, self.grid.columns, crops=bool(self.grid.crops))

    @property
    def context_tokens(self) -> int:
        """Image tokens and prompt tokens: what prefill runs over and decode attends to."""
        return self.image_tokens + self.prompt_tokens
