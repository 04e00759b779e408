"""Shapes databases: for each number of crops the most square grid, what it makes of a page, and who can run it.

Grids lie on their side: rows ≤ columns. The count 1 is 1x1, the page without crops. Every width and height is of the
crops, columns × side by rows × side; the global view has its own. One STRICT table, keyed by the number of crops:
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

from ..errors import ShapesError as ShapesError
from ..files import atomic, untrusted
from ..model.geometry import MAX_CROPS, RESOLUTIONS, CropGrid
from .grid_sources import Point, most_square

if TYPE_CHECKING:
    from .config import Settings

APPLICATION = 0x4F435248  # SQLite's application_id, "OCRH": a file without it is somebody else's
SCHEMA = 1  # SQLite's user_version
MAGIC = b"SQLite format 3\0"
MOST = 1_000_000  # crops
STRICT_SINCE = (3, 37, 0)  # SQLite's version

SUPPORT = GLOBAL_VIEW, CROPS, NONE = ("global view", "crops", "none")  # how the vendor runs a grid

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
    """A row of the table `shapes`: the columns in their order."""

    crops: int
    rows: int
    columns: int
    width_px: int
    height_px: int
    image_tokens: int
    context_tokens: int
    vendor_support: str
    is_strip: bool  # columns / rows is above the limit
    is_beyond_positions: bool  # the context alone, new tokens not counted, has more tokens than the decoder positions


@dataclass(frozen=True, slots=True)
class MadeFor:
    """The row of the table `made_for`: what the numbers of shapes stand on."""

    model: str
    resolution: str
    prompt_tokens: int
    max_positions: int
    max_aspect: float


def counts(text: str) -> range:
    """`7`, `1..1000` or `1..1000/10`, every tenth: numbers of crops, both ends included. Raises ShapesError."""
    told = untrusted.quoted(text)
    match = re.fullmatch(r"([0-9]{1,9})(?:\.\.([0-9]{1,9})(?:/([0-9]{1,9}))?)?", text)
    if match is None:
        raise ShapesError(f"{told} is no range of crop counts: write FIRST..LAST or FIRST..LAST/STEP, as 1..1000/10")
    first, last, step = int(match[1]), int(match[2] or match[1]), int(match[3] or 1)
    if not 1 <= first <= last <= MOST or step < 1:
        raise ShapesError(f"{told}: crop counts go up, from 1 to at most {MOST:,}, by a step of at least 1")
    return range(first, last + 1, step)


def shapes(numbers: Iterable[int], settings: Settings, max_aspect: float) -> tuple[MadeFor, list[Shape]]:
    """The shape of each number of crops. Raises ShapesError for a resolution without crops."""
    resolution = settings.workload.resolution
    crop_side = RESOLUTIONS[resolution].crop_side
    if crop_side is None:
        raise ShapesError(f"resolution {resolution!r} has no crops: its pages have one shape, 1x1")
    positions = settings.model.decoder.max_positions
    about = MadeFor(settings.model.name, resolution, settings.workload.prompt_tokens, positions, max_aspect)
    found = []
    for crops in numbers:
        grid = most_square(crops)
        work = settings.workload.on(grid)
        found.append(
            Shape(
                crops,
                grid.rows,
                grid.columns,
                grid.columns * crop_side,
                grid.rows * crop_side,
                work.image_tokens,
                work.context_tokens,
                GLOBAL_VIEW if crops == 1 else CROPS if crops <= MAX_CROPS else NONE,
                grid.columns > max_aspect * grid.rows,
                work.context_tokens > positions,
            )
        )
    return about, found


def write(path: Path, about: MadeFor, found: Iterable[Shape]) -> bool:
    """Make `path` hold these shapes and no others, all at once; says whether it replaced a database of shapes.

    Raises ShapesError for a file that is none, which stays as it is, and OSError.
    """
    if sqlite3.sqlite_version_info < STRICT_SINCE:
        needed = ".".join(map(str, STRICT_SINCE[:2]))
        raise ShapesError(f"Python's SQLite is {sqlite3.sqlite_version}: {needed} or later is needed for STRICT tables")
    replaces = os.path.exists(path)
    if replaces and not _is_ours(path):
        raise ShapesError(f"{path} exists and is no database of shapes: it is left as it is, choose another name")
    with closing(sqlite3.connect(":memory:")) as database:
        database.executescript(TABLES)
        database.execute(f"PRAGMA application_id = {APPLICATION}")
        database.execute(f"PRAGMA user_version = {SCHEMA}")
        _insert(database, "made_for", [about])
        _insert(database, "shapes", found)
        database.commit()
        atomic.write_bytes(path, database.serialize())
    return replaces


def _insert(database: sqlite3.Connection, table: str, records: Iterable[MadeFor | Shape]) -> None:
    rows = [astuple(record) for record in records]
    database.executemany(f"INSERT INTO {table} VALUES ({', '.join('?' * len(rows[0]))})", rows)


def _is_ours(path: Path) -> bool:
    """By the file's header, so a file that is damaged further on is ours too."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        header = file.read(100)
    return header.startswith(MAGIC) and int.from_bytes(header[68:72], "big") == APPLICATION


