"""Pages at their own resolution: the size in whole tiles to which a model's processor resizes a page.

Source: transformers 5.23, `smart_resize` of models/glm46v and models/paddleocr_vl (image_processing_pil_*.py).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil, floor, sqrt

from ..errors import ImageError

NATIVE = "native"  # the mode
LONGEST_STRIP = 300  # tiles for each across: a page of that aspect is one and a half tiles wide, which becomes one
MOST_ASPECT = 200  # the processors refuse a page whose longer side is more than that many times the shorter


def require_size(width: int, height: int) -> None:
    """Raises ValueError for a page without pixels."""
    if width < 1 or height < 1:
        raise ValueError(f"a page needs a positive size, got {width}x{height} pixels")


@dataclass(frozen=True, slots=True)
class Native:
    """A page becomes tiles of `tile`² pixels, with from `least_pixels` to `most_pixels` pixels in all."""

    tile: int
    least_pixels: int
    most_pixels: int
    enlarge: str  # of ENLARGE: how a page that is narrower than a tile is enlarged first

    @property
    def least_tiles(self) -> int:
        """Tiles of a page at least."""
        return ceil(self.least_pixels / self.tile**2)

    @property
    def most_tiles(self) -> int:
        """Tiles of a page at most."""
        return self.most_pixels // self.tile**2

    def makes(self, rows: int, columns: int) -> bool:
        """Whether a page may become so many tiles."""
        strip = max(rows, columns) > LONGEST_STRIP * min(rows, columns)
        return self.least_tiles <= rows * columns <= self.most_tiles and not strip

    @property
    def usual(self) -> str:
        """The grid of an A4 page at 150 dpi, rows first."""
        rows, columns = self.tiles(1240, 1754)
        return f"{rows}x{columns}"

    def tiles(self, width: int, height: int) -> tuple[int, int]:
        """Rows and columns of tiles of a page of `width` × `height` pixels. Raises ImageError for too long a strip."""
        tile, given = self.tile, f"{width}x{height}"
        height, width = ENLARGE[self.enlarge](height, width, tile)
        if max(height, width) / min(height, width) > MOST_ASPECT:
            what = f"a page's longer side is at most {MOST_ASPECT} times the shorter, got {given} pixels:"
            raise ImageError(what, "cut it into pages")
        rows, columns = round(height / tile), round(width / tile)  # halves go to even numbers, as in the processors
        pixels = rows * columns * tile**2
        if pixels > self.most_pixels:
            shrink = sqrt(height * width / self.most_pixels)
            return max(1, floor(height / shrink / tile)), max(1, floor(width / shrink / tile))
        if pixels < self.least_pixels:
            grow = sqrt(self.least_pixels / (height * width))
            return ceil(height * grow / tile), ceil(width * grow / tile)
        return rows, columns


def _together(height: int, width: int, tile: int) -> tuple[int, int]:
    """Both sides by the larger of two factors, if one is shorter than a tile. Source: glm46v."""
    if height >= tile and width >= tile:
        return height, width
    scale = max(tile / height, tile / width)
    return int(height * scale), int(width * scale)


def _in_turn(height: int, width: int, tile: int) -> tuple[int, int]:
    """First by the height, then by the width. Source: paddleocr_vl."""
    if height < tile:
        height, width = tile, round(width * tile / height)
    if width < tile:
        height, width = round(height * tile / width), tile
    return height, width


ENLARGE: dict[str, Callable[[int, int, int], tuple[int, int]]] = {"together": _together, "in_turn": _in_turn}
