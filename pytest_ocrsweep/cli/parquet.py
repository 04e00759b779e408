"""`ocrsweep sweep --parquet`: counts a space of workloads that may exceed memory, and writes it chunk by chunk."""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from importlib import import_module
from itertools import product
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import ArgumentError
from ..files import atomic
from ..model.geometry import LEAST, CropGrid
from ..model.stages import STAGES
from ..sweep.catalogue import model_of
from . import flags
from .progress import watched
from .settings import PLAIN, option, override

if TYPE_CHECKING:
    import pyarrow

    from ..model.analytic import Model
    from ..model.bulk import Column, Columns
    from ..sweep.settings import Settings

MAGIC = b"PAR1"  # what a Parquet file begins with
AXES = {"rows": "rows of crops", "cols": "columns of crops", "batch": "pages at once"}
AXES |= {"prompt_tokens": "tokens of the prompt", "new_tokens": "tokens to decode"}
MOST = 1_000_000  # values an axis
RANGE = re.compile(r"([0-9]{1,18})(?:\.\.([0-9]{1,18})(?:/([0-9]{1,18}))?)?")


def add(parser: argparse.ArgumentParser) -> None:
    """Adds `--parquet` and an option for each axis."""
    group = parser.add_argument_group(
        "a space of workloads",
        "write every combination as columns of integers; VALUES is 7, 1..1000, 1..1000/10 or a list: 1,2,4..32/4",
    )
    text = "write the columns to FILE, and no table or report"
    group.add_argument("--parquet", metavar="FILE", type=flags.path, help=text)
    for name, what in AXES.items():
        default = (
            "the grids of --grids; 1 if only the other is given"
            if name in ("rows", "cols")
            else "as in the settings; one value needs no --parquet"
        )
        kind = partial(values, least=LEAST.get(name, 1))
        group.add_argument(option(name), metavar="VALUES", type=kind, help=f"{what} (default: {default})")


def values(text: str, least: int) -> list[range]:
    """For `type=`: numbers and ranges, whose ends are both included."""
    parts = []
    for part in text.split(","):
        match = RANGE.fullmatch(part.strip())
        if match is None:
            raise argparse.ArgumentTypeError(f"{part!r} is neither a number nor FIRST..LAST nor FIRST..LAST/STEP")
        first, last, step = int(match[1]), int(match[2] or match[1]), int(match[3] or 1)
        if not least <= first <= last or step < 1:
            raise argparse.ArgumentTypeError(f"{part!r}: values go up, from {least} on, by a step of at least 1")
        parts.append(range(first, last + 1, step))
    if sum(map(len, parts)) > MOST:
        raise argparse.ArgumentTypeError(f"{text!r} has more than {MOST:,} values")
    return parts


def refuse_what_does_not_go_together(options: argparse.Namespace) -> None:
    """Raises ArgumentError for axes without a file, and for options that a file of columns does not take."""
    given = {name: getattr(options, name) for name in AXES if getattr(options, name)}
    if options.parquet is None:
        for name, numbers in given.items():
            if name not in PLAIN:
                raise ArgumentError(f"{option(name)} is an axis of a space: say with --parquet FILE where to write it")
            if sum(map(len, numbers)) > 1:
                raise ArgumentError(f"{option(name)} has several values: say with --parquet FILE where to write them")
            override(options, name, numbers[0][0])
        return
    for name in ("json", "report", "device"):
        if getattr(options, name):
            raise ArgumentError(f"--parquet and --{name} exclude each other: keep one")
    if options.grids and (options.rows or options.cols):
        raise ArgumentError("--grids and --rows or --cols exclude each other: keep one")
    for module in ("numpy", "pyarrow"):
        try:
            import_module(module)
        except ImportError:
            raise ArgumentError(f"{module} is not installed: pip install 'pytest-ocrsweep[columns]'") from None


