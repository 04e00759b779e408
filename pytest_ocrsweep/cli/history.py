"""`ocrsweep history`: recorded times over months, their drift, and the command that accepts it."""

from __future__ import annotations

import argparse
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..baselines.own import CALL, FOLDER, checked_name
from ..errors import ArgumentError
from ..files.near_miss import did_you_mean
from ..files.text import printable, quoted
from ..model.attention import ATTENTION
from ..model.stages import STAGES
from ..report.table import aligned
from ..sweep.baseline_folder import of_project
from ..sweep.search_path import shown
from . import flags, screen
from .flags import Subparsers

if TYPE_CHECKING:
    from ..baselines.counted import PointKey
    from ..report.past import Past, PointHistory
    from ..report.recorded import Source

ACCEPT = "accept"
IMPORTANT = ("batch", "latest ms", "anchor ms", "since", "of")  # columns of all points
HOST, REVISION, CARD = 12, 9, 8  # characters of a name that a line of 80 has room for

EXAMPLES = """\
examples:
  ocrsweep history                                  every recorded point: its anchor, its latest times, its drift
  ocrsweep history decode 2x3                       one point: a line a process, and where it moved
  ocrsweep history decode 2x3 --attention eager --gpu nvidia-h200 --json
  ocrsweep history accept decode 2x3 flash          make the point's latest times its anchor

The anchor is a point's first accepted processes. A point has drifted if its time is away from the anchor's by more than
the gate's margin. "moved" in the last column marks the first of three processes in a row that all lie on one side of
the level before them, by more than its margin; that level is the one of the first five processes since the last such
place.
"""


