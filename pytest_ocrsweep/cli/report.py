"""`ocrsweep report`: writes the files of a report again, from its data."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

from ..files.text import quoted
from . import flags
from .flags import Subparsers
from .progress import writing

if TYPE_CHECKING:
    from ..baselines.sweep_report import Report

EXAMPLES = """\
examples:
  ocrsweep report out/sweep.json page         sweep.json, sweep.sqlite, report.md, charts/ and index.html in page/
  ocrsweep report out out                     the same folder again, after an upgrade
  ocrsweep report nightly.sqlite page         the last run of a database
  ocrsweep report nightly.sqlite#3 page       run 3 of a database
  ocrsweep report baselines/deepseek-ocr/timed/nvidia-h200 page
                                              recorded times of a GPU beside counted numbers
"""


MOST_DOLLARS = 1_000_000
SOURCE = "a sweep.json, a sweep.sqlite[#RUN], a folder with one, or the recorded times of a GPU"


def add(subparsers: Subparsers) -> None:
    parser = subparsers.add_parser(
        "report",
        help="write a report's files again, from its sweep.json or sweep.sqlite",
        description="Write all files of a report: data, database, page for pull requests, charts and index.html.",
        epilog=EXAMPLES,
    )
    parser.add_argument("source", metavar="SOURCE", type=flags.given, help=SOURCE)
    text = "folder to write to; it is created if it is missing, and its database keeps earlier runs"
    parser.add_argument("folder", metavar="DIR", type=flags.path, help=text)
    flags.refuse(parser, dict.fromkeys(flags.ALL, "a report has the settings that its data were made with"))
    text = "what an hour of the device costs in dollars: the report then says what a million pages cost"
    parser.add_argument("--price", metavar="DOLLARS", type=_price, help=text)
    parser.set_defaults(run=run)


def _price(text: str) -> float:
    value = flags.positive(text)
    if value > MOST_DOLLARS:
        raise argparse.ArgumentTypeError(f"must be at most {MOST_DOLLARS:,} dollars an hour, got {quoted(text)}")
    return value


def run(options: argparse.Namespace) -> int:
    from ..report import files

    report = _report(options.source)
    files.ready(options.folder)
    flags.show(*files.write(report, options.folder, price=options.price, watch=writing))
    return 0


def _report(source: str) -> Report:
    path = Path(source)
    if os.path.isdir(path) and path.parent.name == "timed":
        from ..report import past, recorded

        model = path.absolute().parent.parent  # for a relative path such as timed/nvidia-h200 too
        report = recorded.report(model.parent, model.name, path.name)
        return report.beside(past.histories(report, model.parent))
    from ..report import load

    return load.load(source)
