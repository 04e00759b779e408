"""What to sweep: from the words after `--ocrsweep-grids` to points, each grid once and in the order given.

A database that `ocrsweep shapes` wrote is swept whole, or by its crop counts:

    shapes.sqlite
    shapes.sqlite:100..200            # of 100 to 200 crops
    shapes.sqlite:1..1000/10          # every tenth: 1, 11, 21, …

A YAML file lists grids, or pages by their size; a mapping with the one key `grids` may wrap the list:

    - 2x3                               # 2 rows, 3 columns
    - grid: 13x20
      label: poster
      analytic_only: true               # never measured
    - image: [1240, 1754]               # width, height in pixels: the grid the vendor chooses for it
      label: A4 at 150 dpi
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from math import isqrt

from ..errors import SourceError as SourceError
from ..files.untrusted import quoted
from ..model.geometry import CropGrid


@dataclass(frozen=True, slots=True)
class Point:
    """A grid to sweep; `analytic_only` keeps it from being measured."""

    grid: CropGrid
    label: str | None = None
    analytic_only: bool = False


def points(source: str) -> list[Point]:
    """The points of a named set, of a list such as `1x2,2x3`, of a YAML file or a shapes database; raises SourceError.

    A grid named more than once is one point: it has all the labels, and is measured unless every entry says
    otherwise.
    """
    if source in NAMED:
        return [Point(grid) for grid in NAMED[source]()]
    if database := DATABASE.fullmatch(source):
        from . import shapes  # loads sqlite3

        return shapes.read(database["path"], database["selection"])
    if os.path.exists(source):
        return _merged(_file(source))
    if re.search(r"(^|,)\s*[0-9]+\s*[xX×]", source):
        return _merged(_listed(source))
    raise SourceError(f"cannot sweep {quoted(source)}: it is not {FORMS}")


def _listed(source: str) -> list[Point]:
    try:
        return [Point(CropGrid.parse(text)) for text in source.split(",")]
    except ValueError as error:
        raise SourceError(f"cannot sweep this list of grids: {error}") from None


def _file(source: str) -> list[Point]:
    if not source.endswith(YAML):
        raise SourceError(f"cannot sweep {quoted(source)}: of files, only {', '.join(FILES)} are read")
    from . import grid_file  # loads yaml

    return grid_file.read(source)


def _merged(found: Iterable[Point]) -> list[Point]:
    merged: dict[CropGrid, Point] = {}
    for point in found:
        first = merged.get(point.grid, point)
        labels = dict.fromkeys(label for label in (first.label, point.label) if label)
        merged[point.grid] = Point(point.grid, ", ".join(labels) or None, first.analytic_only and point.analytic_only)
    return list(merged.values())


def _pairs() -> list[CropGrid]:
    """Every factor pair rows ≤ columns of 2 to 29 crops."""
    return [
        CropGrid(rows, crops // rows)
        for crops in range(2, 30)
        for rows in range(1, isqrt(crops) + 1)
        if crops % rows == 0
    ]


def most_square(product: int) -> CropGrid:
    """The factor pair rows ≤ columns of `product` whose sides are nearest to one another; 1x1 is the page uncropped."""
    rows = next(r for r in range(isqrt(product), 0, -1) if product % r == 0)
    return CropGrid(rows, product // rows)


def _dense() -> list[CropGrid]:
    """The most square grid of each product to 1,000."""
    return [most_square(product) for product in range(1, 1001)]


NAMED: dict[str, Callable[[], list[CropGrid]]] = {
    "vendor": CropGrid.upto,
    "pairs": _pairs,
    "dense": _dense,
}
YAML = (".yaml", ".yml")
DATABASES = (".sqlite", ".sqlite3", ".db")
FILES = (*YAML, *DATABASES)
DATABASE = re.compile(rf"(?P<path>.+({'|'.join(map(re.escape, DATABASES))}))(:(?P<selection>.*))?", re.DOTALL)
FORMS = f"a named set ({', '.join(NAMED)}), grids (1x2,2x3), or an existing file ({', '.join(FILES)})"
