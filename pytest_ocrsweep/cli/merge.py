"""`ocrsweep merge`: separate runs of one sweep as one, their reports or what they recorded."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..errors import ArgumentError
from . import flags
from .flags import Subparsers
from .progress import writing

EXAMPLES = """\
examples:
  ocrsweep merge report-0 report-1 --report whole
  ocrsweep merge nightly.sqlite#3 report-1/sweep.json --report whole
  ocrsweep merge part-0/baselines part-1/baselines --baselines baselines

Reports belong together if they have one model, workload, dtype, weights, experts implementation and git revision, and
no point was measured twice. Baselines are added to DIR as --ocrsweep-update adds them: counted numbers that a run
changed replace the old ones, and a time is kept beside earlier ones of its point, at most five. The history of each
source joins that of DIR. If two sources contradict each other, an error names both, and nothing is written.
"""


def add(subparsers: Subparsers) -> None:
    parser = subparsers.add_parser(
        "merge",
        help="the reports or baselines of separate runs as one",
        description="Merge the reports of separate runs of one sweep, or the baselines that they recorded.",
        epilog=EXAMPLES,
    )
    text = "a sweep.json, sweep.sqlite[#RUN] or report's folder; with --baselines a folder of baselines; two or more"
    parser.add_argument("sources", metavar="SOURCE", nargs="+", type=flags.given, help=text)
    into = parser.add_mutually_exclusive_group(required=True)
    text = "merge reports, and write the files of the whole there"
    into.add_argument("--report", metavar="DIR", type=flags.path, help=text)
    text = "merge counted numbers and times, and add them to those in this folder"
    into.add_argument("--baselines", metavar="DIR", type=flags.path, help=text)
    flags.refuse(parser, dict.fromkeys(flags.ALL, "what is merged has the settings that it was made with"))
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    if len(options.sources) < 2:
        raise ArgumentError(f"merge needs two or more sources, got only {options.sources[0]}")
    lines = _report(options.sources, options.report) if options.report else _baselines(options)
    flags.show(*lines)
    return 0


def _report(sources: list[str], folder: Path) -> list[str]:
    from ..report import files, load
    from ..report.merge import Part, merge

    merged = merge([Part(source, load.load(source)) for source in sources])
    files.ready(folder)
    return files.write(merged, folder, watch=writing)


def _baselines(options: argparse.Namespace) -> list[str]:
    from ..baselines.merge import journals, merge

    sources = [Path(source) for source in options.sources]
    lines = [
        f"{done.path}: {done.added} points added, {done.changed} changed, {done.same} as before"
        + (f", {done.kept} kept beside what is recorded" if done.kept else "")
        for done in merge(sources, options.baselines)
    ]
    left = (
        f"{path} is not merged: a killed run left times there; update again in its project"
        for path in journals(sources)
    )
    return [*lines, *left]
