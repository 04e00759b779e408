"""From a page to tokens: the crop grid, the views, and the number of tokens of each."""

from __future__ import annotations

import reprlib
from dataclasses import dataclass, field, replace
from math import ceil, sqrt
from typing import TYPE_CHECKING

from ..errors import ConfigError
from ..files import near_miss
from .crop_grid import MAX_CROPS, CropGrid
from .native_resolution import NATIVE, Native, require_size
from .symbolic import N

__all__ = [
    "DOWNSAMPLE",
    "LEAST",
    "MAX_CROPS",
    "PATCH",
    "RESOLUTIONS",
    "TILING",
    "CropGrid",
    "Resolution",
    "Tiling",
    "Workload",
    "image_tokens",
    "queries",
]


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

    @property
    def native(self) -> Native | None:
        """The tiles of a model that reads pages at their own resolution; None for one with views."""
        return self.resolutions[self.modes[0]].native

    @property
    def smallest(self) -> CropGrid:
        """The grid of a page with the fewest image tokens, or nearly so, in the first mode."""
        if (native := self.native) is None:
            return CropGrid(1, 1)
        rows = 1 if native.makes(1, native.least_tiles) else ceil(sqrt(native.least_tiles))
        return CropGrid(rows, ceil(native.least_tiles / rows))

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
# Pages at their own resolution, of which no more is known than their tiles, as in a recorded point.
TILES = Tiling((NATIVE,), (0,), (28,), newlines=False, least_pixels=1, most_pixels=10**15)
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


@dataclass(frozen=True, slots=True)
class Workload:
    """A batch of pages with one crop grid, which may be given as "2x3", and their text.

    Each prompt of the batch holds one page, or several in a mode without crops. Its tokens are those of the model whose
    `tiling` it has, if a model has taken it up; else DeepSeek-OCR's, or in the mode `native` one for each tile. Raises
    ValueError for values that are not possible.
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
        if self.resolution == NATIVE and self.tiling is TILING:
            object.__setattr__(self, "tiling", TILES)
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
        if self.sides.native and NATIVE not in tiling.modes:
            raise ConfigError(
                f"{self.grid} is of tiles of a page at its own resolution, and the other model cuts pages into crops:",
                "lay both side by side over an image, --page page.png",
            )
        return replace(self, tiling=tiling, resolution=tiling.own(self.resolution))

    @property
    def image_tokens(self) -> int:
        """Image tokens of one prompt: of its page, or of all its pages."""
        return self.pages * image_tokens(self.sides, self.grid.rows, self.grid.columns, crops=bool(self.grid.crops))

    @property
    def context_tokens(self) -> int:
        """Image tokens plus prompt tokens: prefill runs over them, and each decode step attends to them."""
        return self.image_tokens + self.prompt_tokens
