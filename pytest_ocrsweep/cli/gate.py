"""`ocrsweep gate`: whether the working tree is slower than another revision here, without recorded times."""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import ArgumentError, OcrsweepError, ReportError
from ..files.text import printable, quoted, terminal_lines
from ..report.table import points
from . import flags
from .flags import Subparsers
from .output_file import refuse_unwritable, write

if TYPE_CHECKING:
    from ..baselines.sweep_report import Report
    from ..baselines.takes import Run
    from ..sweep.turns import Side

GREEN, RED, USAGE = 0, 1, 4  # as pytest's
SECONDS = {"s": 1, "m": 60, "h": 3600}
SUITES = "suites"

EXAMPLES = """\
examples:
  ocrsweep gate --against main
  ocrsweep gate --against origin/main -k "decode and flash" --markdown comment.md
  ocrsweep gate --against HEAD~1 --processes 5 --budget 30m suites/test_decode.py
  ocrsweep gate --against v0.1.0 -- suites --ocrsweep-grids=1x1,2x3 --ocrsweep-profile

Base is the revision, checked out in a temporary worktree; head is the working tree as it is. Both run in turns, each
in fresh processes, and are compared with each other alone. Exit codes: 0 nothing is slower, 1 a point or a stage as a
whole is slower, 4 nothing could be judged, or a wrong argument.
"""


def add(subparsers: Subparsers) -> None:
    parser = subparsers.add_parser(
        "gate",
        help="whether the working tree is slower than another revision",
        description="Time another revision and the working tree in turns on this machine, and say what got slower.",
        epilog=EXAMPLES,
    )
    parser.add_argument(
        "--against", metavar="REVISION", type=flags.given, required=True, help="a commit, branch or tag"
    )
    text = "processes of each side, two or more (default: %(default)s)"
    parser.add_argument("--processes", metavar="N", type=flags.whole, default=3, help=text)
    text = "start no pair of processes that would end later, after the second: 90s, 15m, 1h (default: 15m)"
    parser.add_argument("--budget", metavar="TIME", type=duration, default=900.0, help=text)
    parser.add_argument("-k", metavar="EXPR", type=flags.given, help="only these tests, as for pytest")
    refused = {"device": "both sides are timed on the GPU that is here"}
    flags.add_settings(parser, flags.OF_A_PAGE, refused)
    parser.add_argument("--json", metavar="FILE", type=flags.path, help="write all points there, in base units")
    parser.add_argument("--markdown", metavar="FILE", type=flags.path, help="write a short comment for a pull request")
    text = "paths and, after --, options for pytest (default: suites)"
    parser.add_argument("pytest", metavar="PYTEST", nargs="*", help=text)
    parser.set_defaults(run=run)


def duration(text: str) -> float:
    """For `type=`: 90s, 15m or 1h in seconds."""
    match = re.fullmatch(r"([0-9]{1,6}(?:\.[0-9]+)?)([smh])", text)
    if not match:
        raise argparse.ArgumentTypeError(f"must be a time such as 90s, 15m or 1h, got {quoted(text)}")
    return float(match[1]) * SECONDS[match[2]]


def run(options: argparse.Namespace) -> int:
    from ..sweep.stopping import stopped_by_signals

    try:
        with stopped_by_signals():
            return gated(options)
    except OcrsweepError as error:
        print("ocrsweep:", terminal_lines(str(error)), file=sys.stderr)
        return USAGE