def read(path: str, selection: str | None = None) -> list[Point]:
    """The points of a database, or those that a selection such as `100..200` or `1..1000/10` chooses.

    What the vendor does not run is never measured. Raises ShapesError.
    """
    try:
        wanted = None if selection is None else counts(selection)
        found = _selected(_rows(path), wanted)
    except ShapesError as error:
        raise ShapesError(f"cannot sweep {untrusted.quoted(path)}: {error}") from None
    return [_point(shape) for shape in found]


def _rows(path: str) -> list[Shape]:
    """All shapes, by crops."""
    remedy = "write it anew: ocrsweep shapes --db FILE"
    if not os.path.exists(path):
        raise ShapesError("there is no such file; to make one: ocrsweep shapes --db FILE")
    try:
        if not _is_ours(Path(path)):
            raise ShapesError(f"it is no database of shapes; {remedy}")
        with closing(sqlite3.connect(f"{Path(path).absolute().as_uri()}?mode=ro", uri=True)) as database:
            (schema,) = database.execute("PRAGMA user_version").fetchone()
            if schema != SCHEMA:
                raise ShapesError(f"its schema is {schema}, {SCHEMA} is read here; {remedy}")
            if not untrusted.has_tables(database, TABLES):
                raise ShapesError(f"it is damaged (its tables are not those of schema {SCHEMA}); {remedy}")
            (verdict,) = database.execute("PRAGMA integrity_check(1)").fetchone()
            if verdict != "ok":
                raise ShapesError(f"it is damaged ({untrusted.shown(' '.join(verdict.split()))}); {remedy}")
            columns = ", ".join(Shape.__slots__)
            rows = database.execute(f"SELECT {columns} FROM shapes ORDER BY crops").fetchall()
    except OSError as error:
        raise ShapesError(f"it cannot be read ({error.strerror}): check its permissions") from None
    except (sqlite3.Error, UnicodeDecodeError) as error:  # the latter from damage that SQLite wants to tell of
        raise ShapesError(f"it is damaged ({untrusted.shown(' '.join(str(error).split()))}); {remedy}") from None
    if not rows:
        raise ShapesError(f"it holds no shapes; {remedy}")
    found = [Shape(*row) for row in rows]
    for shape in found:  # SQLite checks no CHECK of a database that it opens to read only
        if not 1 <= shape.rows <= shape.columns or shape.rows * shape.columns != shape.crops:
            raise ShapesError(f"it is damaged ({shape.rows}x{shape.columns} is not of {shape.crops} crops); {remedy}")
        if shape.vendor_support not in SUPPORT:
            raise ShapesError(f"it is damaged (vendor_support of {shape.crops} crops); {remedy}")
    return found


def _selected(found: list[Shape], wanted: range | None) -> list[Shape]:
    """The shapes whose crops are wanted; both ends of the range must lie within what is there."""
    if wanted is None:
        return found
    first, last = found[0].crops, found[-1].crops
    held = f"it holds {len(found):,} counts from {first} to {last}"
    if wanted[0] < first or wanted.stop - 1 > last:
        raise ShapesError(f"{wanted[0]}..{wanted.stop - 1} goes beyond it: {held}")
    chosen = [shape for shape in found if shape.crops in wanted]
    if not chosen:
        raise ShapesError(f"none of the counts chosen is in it: {held}")
    return chosen


def _point(shape: Shape) -> Point:
    marks = {"strip": shape.is_strip, "beyond positions": shape.is_beyond_positions}
    label = ", ".join(name for name, marked in marks.items() if marked)
    return Point(CropGrid(shape.rows, shape.columns), label or None, analytic_only=shape.vendor_support == NONE)
