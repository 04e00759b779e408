"""`ocrsweep sweep`: counts every grid, stage and attention as pytest does, without comparing them to baselines."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from itertools import product
from typing import TYPE_CHECKING

from ..baselines.metrics import analytic
from ..baselines.result import EstimateResult, FloorResult, PointResult, components
from ..baselines.result_json import to_json
from ..baselines.sweep_report import Report, SweepEnvironment, SweepWorkload
from ..hardware.estimate import why_not
from ..model.geometry import CropGrid
from ..model.positions import beyond
from ..model.stages import STAGES
from ..report import table, terminal
from ..sweep.catalogue import model_of
from . import flags, parquet, screen
from .flags import Subparsers
from .progress import say, watched, writing

if TYPE_CHECKING:
    from ..sweep.grid_entry import GridEntry
    from ..sweep.settings import Settings

EXAMPLES = """\
examples:
  ocrsweep sweep                                                   the model's 23 grids
  ocrsweep sweep --grids 1x1,2x3 --stage decode --device h100
  ocrsweep sweep --grids shapes.sqlite:1..1000/10 --report out     every tenth shape of a database
  ocrsweep sweep --batch 8 --json > sweep.json
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
    flags.add_settings(parser, ("model", "engine", "device", "resolution"))
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
    if settings.device.calibration and (error := why_not(settings.device)):
        raise error
    points = flags.points(options.grids, settings)
    stages, attentions = (
        options.stages or list(STAGES),
        [options.attention] if options.attention else list(settings.engine.attentions),
    )
    if options.report:
        from ..report import files

        files.ready(options.report)  # before the work, not after it
    report = swept(settings, points, stages, attentions)
    if options.report:
        say(f"writing the report to {options.report}")
        for line in files.write(report, options.report, watch=writing):
            flags.show(line, file=sys.stderr if options.json else sys.stdout)
    if options.json:
        flags.print_json(to_json(report))
    elif not options.report:
        labels = {point.grid: point.label for point in points if point.label}
        flags.show(*terminal.table(report.points, labels, option="--report", width=table.width(), wider=screen.WIDER))
    runs = ((stage, settings.workload.on(point.grid)) for point in points for stage in stages)
    for line in beyond(settings.model, runs):
        flags.show(line, file=sys.stderr if options.json else sys.stdout)
    return 0


def swept(settings: Settings, points: Sequence[GridEntry], stages: Sequence[str], attentions: Sequence[str]) -> Report:
    """The report of all these points: pytest's, but for verdicts and the git revision."""
    model = model_of(settings)

    def counted() -> Iterator[PointResult]:
        for point, stage, attention in product(points, stages, attentions):
            work = settings.workload.on(point.grid)
            ledger = model.ledger(stage, work, attention)
            yield PointResult.of(
                stage,
                work,
                attention,
                analytic(ledger),
                FloorResult.of(ledger, settings.device),
                components=components(ledger),
                estimate=EstimateResult.of(ledger, settings.device),
            )

    count = len(points) * len(stages) * len(attentions)
    workload = SweepWorkload.of(settings.workload.on(CropGrid(1, 1)))
    environment = SweepEnvironment.of(settings.model, None)
    return Report.of(model.recorded_as, workload, environment, watched(counted(), count, unit="points"))