def gated(options: argparse.Namespace) -> int:
    from ..baselines.paired import LEAST_PROCESSES, judge
    from ..report import paired
    from ..sweep import turns
    from ..sweep.marks import PREFIX
    from ..sweep.stopping import temporary_folder
    from ..sweep.worktree import Project

    words = pytest_words(options)
    turns.check(words)
    if options.processes < LEAST_PROCESSES:
        raise ArgumentError(f"--processes must be at least {LEAST_PROCESSES}, got {options.processes}")
    for file in filter(None, (options.json, options.markdown)):
        refuse_unwritable(file)  # now, and not after a quarter of an hour
    project = Project.at(Path.cwd())
    commit = project.commit(options.against)
    for folder in project.remove_leftovers():
        flags.show(f"removed {folder}, which a killed `ocrsweep gate` left", file=sys.stderr)
    with temporary_folder(PREFIX) as folder, project.checked_out(commit, folder / folder.name) as root:
        sides = [turns.Side.of(*each, project, folder) for each in (("base", root), ("head", project.here))]
        processes = Processes(sides, words, folder, options.processes)
        taken = turns.take_turns(processes.start, options.processes, options.budget)
    judgement = judge(taken.base, taken.head)
    if not judgement.points and not judgement.lost:
        raise ArgumentError("gate: no point has two acceptable times on both sides:", "free or cool the GPU; try again")
    about = paired.Compared(
        base=f"{printable(options.against, 40)} ({commit[:12]})",
        head=f"the working tree at {project.head[:12]}{', with changes' if project.dirty else ''}",
        revision=printable(options.against, 40),
        gpu=processes.gpu,
        processes=len(taken.base),
        wanted=options.processes,
        seconds=taken.seconds,
        short=taken.short,
    )
    flags.show(*paired.lines(judgement, about))
    if options.json:
        write(options.json, json.dumps(paired.as_json(judgement, about), indent=1) + "\n")
    if options.markdown:
        write(options.markdown, paired.markdown(judgement, about))
    return RED if judgement.red else GREEN


def pytest_words(options: argparse.Namespace) -> list[str]:
    """What pytest gets on both sides; without a path of the project, the suites."""
    words = [*options.pytest, *(f"--ocrsweep-set={each}" for each in options.overrides)]
    words += [f"--ocrsweep-config-dir={options.config_dir}"] if options.config_dir else []  # of each side
    if not any(Path(word.partition("::")[0]).exists() for word in options.pytest) and Path(SUITES).is_dir():
        words = [SUITES, *words]
    return [*words, *(["-k", options.k] if options.k else [])]


class Processes:
    """Starts them, and refuses what cannot be compared: no time at all, another model or workload."""

    def __init__(self, sides: Sequence[Side], words: Sequence[str], folder: Path, wanted: int) -> None:
        self._sides, self._words, self._folder, self._wanted = sides, words, folder, wanted
        self._first: Report | None = None

    @property
    def gpu(self) -> str:
        assert self._first is not None
        return ", ".join(sorted({str(each.gpu) for each in self._first.environment.measured}))

    def start(self, number: int, pair: int) -> Run:
        from ..baselines.takes import Run
        from ..report.load import load
        from ..sweep import turns

        side, begun = self._sides[number], time.monotonic()
        output, out = self._folder / f"{side.name}-{pair}.txt", self._folder / f"{side.name}-{pair}"
        turns.run_pytest(side, turns.arguments(self._words, self._folder, out), output)
        try:
            report = load(out / "sweep.json")
        except ReportError:
            raise side.failed("pytest wrote no report", output) from None
        run, own = Run.of(report), sum(each.measured is not None for each in report.own)
        left_out = f"{own} of your own code left out" if own else ""
        if not run.takes and not run.refused:
            raise side.failed(", ".join(filter(None, ["no point has a time", left_out])), output)
        self._first = self._first or report
        self._refuse_other(report, side)
        what = f"{side.name} {pair + 1} of {self._wanted}: {points(len(run.takes))} in {time.monotonic() - begun:.0f} s"
        refused = f", {len(run.refused)} without an acceptable sample" if run.refused else ""
        flags.show(", ".join(filter(None, [f"{what}{refused}", left_out])), file=sys.stderr)
        return run

    def _refuse_other(self, report: Report, side: Side) -> None:
        assert self._first is not None
        for name in ("model", "workload"):
            old, new = getattr(self._first, name), getattr(report, name)
            if old != new:
                what = f"gate: base has {name} {printable(str(old))}, {side.name} has {printable(str(new))}:"
                raise ArgumentError(what, "give both the same with --set")
