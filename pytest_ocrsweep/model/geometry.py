"""From a page to tokens: the crop grid, the views, and the number of tokens of each."""

from __future__ import annotations

import re
import reprlib
from dataclasses import dataclass, field, replace
from functools import cache, lru_cache
from typing import TYPE_CHECKING

from ..files import near_miss
from .native_resolution import Native, require_size
from .symbolic import N

MAX_CROPS = 9  # DeepSeek-OCR's own limit, if a caller names no other


@dataclass(frozen=True, slots=True)
class Resolution:
    """Sides of the global view and of a crop, in pixels; `crop_side` is None in a mode without crops."""

    base_side: int
    crop_side: int | None = None
    newlines: bool = True  # a newline token ends each row of queries
    native: Native | None = None  # a grid of tiles of the page at its own resolution, and no view

    def grid_of(self, width: int, height: int, most_crops: int | None = None) -> CropGrid:
        """The grid that a page of `width` × `height` pixels gets in this mode; 1x1 in one without crops.

        The model's own processor, or the engine, allows at most `most_crops`. Raises ValueError for a size below 1.
        """
        if self.native:
            require_size(width, height)
            return CropGrid(*self.native.tiles(width, height))
        if not self.crop_side:
            return CropGrid(1, 1)
        return CropGrid.for_image(width, height, self.crop_side, most_crops or MAX_CROPS)


@dataclass(frozen=True, slots=True)
class Tiling:
    """A model's resolution modes by name: the sides of each mode's views, in pixels. A crop side of 0: no crops.

    A model that reads pages at their own resolution has one mode, without a view: its crops are tiles of a page, which
    it resizes to have from `least_pixels` to `most_pixels`.
    """

    modes: tuple[str, ...]
    view_sides: tuple[int, ...]
    crop_sides: tuple[int, ...]
    newlines: bool
    least_pixels: int | None = None
    most_pixels: int | None = None
    enlarge: str = "together"  # how a page narrower than a tile is enlarged
    resolutions: dict[str, Resolution] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        sides = zip(self.modes, self.view_sides, self.crop_sides, strict=False)
        modes = {name: Resolution(view, crop or None, self.newlines, self._native(crop)) for name, view, crop in sides}
        object.__setattr__(self, "resolutions", modes)

    def _native(self, tile: int) -> Native | None:
        if self.least_pixels is None or self.most_pixels is None:
            return None
        return Native(tile, self.least_pixels, self.most_pixels, self.enlarge)

    def own(self, resolution: str) -> str:
        """A mode of that name; DeepSeek-OCR's default stands for the first mode of a model without it."""
        return self.modes[0] if resolution == TILING.modes[0] and resolution not in self.modes else resolution

    def sides(self, resolution: str) -> Resolution:
        """Sides of the views in a mode. Raises ValueError, which names the modes, for another one."""
        if resolution not in self.modes:
            meant = near_miss.did_you_mean(str(resolution), self.modes)
            raise ValueError(
                f"unknown resolution {reprlib.repr(resolution)}: choose from {', '.join(self.modes)}{meant}"
            )
        return self.resolutions[resolution]


# DeepSeek-OCR's own, which a workload has until it meets another model.
TILING = Tiling(
    modes=("gundam", "tiny", "small", "base", "large", "gundam-m"),
    view_sides=(1024, 512, 640, 1024, 1280, 1280),
    crop_sides=(640, 0, 0, 0, 0, 1024),
    newlines=True,
)
RESOLUTIONS = TILING.resolutions  # every mode with views that there is, with its sides in DeepSeek-OCR

LEAST = {"prompt_tokens": 0, "new_tokens": 1, "batch": 1, "pages": 1}  # the smallest values in a workload

PATCH = 16
DOWNSAMPLE = 4


def queries(side: int) -> int:
    """Image tokens along one side of a view of `side` pixels."""
    return -(-(side // PATCH) // DOWNSAMPLE)


def image_tokens(sides: Resolution, rows: N, columns: N, *, crops: bool) -> N | int:
    """Image tokens of a page: a newline token may end each row of queries, and a separator ends the page.

    A page at its own resolution has one for each tile, and nothing else.

    `rows` and `columns` are numbers; or arrays, if all pages have `crops` or all have no crops.
    """
    if sides.native:
        tiles: N = rows * columns
        return tiles
    q, newline = queries(sides.base_side), int(sides.newlines)
    tokens: N | int = q * (q + newline) + 1
    if crops and sides.crop_side:
        q = queries(sides.crop_side)
        tokens = tokens + (rows * q) * (columns * q + newline)
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


@dataclass(frozen=True, slots=True)
class Workload:
    """A batch of pages with one crop grid, which may be given as "2x3", and their text.

    Each prompt of the batch holds one page, or several in a mode without crops. Its tokens are those of the model whose
    `tiling` it has: DeepSeek-OCR, unless a model has taken it up. Raises ValueError for values that are not possible.
    """

    grid: CropGrid
    prompt_tokens: int = 10
    new_tokens: int = 100
    batch: int = 1
    resolution: str = "gundam"
    pages: int = 1  # in each prompt
    tiling: Tiling = field(default=TILING, repr=False, compare=False, kw_only=True)

    if TYPE_CHECKING:  # what the dataclass makes takes the grid's text too

        def __init__(
            self,
            grid: CropGrid | str,
            prompt_tokens: int = 10,
            new_tokens: int = 100,
            batch: int = 1,
            resolution: str = "gundam",
            pages: int = 1,
            *,
            tiling: Tiling = TILING,
        ) -> None: ...

    def __post_init__(self) -> None:
        object.__setattr__(self, "grid", CropGrid.of(self.grid))
        for name, least in LEAST.items():
            value = getattr(self, name)
            if type(value) is not int or value < least:
                raise ValueError(f"{name} must be a whole number of at least {least}, got {reprlib.repr(value)}")
        if self.tiling.sides(self.resolution).crop_side is None and self.grid.crops:
            raise ValueError(f"resolution {self.resolution!r} has no crops: use grid 1x1, got {self.grid}")
        if self.pages > 1 and self.sides.crop_side is not None:
            modes = ", ".join(name for name, mode in self.tiling.resolutions.items() if mode.crop_side is None)
            need = f"need a mode without crops: {modes}; got" if modes else "are not counted of a model with the mode"
            raise ValueError(f"{self.pages} pages in a prompt {need} {self.resolution}")

    @property
    def sides(self) -> Resolution:
        """Sides of the global view and of a crop, in pixels."""
        return self.tiling.resolutions[self.resolution]

    def cut_by(self, tiling: Tiling) -> Workload:
        """The same pages as a model with this tiling cuts them. Raises ValueError as `Workload` does."""
        if self.tiling is tiling or self.tiling == tiling:
            return self
        return replace(self, tiling=tiling, resolution=tiling.own(self.resolution))

    @property
    def image_tokens(self) -> int:
        """Image tokens of one prompt: of its page, or of all its pages."""
        return self.pages * image_tokens(self.sides, self.grid.rows, self.grid.columns, crops=bool(self.grid.crops))

    @property
    def context_tokens(self) -> int:
        """Image tokens plus prompt tokens: prefill runs over them, and each decode step attends to them."""
        return self.image_tokens + self.prompt_tokens