def add(subparsers: Subparsers) -> None:
    parser = subparsers.add_parser(
        "history",
        help="a recorded time over months, and its drift",
        description="Recorded times over months: all points in short, or one point process by process.",
        epilog=EXAMPLES,
    )
    text = "STAGE GRID, such as decode 2x3; or accept STAGE GRID ATTENTION; nothing for all points"
    parser.add_argument("words", metavar="WORD", nargs="*", type=flags.given, help=text)
    flags.add_attention(parser)
    text = "a folder of recorded times, such as nvidia-h200 (default: the only one)"
    parser.add_argument("--gpu", metavar="NAME", type=flags.given, help=text)
    text = "times of code of your own, by the name that a test gave it; a call is the stage call, without a grid"
    parser.add_argument("--own", metavar="NAME", type=flags.given, help=text)
    text = "the folder of the baselines (default: that of the project, else the package's)"
    parser.add_argument("--baselines", metavar="DIR", type=flags.path, help=text)
    refused = {"device": "--gpu names the folder of the times that were recorded on a GPU"}
    flags.add_settings(parser, flags.OF_A_PAGE, refused)
    flags.add_json(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    words: list[str] = options.words
    if not words:
        return _all(options)
    accepts = words[0] == ACCEPT
    stage, key = _point(options, words[1:] if accepts else words, named=accepts)
    source = _source(options)
    return _accept(source, stage, key) if accepts else _one(options, source, stage, key)


def _point(options: argparse.Namespace, words: Sequence[str], *, named: bool) -> tuple[str, PointKey]:
    """The stage and key that the words name; an acceptance names the attention too. Raises ArgumentError."""
    from ..baselines.counted import PointKey
    from ..baselines.point_key import call_key

    if options.own and list(words) == [CALL]:
        return CALL, call_key(flags.workload("1x1", flags.compose(options)))
    if options.own and list(words[:1]) == [CALL]:
        raise ArgumentError(f"the stage {CALL} has no grid and no attention, got {quoted(' '.join(options.words))}")
    wanted = f"{ACCEPT} STAGE GRID ATTENTION" if named else "STAGE GRID"
    if len(words) != (3 if named else 2):
        raise ArgumentError(f"history takes {wanted}, got {quoted(' '.join(options.words))}")
    stage, grid, attention = words if named else (*words, options.attention)
    if stage not in STAGES:
        raise ArgumentError(f"the stage must be one of {_of(STAGES, stage)}")
    if attention not in ATTENTION:
        raise ArgumentError(f"the attention must be one of {_of(ATTENTION, attention)}")
    return stage, PointKey(flags.workload(grid, flags.compose(options)), attention)


def _of(known: Collection[str], word: str) -> str:
    return f"{', '.join(known)}, got {quoted(word)}{did_you_mean(word, known)}"


def _source(options: argparse.Namespace) -> Source:
    """The recorded times that are meant. Raises ArgumentError."""
    from ..baselines.timed import gpu_folders
    from ..report.recorded import Source

    model = flags.compose(options).model.name
    model = f"{model}/{FOLDER}/{checked_name(options.own)}" if options.own else model
    baselines, read_only = _folder(options)
    known = gpu_folders(baselines, model)
    if not known:
        raise ArgumentError(f"no times of {model} are recorded in {baselines}; --baselines gives the folder")
    if read_only and options.words[:1] == [ACCEPT]:
        raise ArgumentError(
            f"history {ACCEPT}: the project has no baselines of its own, and the package's are only read:",
            "record your own: pytest --ocrsweep-update",
        )
    gpu = options.gpu or known[0]
    if options.gpu is None and len(known) > 1:
        raise ArgumentError(f"times of several GPUs are recorded: give --gpu with one of {', '.join(known)}")
    if gpu not in known:
        raise ArgumentError(f"--gpu must be one of {_of(known, gpu)}")
    return Source(baselines, model, gpu)


def _folder(options: argparse.Namespace) -> tuple[Path, bool]:
    """The folder that is given, else that of the project or of the package, and whether it is only read."""
    if options.baselines:
        return options.baselines, False
    folder = of_project(Path(), writes=False)
    return Path(shown(folder.path)), folder.own is not None


def _all(options: argparse.Namespace) -> int:
    from ..report.past import of_stage, to_json

    source = _source(options)
    points = [point for stage in (*STAGES, CALL) for point in of_stage(source, stage).values()]
    if options.json:
        flags.print_json({"model": source.model, "gpu": source.gpu, "points": [to_json(each) for each in points]})
        return 0
    head = ["stage", "grid", "attention", "batch", "anchor ms", "of", "since", "latest ms", "drift %", "margin %", ""]
    left = (0, 1, 2, 6, -1)
    flags.show(f"{source.model} on {source.gpu}", *screen.fitted([head, *map(_row, points)], IMPORTANT, left))
    return 0


def _row(point: PointHistory) -> list[str]:
    drift, kept = point.drift, len(point.stored.pending)
    return [
        point.stage,
        str(point.key.work.grid) if point.key.attention else "-",
        point.key.attention or "-",
        str(point.key.work.batch),
        f"{point.stored.anchored.baseline.time_ns / 1e6:.3f}",
        str(drift.processes),
        (drift.since or "-")[:10],
        f"{point.stored.baseline.time_ns / 1e6:.3f}",
        f"{100 * drift.change:+.1f}",
        f"{100 * drift.margin:.1f}",
        ", ".join(filter(None, ["drifted" * drift.is_seen, f"{kept} disagree" if kept else ""])),
    ]


def _one(options: argparse.Namespace, source: Source, stage: str, key: PointKey) -> int:
    from ..report.past import of_stage, plot, to_json

    points, named = of_stage(source, stage), f"{stage} {key}".rstrip()
    if key not in points:
        raise ArgumentError(
            f"no time of {named} is recorded for {source.model} on {source.gpu}; `ocrsweep history` lists the points"
        )
    point = points[key]
    if options.json:
        flags.print_json({"model": source.model, "gpu": source.gpu, **to_json(point)})
        return 0
    head = ["date", "host", "card", "revision", "ms", "%", ""]
    flags.show(
        f"{named} on {source.gpu}",
        f"{'drifted' if point.drift.is_seen else 'no drift:'} {point.drift.since_then}",
        plot([each.median_ns for each in point.processes]),
        *aligned([head, *(_line(point, each) for each in point.past)], left=(0, 1, 2, 3, -1)),
    )
    return 0


def _line(point: PointHistory, past: Past) -> list[str]:
    on = past.taken.environment
    words = [past.became or "recorded", f"by {past.by}" if past.by else "", "<- moved" if past.moved else ""]
    return [
        (past.date or "-")[:10],
        printable(on.host or "-", HOST),
        (on.gpu_uuid or "-").removeprefix("GPU-")[:CARD],
        (on.git_revision or "-")[:REVISION],
        f"{past.median_ns / 1e6:.3f}",
        f"{100 * point.change(past):+.1f}",
        " ".join(filter(None, words)),
    ]


def _accept(source: Source, stage: str, key: PointKey) -> int:
    from ..baselines import timed
    from ..sweep.revision import user

    path = timed.file_of(source.folder, source.model, source.gpu, stage)
    by = user(source.folder)
    was = timed.accept(path, source.model, source.gpu, stage, key, by)
    point = f"{stage} {key}".rstrip()
    had = str(was) if was.is_seen else f"moved {was.since_then}"
    flags.show(f"{path}: {point}, which had {had}, has its latest times as its anchor; accepted by {by}")
    return 0
