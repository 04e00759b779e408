"""`ocrsweep shapes`: writes a database of page shapes, one for each number of crops."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..files.text import command
from ..sweep import shapes
from ..sweep.shapes import CROPS, GLOBAL_VIEW
from . import flags
from .flags import Subparsers

MAX_ASPECT = 4.0  # columns to a row

EXAMPLES = """\
examples:
  ocrsweep shapes --crops 1..1000 --db shapes.sqlite
  ocrsweep shapes --crops 10..500/10 --db tens.sqlite --max-aspect 2
  sqlite3 shapes.sqlite 'SELECT crops, rows, columns, context_tokens FROM shapes WHERE NOT is_strip'
  ocrsweep sweep --grids shapes.sqlite:1..1000/10
  pytest suites/ --ocrsweep-grids shapes.sqlite:100..200

Each number of crops becomes the most square pair of rows and columns, with rows <= columns; 1 becomes 1x1, the page
without crops. The command replaces an existing database of shapes, and refuses to overwrite any other file.
"""


def add(subparsers: Subparsers) -> None:
    parser = subparsers.add_parser(
        "shapes",
        help="write a database of page shapes, to sweep or to SELECT from",
        description="Write a database of page shapes, one for each number of crops.",
        epilog=EXAMPLES,
    )
    parser.add_argument(
        "--crops",
        metavar="RANGE",
        type=_counts,
        default=_counts("1..1000"),
        help="FIRST..LAST or FIRST..LAST/STEP, both ends included (default: 1..1000)",
    )
    parser.add_argument("--db", metavar="FILE", type=_database, required=True, help="file to write: shapes.sqlite")
    parser.add_argument(
        "--max-aspect",
        metavar="RATIO",
        type=flags.positive,
        default=MAX_ASPECT,
        help="the database marks a shape with more columns to a row as a strip (default: %(default)g)",
    )
    every = "a database of shapes serves every batch, answer and device; give it to the sweep"
    refused = dict.fromkeys(("batch", "new_tokens", "device"), every)
    flags.add_settings(parser, ("model", "engine", "prompt_tokens", "resolution"), refused)
    parser.set_defaults(run=run)


def _counts(text: str) -> range:
    try:
        return shapes.counts(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _database(text: str) -> Path:
    from ..sweep.grid_sources import DATABASES

    if not text.endswith(DATABASES):
        raise argparse.ArgumentTypeError(f"its name must end with one of {', '.join(DATABASES)}, got {text!r}")
    return Path(text)


def run(options: argparse.Namespace) -> int:
    settings = flags.compose(options)
    about, found = shapes.shapes(options.crops, settings, options.max_aspect)
    verb = "replaced" if shapes.write(options.db, about, found) else "written"
    supported = sum(shape.vendor_support in (GLOBAL_VIEW, CROPS) for shape in found)
    strips, beyond = (sum(getattr(shape, mark) for shape in found) for mark in ("is_strip", "is_beyond_positions"))
    flags.show(
        f"{options.db} {verb}: {len(found):,} shapes of {found[0].crops} to {found[-1].crops} crops, rows <= columns"
    )
    flags.show(f"{supported:,} that the vendor runs; the others are counted and never measured")
    flags.show(f"{strips:,} strips, of more than {about.max_aspect:g} columns to a row")
    flags.show(f"{beyond:,} with more than the {about.max_positions:,} positions of {about.model}")
    sets = (word for text in options.overrides for word in ("--set", text))
    most = settings.engine.most_crops  # a sweep refuses shapes that the engine never cuts
    part = f":{found[0].crops}..{most}" if most is not None and found[0].crops <= most < found[-1].crops else ""
    flags.show(f"to sweep it: {command('ocrsweep', 'sweep', '--grids', f'{options.db}{part}', *sets)}")
    return 0
