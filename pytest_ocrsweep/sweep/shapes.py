"""Shapes databases: the most square grid of each number of crops, its sizes, and whether the reference model runs it.

Grids are landscape: rows ≤ columns. One crop is 1x1, the page without crops. A width is columns × crop side, a height
rows × crop side; the global view does not count. The table is STRICT, its key is the number of crops:
`SELECT * FROM shapes WHERE is_strip = 0 AND context_tokens < 8192`.
"""

from __future__ import annotations

import os
import re
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import ShapesError
from ..files import atomic, database
from ..files.text import printable, quoted
from ..model.geometry import CropGrid
from .grid_entry import GridEntry, most_square
from .made_for import MadeFor, SweptFor

if TYPE_CHECKING:
    from .settings import Settings

APPLICATION = 0x4F435248  # SQLite's application_id, "OCRH": `write` replaces no file without it
SCHEMA = 1  # SQLite's user_version
MOST = 1_000_000  # crops

SUPPORT = GLOBAL_VIEW, CROPS, NONE = ("global view", "crops", "none")  # how the reference model runs a grid

TABLES = """
CREATE TABLE shapes (
  crops INTEGER PRIMARY KEY CHECK (crops > 0),
  rows INTEGER NOT NULL CHECK (rows > 0),
  columns INTEGER NOT NULL CHECK (columns >= rows AND rows * columns = crops),
  width_px INTEGER NOT NULL,
  height_px INTEGER NOT NULL,
  image_tokens INTEGER NOT NULL,
  context_tokens INTEGER NOT NULL,
  vendor_support TEXT NOT NULL CHECK (vendor_support IN ('global view', 'crops', 'none')),
  is_strip INTEGER NOT NULL CHECK (is_strip IN (0, 1)),
  is_beyond_positions INTEGER NOT NULL CHECK (is_beyond_positions IN (0, 1))
) STRICT;
CREATE TABLE made_for (
  model TEXT PRIMARY KEY,
  resolution TEXT NOT NULL,
  prompt_tokens INTEGER NOT NULL,
  max_positions INTEGER NOT NULL,
  max_aspect REAL NOT NULL
) STRICT;
"""


@dataclass(frozen=True, slots=True)
class Shape:
    """A row of the table `shapes`; the fields are its columns, in their order."""

    crops: int
    rows: int
    columns: int
    width_px: int
    height_px: int
    image_tokens: int
    context_tokens: int
    vendor_support: str
    is_strip: bool  # columns / rows is above `max_aspect`
    is_beyond_positions: bool  # the context alone, without new tokens, is longer than the decoder's `max_positions`


def counts(text: str) -> range:
    """The numbers of crops that `7`, `1..1000` or `1..1000/10` (every tenth) names, both ends included.

    Raises ShapesError.
    """
    match = re.fullmatch(r"([0-9]{1,9})(?:\.\.([0-9]{1,9})(?:/([0-9]{1,9}))?)?", text)
    if match is None:
        raise ShapesError(
            f"{quoted(text)} is no range of crop counts: write FIRST..LAST or FIRST..LAST/STEP, as 1..1000/10"
        )
    first, last, step = int(match[1]), int(match[2] or match[1]), int(match[3] or 1)
    if not 1 <= first <= last <= MOST or step < 1:
        raise ShapesError(f"{quoted(text)}: crop counts go up, from 1 to at most {MOST:,}, by a step of at least 1")
    return range(first, last + 1, step)


def shapes(numbers: Iterable[int], settings: Settings, max_aspect: float) -> tuple[MadeFor, list[Shape]]:
    """The shape of each number of crops. Raises ShapesError for a resolution without crops."""
    resolution = settings.workload.resolution
    crop_side = settings.model.tiling.sides(resolution).crop_side
    if settings.model.tiling.sides(resolution).native:
        raise ShapesError(f"{settings.model.name} has a grid for each size of a page: sweep a YAML file of pages")
    if crop_side is None:
        raise ShapesError(f"resolution {resolution!r} has no crops: its pages have one shape, 1x1")
    positions = settings.model.decoder.max_positions
    about = MadeFor(settings.model.name, resolution, settings.workload.prompt_tokens, positions, max_aspect)
    rows = []
    for crops in numbers:
        grid = most_square(crops)
        work = settings.workload.on(grid)
        rows.append(
            Shape(
                crops,
                grid.rows,
                grid.columns,
                grid.columns * crop_side,
                grid.rows * crop_side,
                work.image_tokens,
                work.context_tokens,
                GLOBAL_VIEW if crops == 1 else CROPS if crops <= settings.model.most_crops else NONE,
                grid.columns > max_aspect * grid.rows,
                work.context_tokens > positions,
            )
        )
    return about, rows


