"""`ocrsweep sweep`: counts every grid, stage and attention as pytest does, without comparing them to baselines."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from itertools import product
from typing import TYPE_CHECKING, Any

from ..baselines import result
from ..model.analytic import Model
from ..model.attention import ATTENTION
from ..model.stages import STAGES
from ..report import terminal
from . import flags, parquet
from .flags import Subparsers
from .progress import say, watched

if TYPE_CHECKING:
    from ..sweep.grid_sources import GridEntry
    from ..sweep.settings import Settings

COUNTED = "COUNTED"  # the verdict without baselines

EXAMPLES = """\
examples:
  ocrsweep sweep                                                   the model's 23 grids
  ocrsweep sweep --grids 1x1,2x3 --stage decode --device h100
  ocrsweep sweep --grids shapes.sqlite:1..1000/10 --report out     every tenth shape of a database
  ocrsweep sweep --set workload.batch=8 --json > sweep.json
  ocrsweep sweep --parquet space.parquet --rows 1..30 --cols 1..30 --batch 1,2,4,8 --new-tokens 1..1000/10

`pytest suites/ --ocrsweep-analytic-only` counts the same numbers, and compares them with baselines.
"""


def add(subparsers: Subparsers) -> None:
    parser = subparsers.add_parser(
        "sweep",
        help="count every grid, stage and attention, and write the report",
        description="Count every grid, stage and attention; show them as a table or JSON, and write the report.",
        epilog=EXAMPLES,
    )
    parser.add_argument(
        "--grids",
        metavar="SOURCE",
        type=flags.given,
        help="a named set (vendor, pairs, dense), a list (1x2,2x3), a YAML file, a shapes database, or a part of one: "
        "FILE:FIRST..LAST/STEP (default: vendor)",
    )
    flags.add_stages(parser)
    flags.add_attention(parser, default=None)
    flags.add_device(parser)
    flags.add_settings(parser)
    text = "write index.html, report.md, charts/, sweep.json and sweep.sqlite there, and print no table"
    parser.add_argument("--report", metavar="DIR", type=flags.path, help=text)
    flags.add_json(parser)
    parquet.add(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    parquet.refuse_what_does_not_go_together(options)
    if options.parquet:
        return parquet.run(options)
    settings = flags.compose(options)
    points = flags.points(options.grids, settings)
    stages, attentions = options.stages or list(STAGES), [options.attention] if options.attention else list(ATTENTION)
    if options.report:
        from ..report import files

        files.ready(options.report)  # before the work, not after it
    document = swept(settings, points, stages, attentions)
    if options.report:
        say(f"writing the report to {options.report}")
        for line in files.write(document, options.report):
            print(line, file=sys.stderr if options.json else sys.stdout)
    if options.json:
        flags.print_json(document)
    elif not options.report:
        labels = {str(point.grid): point.label for point in points if point.label}
        print(*terminal.table(document["points"], labels, option="--report"), sep="\n")
    return 0


def swept(
    settings: Settings, points: Sequence[GridEntry], stages: Sequence[str], attentions: Sequence[str]
) -> dict[str, Any]:
    """The document of `sweep.json` for all these points: pytest's, but for verdicts and the git revision."""
    model = Model(settings.model)

    def rows() -> Iterator[dict[str, Any]]:
        for point, stage, attention in product(points, stages, attentions):
            work = settings.workload.on(point.grid)
            ledger = model.ledger(stage, work, attention)
            row = result.row(stage, work, attention, ledger, vendor=None)
            floor, components = result.floor(ledger, settings.device), result.components(ledger)
            yield {**row, "floor": floor, "verdict": COUNTED, "components": components}

    count = len(points) * len(stages) * len(attentions)
    environment = result.environment(settings.model, revision=None)
    found = watched(rows(), count, unit="points")
    return result.document(model.name, asdict(settings.workload), environment, found)
