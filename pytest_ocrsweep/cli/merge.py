"""`ocrsweep merge`: separate runs of one sweep as one, for a pytest on each node."""

from __future__ import annotations

import argparse
from pathlib import Path

from . import flags
from .flags import Subparsers

EXAMPLES = """\
examples:
  ocrsweep merge part-0 part-1 --report whole       the reports of two halves as the report of one sweep
  ocrsweep merge node1/baselines node2/baselines --baselines baselines
                                                    what two runs recorded, added to what is recorded
"""


def add(subparsers: Subparsers) -> None:
    parser = subparsers.add_parser(
        "merge",
        help="merge the reports or the recorded baselines of separate runs",
        description="Merge separate runs of one sweep; refuse, and write nothing of, runs that do not belong together.",
        epilog=EXAMPLES,
    )
    parser.add_argument("parts", metavar="PART", nargs="+", type=flags.given, help="what the runs wrote")
    into = parser.add_mutually_exclusive_group(required=True)
    text = "PARTs are reports (sweep.json, sweep.sqlite[#RUN], or a folder with one): write their report to DIR"
    into.add_argument("--report", metavar="DIR", type=flags.path, help=text)
    text = "PARTs are folders of baselines: add what they record to those in DIR"
    into.add_argument("--baselines", metavar="DIR", type=flags.path, help=text)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    from ..report import files, load, merge

    if options.report:
        report = merge.merged([(part, load.load(part)) for part in options.parts])
        files.ready(options.report)
        flags.show(*files.write(report, options.report))
        return 0
    for done in merge.record([Path(part) for part in options.parts], options.baselines):
        flags.show(f"{done.path}: {done.added} points added, {done.changed} changed, {done.same} as before")
    return 0