def write(path: Path, about: MadeFor, rows: Iterable[Shape]) -> bool:
    """Write a database of exactly these shapes, atomically. Returns whether it replaced another one.

    Raises ShapesError if `path` is any other file, which stays as it is, and OSError.
    """
    if problem := database.too_old():
        raise ShapesError(problem)
    replaces = os.path.lexists(path)
    if replaces and database.application(path) != APPLICATION:
        raise ShapesError(f"{path} exists and is not a database of shapes: it is left as it is, choose another name")
    with closing(sqlite3.connect(":memory:")) as db:
        db.executescript(TABLES)
        db.execute(f"PRAGMA application_id = {APPLICATION}")
        db.execute(f"PRAGMA user_version = {SCHEMA}")
        _insert(db, "made_for", [about])
        _insert(db, "shapes", rows)
        db.commit()
        atomic.write_bytes(path, db.serialize())
    return replaces


def _insert(db: sqlite3.Connection, table: str, records: Iterable[MadeFor | Shape]) -> None:
    rows = [astuple(record) for record in records]
    db.executemany(f"INSERT INTO {table} VALUES ({', '.join('?' * len(rows[0]))})", rows)


def read(path: str, selection: str | None, swept_for: SweptFor) -> list[GridEntry]:
    """The entries of a database, or those that a selection such as `100..200` or `1..1000/10` chooses.

    A grid that the reference model does not run is `analytic_only`. Raises ShapesError, also for a database that was
    made for other settings than those that it is swept for.
    """
    try:
        wanted = None if selection is None else counts(selection)
        made_for, rows = _contents(path)
        made_for.require(swept_for)
        chosen = _selected(rows, wanted)
    except ShapesError as error:
        raise ShapesError(f"cannot sweep {quoted(path)}: {error}") from None
    return [_entry(shape) for shape in chosen]


def _contents(path: str) -> tuple[MadeFor, list[Shape]]:
    """What it was made for, and all shapes by crops."""
    remedy = "write it anew: ocrsweep shapes --db FILE"
    if not os.path.exists(path):
        raise ShapesError("there is no such file; to make one: ocrsweep shapes --db FILE")
    try:
        if database.application(Path(path)) != APPLICATION:
            raise ShapesError(f"it is not a database of shapes; {remedy}")
        with database.opened(Path(path), "ro") as db:
            (schema,) = db.execute("PRAGMA user_version").fetchone()
            if schema != SCHEMA:
                raise ShapesError(f"its schema is {schema}, {SCHEMA} is read here; {remedy}")
            if difference := database.trust(db, TABLES):
                raise ShapesError(f"it is damaged ({difference} in schema {SCHEMA}); {remedy}")
            (verdict,) = db.execute("PRAGMA integrity_check(1)").fetchone()
            if verdict != "ok":
                raise ShapesError(f"it is damaged ({printable(' '.join(verdict.split()))}); {remedy}")
            columns = ", ".join(Shape.__slots__)
            rows = db.execute(f"SELECT {columns} FROM shapes ORDER BY crops LIMIT {MOST + 1}").fetchall()
            made_for = db.execute(f"SELECT {', '.join(MadeFor.__slots__)} FROM made_for LIMIT 2").fetchall()
    except OSError as error:
        raise ShapesError(f"it cannot be read ({error.strerror}): check its permissions") from None
    except (sqlite3.Error, UnicodeDecodeError) as error:  # UnicodeDecodeError: SQLite's message quotes the damage
        raise ShapesError(f"it is damaged ({printable(' '.join(str(error).split()))}); {remedy}") from None
    if not rows or len(rows) > MOST:
        raise ShapesError(f"it holds {f'more than {MOST:,}' if rows else 'no'} shapes; {remedy}")
    if len(made_for) != 1:
        raise ShapesError(f"it is damaged (it does not say what it was made for); {remedy}")
    shapes = [Shape(*row) for row in rows]
    for shape in shapes:  # integrity_check skips CHECK in a database that is opened read-only
        if not 1 <= shape.rows <= shape.columns or shape.rows * shape.columns != shape.crops:
            raise ShapesError(f"it is damaged ({shape.rows}x{shape.columns} is not of {shape.crops} crops); {remedy}")
        if shape.vendor_support not in SUPPORT:
            raise ShapesError(f"it is damaged (vendor_support of {shape.crops} crops); {remedy}")
    return MadeFor(*made_for[0]), shapes


def _selected(stored: list[Shape], wanted: range | None) -> list[Shape]:
    """The stored shapes whose crops are wanted; both ends of the range must lie within the stored counts."""
    if wanted is None:
        return stored
    first, last = stored[0].crops, stored[-1].crops
    held = f"it holds {len(stored):,} counts from {first} to {last}"
    if wanted[0] < first or wanted.stop - 1 > last:
        raise ShapesError(f"{wanted[0]}..{wanted.stop - 1} goes beyond it: {held}")
    chosen = [shape for shape in stored if shape.crops in wanted]
    if not chosen:
        raise ShapesError(f"none of the counts chosen is in it: {held}")
    return chosen


def _entry(shape: Shape) -> GridEntry:
    marks = {"strip": shape.is_strip, "beyond positions": shape.is_beyond_positions}
    label = ", ".join(name for name, marked in marks.items() if marked)
    return GridEntry(CropGrid(shape.rows, shape.columns), label or None, analytic_only=shape.vendor_support == NONE)
