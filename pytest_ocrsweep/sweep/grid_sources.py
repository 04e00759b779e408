"""Sweep sources: what follows `--ocrsweep-grids` becomes grid entries, each grid once and in the order given.

A database that `ocrsweep shapes` wrote gives all its grids, or those with the crop counts chosen:

    shapes.sqlite
    shapes.sqlite:100..200            # with 100 to 200 crops
    shapes.sqlite:1..1000/10          # every tenth: 1, 11, 21, …

A YAML file lists grids, or pages by their size; a mapping with the one key `grids` may wrap the list:

    - 2x3                               # 2 rows, 3 columns
    - grid: 13x20
      label: poster
      analytic_only: true               # never measured
    - image: [1240, 1754]               # width, height in pixels: the grid the vendor chooses at the resolution
      label: A4 at 150 dpi
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from functools import cache
from math import isqrt

from ..errors import SourceError
from ..files import near_miss
from ..files.text import quoted
from ..model.geometry import MAX_CROPS, CropGrid, Workload
from .grid_entry import GridEntry, most_square
from .made_for import SweptFor


def entries(source: str, swept_for: SweptFor) -> list[GridEntry]:
    """The entries of a named set, a list such as `1x2,2x3`, a YAML file or a shapes database. Raises SourceError.

    A grid that is named more than once becomes one entry with all its labels, and is measured unless every naming of
    it is `analytic_only`.
    """
    if source == DEFAULT and not swept_for.has_crops:
        return [GridEntry(CropGrid(1, 1))]  # all that the reference model runs then
    if source == DEFAULT and swept_for.tiling.sides(swept_for.resolution).native:
        return _each_grid_once(_of_pages(swept_for))
    if source == DEFAULT:
        return [GridEntry(grid) for grid in _cut(swept_for.most_crops)]
    if source in NAMED:
        return [GridEntry(grid) for grid in NAMED[source]()]
    if database := DATABASE.fullmatch(source):
        from . import shapes  # loads sqlite3

        return shapes.read(database["path"], database["selection"], swept_for)
    if os.path.exists(source):
        return _each_grid_once(_entries_of_file(source, swept_for))
    if re.search(r"(^|,)\s*[0-9]+\s*[xX×]", source):
        return _each_grid_once(_entries_of_list(source))
    meant = near_miss.grid(source) or near_miss.did_you_mean(source, NAMED)
    raise SourceError(f"cannot sweep {quoted(source)}: it is not {FORMS}{meant}")


def choice(source: str, model: str) -> Callable[[Workload], bool]:
    """Whether a workload's grid is one of the source's, swept for that workload. What it gives raises SourceError."""

    @cache
    def grids(resolution: str, prompt_tokens: int) -> frozenset[CropGrid]:
        return frozenset(entry.grid for entry in entries(source, SweptFor.recorded(model, resolution, prompt_tokens)))

    return lambda work: work.grid in grids(work.resolution, work.prompt_tokens)


def _entries_of_list(source: str) -> list[GridEntry]:
    try:
        return [GridEntry(CropGrid.parse(text)) for text in source.split(",")]
    except ValueError as error:
        raise SourceError(f"cannot sweep this list of grids: {error}") from None


def _entries_of_file(source: str, swept_for: SweptFor) -> list[GridEntry]:
    if not source.endswith(YAML):
        raise SourceError(f"cannot sweep {quoted(source)}: of files, only {', '.join(FILES)} are read")
    from . import grid_file  # loads yaml

    return grid_file.read(source, swept_for.grid_of)


def _each_grid_once(named: Iterable[GridEntry]) -> list[GridEntry]:
    merged: dict[CropGrid, GridEntry] = {}
    for entry in named:
        first = merged.get(entry.grid, entry)
        label = ", ".join(dict.fromkeys(filter(None, (first.label, entry.label)))) or None
        merged[entry.grid] = GridEntry(entry.grid, label, first.analytic_only and entry.analytic_only)
    return list(merged.values())


def _cut(most_crops: int) -> list[CropGrid]:
    """Every grid of at most 9 crops; of those with more, the ones that no side makes twice as long, and the strips."""
    more = (grid for grid in CropGrid.upto(most_crops) if grid.crops > MAX_CROPS)
    usual = [grid for grid in more if max(grid.rows, grid.columns) <= 2 * min(grid.rows, grid.columns)]
    strips = [CropGrid(1, most_crops), CropGrid(most_crops, 1)] if most_crops > MAX_CROPS else []
    return sorted([*CropGrid.upto(min(most_crops, MAX_CROPS)), *usual, *strips])


def _of_pages(swept_for: SweptFor) -> list[GridEntry]:
    """Grids of A4 and Letter pages at usual resolutions, upright and across: for a model with a grid for each page."""
    named = [
        GridEntry(swept_for.grid_of(*size), f"{name} at {dpi} dpi")
        for dpi in DPI
        for name, inches in PAPER.items()
        for size in _both_ways(*(round(side * dpi) for side in inches))
    ]
    return sorted(named, key=lambda entry: entry.grid)


def _both_ways(width: int, height: int) -> tuple[tuple[int, int], tuple[int, int]]:
    return (width, height), (height, width)


def _pairs() -> list[CropGrid]:
    """Every factor pair rows ≤ columns of 2 to 29 crops."""
    return [
        CropGrid(rows, crops // rows)
        for crops in range(2, 30)
        for rows in range(1, isqrt(crops) + 1)
        if crops % rows == 0
    ]


def _dense() -> list[CropGrid]:
    """The most square grid of each product to 1,000."""
    return [most_square(product) for product in range(1, 1001)]


NAMED: dict[str, Callable[[], list[CropGrid]]] = {
    "vendor": CropGrid.upto,
    "pairs": _pairs,
    "dense": _dense,
}
PAPER = {"A4": (210 / 25.4, 297 / 25.4), "Letter": (8.5, 11)}  # width and height in inches
DPI = (72, 96, 100, 150, 200, 300)
DEFAULT = "vendor"  # what a sweep has if neither an option nor the ini file names a source
YAML = (".yaml", ".yml")
DATABASES = (".sqlite", ".sqlite3", ".db")
FILES = (*YAML, *DATABASES)
DATABASE = re.compile(rf"(?P<path>.+({'|'.join(map(re.escape, DATABASES))}))(:(?P<selection>.*))?", re.DOTALL)
FORMS = f"a named set ({', '.join(NAMED)}), grids (1x2,2x3), or an existing file ({', '.join(FILES)})"
