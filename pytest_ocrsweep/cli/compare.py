"""`ocrsweep compare`: what changed between two runs, baselines, models or devices, and an exit code for CI."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..errors import ArgumentError
from ..files.text import quoted
from ..report.table import aligned, cut, points, width
from . import flags
from .flags import Subparsers

if TYPE_CHECKING:
    from ..report.comparison import Change, Comparison, ComparisonKey, Side

MOVED, SAME = 1, 0
TOP = 40
FEW = 3  # points that a line names
FAIL_ON = ("change", "regression", "never")

EXAMPLES = """\
examples:
  ocrsweep compare main/sweep.json out/sweep.json             two runs
  ocrsweep compare nightly.sqlite#41 nightly.sqlite           an earlier run and the last
  ocrsweep compare baselines/deepseek-ocr out                 baselines and a run
  ocrsweep compare baselines/deepseek-ocr deepseek-ocr --set model.decoder.layers=6
  ocrsweep compare deepseek-ocr deepseek-ocr-2 --page page.png   one page on two models, side by side
  ocrsweep compare engine:transformers engine:original engine:vllm --page 2x3   on three engines
  ocrsweep compare device:h100 device:h200 --grids 1x1,2x3    floors on two devices
  ocrsweep compare out device:b200                            a run's floors, and those on another device

A counted number moved if it differs at all. A time moved if it differs by more than the gate's margin, which follows
from the noise in A. Points that only one side has are listed, and are no change. Exit codes: 0 nothing moved, 1
something moved, 2 a wrong argument or file.
"""


def add(subparsers: Subparsers) -> None:
    parser = subparsers.add_parser(
        "compare",
        help="what changed between two runs, baselines, models or devices",
        description="What changed from A to B, largest first.",
        epilog=EXAMPLES,
    )
    what = "a sweep.json, sweep.sqlite[#RUN] or report's folder; a folder of baselines; a model; or device:NAME"
    parser.add_argument("a", metavar="A", type=flags.given, help=what)
    parser.add_argument("b", metavar="B", type=flags.given, help="what to compare it with: any of these")
    text = "with --page: further models and engines"
    parser.add_argument("more", metavar="C", nargs="*", type=flags.given, help=text)
    text = "only these grids; SOURCE as in `ocrsweep sweep --help`"
    parser.add_argument("--grids", metavar="SOURCE", type=flags.given, help=text)
    parser.add_argument(
        "--fail-on",
        choices=FAIL_ON,
        default=FAIL_ON[0],
        help="exit with 1 on any change, only if work, bytes or time rise, or never (default: %(default)s)",
    )
    parser.add_argument(
        "--top", metavar="N", type=flags.whole, default=TOP, help="changes to list (default: %(default)s)"
    )
    text = (
        "one page, a grid or an image, on models or on engines (engine:NAME) side by side: tokens, work, memory, time"
    )
    parser.add_argument("--page", metavar="GRID|IMAGE", type=flags.given, help=text)
    parser.add_argument("--html", metavar="FILE", type=flags.path, help="write the comparison as a page to open")
    refused = {"model": "write the model's name as A or B"}
    flags.add_settings(parser, ("engine", "device", "batch", "prompt_tokens", "new_tokens", "resolution"), refused)
    flags.add_json(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    from . import one_page

    if options.page:
        others = {"--html": options.html, "--grids": options.grids, "--fail-on": options.fail_on != FAIL_ON[0]}
        for name in [name for name, value in others.items() if value]:
            raise ArgumentError(f"{name} does not belong to --page: leave one of them out")
        return one_page.run(options)
    if options.device is not None:
        raise ArgumentError("--device belongs to --page; else write device:NAME as A or B")
    if engine := next((side for side in (options.a, options.b) if side.startswith(one_page.ENGINE)), None):
        raise ArgumentError(f"{quoted(engine)}: engines are compared over a page; add --page GRID")
    if options.more:
        raise ArgumentError(f"{quoted(options.more[0])}: more than two sides belong to --page; compare A with B")
    from ..report.compare_sources import sides
    from ..report.comparison import compare

    found = compare(*sides(options.a, options.b, options.grids, options.overrides))
    if options.html:
        from ..report import compare_page

        compare_page.write(found, options.html)
    if options.json:
        flags.print_json(found.as_json())
    else:
        flags.show(*lines(found, options.top))
    return MOVED if found.fails(options.fail_on) else SAME


def lines(found: Comparison, top: int) -> list[str]:
    """The report for a terminal: both sides, a line for each metric, the `top` largest changes."""
    from ..report.compare_page import summary

    moved, numbers = found.moved, f"{sum(found.compared.values()):,} numbers"
    text = [_about("A", found.a), _about("B", found.b), *found.notes]
    text += [_only(side, keys) for side, keys in (("A", found.only_a), ("B", found.only_b)) if keys]
    text += ["", *aligned(summary(found)), ""]
    if moved[:top]:
        text += [*_table(moved[:top]), ""]
    if len(moved) > top:
        text.append(f"{len(moved) - top:,} smaller changes are not listed: --top={len(moved)} or --json has them")
    if not moved:
        return [*text, f"nothing moved: {numbers} were compared"]
    return [*text, f"{len(moved):,} of {numbers} moved, at {points(len({change.key for change in moved}))}"]


def _about(name: str, side: Side) -> str:
    of = ", ".join(sorted({key.workload for key in side.points}))
    return f"{name}: {side.name}, {side.about['model']}, {points(len(side.points))} of {of}"


def _only(name: str, keys: Sequence[ComparisonKey]) -> str:
    more = f" and {len(keys) - FEW:,} more" if len(keys) > FEW else ""
    return f"only {name} has {points(len(keys))}: {', '.join(map(str, keys[:FEW]))}{more}"


def _table(changes: Sequence[Change]) -> list[str]:
    from ..report.changes import percent

    own = any(change.key.own for change in changes)
    cells = [[*["own code"] * own, "stage", "grid", "attention", "metric", "A", "B", "change", "why"]]
    cells += [
        [
            *[change.key.own or "-"] * own,
            *(str(each or "-") for each in change.key[1:4]),
            change.metric,
            f"{change.old:,}",
            f"{change.new:,}",
            percent(change.ratio),
            change.why,
        ]
        for change in changes
    ]
    return cut(aligned(cells, left=(*range(len(cells[0]) - 4), -1)), width())