def run(options: argparse.Namespace) -> int:
    from ..model.bulk import CHUNK, chunks

    settings = flags.compose(options)
    model, axes = model_of(settings), space(options, settings)
    resolution, pages = settings.workload.resolution, settings.workload.pages
    kinds = list(
        product(options.stages or STAGES, [options.attention] if options.attention else settings.engine.attentions)
    )
    points = prod(len(next(iter(axis.values()))) for axis in axes)
    if points > MOST**2:
        raise ArgumentError(f"{points:,} points are too many for one file: at most {MOST**2:,}")
    parts = (
        part for stage, attention in kinds for part in chunks(model, stage, attention, resolution, axes, CHUNK, pages)
    )
    write(options.parquet, model, options.overrides, watched(parts, len(kinds) * -(-points // CHUNK), unit="chunks"))
    size = options.parquet.stat().st_size
    flags.show(f"{options.parquet}: {len(kinds) * points:,} points of {model.title}, {size / 1e6:,.1f} MB")
    return 0


def space(options: argparse.Namespace, settings: Settings) -> list[dict[str, Column]]:
    """The axes of the space: rows and columns, or a list of grids; then each other size."""
    import numpy as np

    def axis(parts: Sequence[Sequence[int]]) -> Column:
        return np.concatenate([np.asarray(part, np.int64) for part in parts])

    workload = settings.workload
    others = [
        {name: axis(getattr(options, name) or [[getattr(workload, name)]])}
        for name in ("batch", "prompt_tokens", "new_tokens")
    ]
    if options.rows or options.cols:
        sides = {name: axis(getattr(options, name) or [[1]]) for name in ("rows", "cols")}
        try:
            workload.on(CropGrid(*(int(side.max()) for side in sides.values())))
        except ValueError as error:
            raise ArgumentError(str(error)) from None
        return [*({name: side} for name, side in sides.items()), *others]
    prompts = others[1]["prompt_tokens"]
    for prompt in (prompts.min(), prompts.max()):  # a database of shapes is made for one
        prompted = replace(workload, prompt_tokens=int(prompt))
        grids = [point.grid for point in flags.points(options.grids, replace(settings, workload=prompted))]
    return [{"rows": axis([[g.rows for g in grids]]), "cols": axis([[g.columns for g in grids]])}, *others]


def write(path: Path, model: Model, overrides: Sequence[str], parts: Iterator[Columns]) -> None:
    """Writes each part as a row group, atomically: the file appears once it is complete."""
    from pyarrow import parquet

    _refuse_another_file(path)
    first = next(parts)
    schema = table(model, first).schema.with_metadata(metadata(model, overrides))
    names = [name for name in schema.names if name not in first or name in AXES]  # columns whose values repeat
    with (
        atomic.draft(path) as file,
        parquet.ParquetWriter(file, schema, compression="zstd", use_dictionary=names) as writer,
    ):
        writer.write_table(table(model, first).cast(schema))
        del first
        for part in parts:
            writer.write_table(table(model, part).cast(schema))


def metadata(model: Model, overrides: Sequence[str]) -> dict[str, str]:
    """What of a file no row has: the version and settings that counted it, as JSON under one key."""
    from importlib.metadata import version

    about = {"version": version("pytest-ocrsweep"), "recorded_as": model.recorded_as, "overrides": list(overrides)}
    return {"pytest_ocrsweep": json.dumps(about)}


def _refuse_another_file(path: Path) -> None:
    """Raises ArgumentError for a file that is no Parquet: it is somebody's."""
    if path.is_file() and path.stat().st_size:
        with path.open("rb") as file:
            if file.read(len(MAGIC)) != MAGIC:
                raise ArgumentError(f"--parquet {path}: there is a file that is not Parquet; give another name")


def table(model: Model, part: Columns) -> pyarrow.Table:
    """The columns, after those that name what they are of, so that rows of several files can lie in one table."""
    import numpy as np
    import pyarrow

    columns, same = part.to_arrow(), np.zeros(part.points, np.int8)
    named = {"model": model.name, "engine": model.engine.name, "precision": model.precision.name}
    named |= {"stage": part.stage, "attention": part.attention, "resolution": part.resolution}
    for place, (name, text) in enumerate(named.items()):
        columns = columns.add_column(place, name, pyarrow.DictionaryArray.from_arrays(same, [text]))
    return columns
