"""`ocrsweep profile`: what each line of a stage takes on this GPU."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ..errors import ProfileError
from ..files.text import quoted
from ..hardware import profile_lines
from ..hardware.profile import Point, Profile, read, to_json
from ..hardware.roofline import least_ns
from ..model.cost import Cost
from ..model.run_order import numbers
from ..model.stages import STAGES
from ..model.stages import point as symbols_of
from ..report.table import aligned
from ..sweep.catalogue import model_of
from ..sweep.config import device_of
from ..sweep.rules import require_profiled
from . import flags
from .flags import Subparsers

if TYPE_CHECKING:
    from ..hardware.devices import Device
    from ..model.analytic import Model
    from ..sweep.settings import Settings

EXAMPLES = """\
examples:
  ocrsweep profile 2x3 --stage decode              a step's components, and the time between its kernels
  ocrsweep profile 2x3 --stage vision --depth 4    down to single lines
  ocrsweep profile 1x1 --batch 8 --json
  ocrsweep profile 2x3 --from my-gpu.jsonl.gz      what ocrsweep calibrate kept, without a GPU

The times are those of a CUDA graph's replays. Each kernel is matched to the line of the ledger that launched it, by
order and by cost; a kernel without a line is an error. Of a decode, the last step is measured. "% of limit" is the time
that the device's peak rates allow for a part, as a percentage of its measured time.
"""


class Row(NamedTuple):
    """A part of a stage, as it is printed."""

    path: str
    time_ns: float
    kernels: int
    cost: Cost
    limit_ns: float


def add(subparsers: Subparsers) -> None:
    parser = subparsers.add_parser(
        "profile",
        help="what each line of a stage takes on this GPU",
        description="Measures a stage of one grid or page image on this GPU, line by line.",
        epilog=EXAMPLES,
    )
    flags.add_target(parser)
    flags.add_stages(parser)
    flags.add_attention(parser)
    refused = {"device": "the GPU that is here is measured; --set vendor.device=cuda:1 chooses among several"}
    flags.add_settings(parser, flags.OF_A_PAGE, refused)
    parser.add_argument("--depth", metavar="N", type=flags.whole, default=1, help="levels of the tree (default: 1)")
    parser.add_argument("--from", metavar="FILE", dest="source", type=flags.path, help="profiles, instead of a GPU")
    flags.add_json(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    settings = require_profiled(flags.compose(options))
    work, model = flags.workload(options.target, settings), model_of(settings)
    points = [Point(stage, options.attention, work) for stage in options.stages or STAGES]
    gpu, profiles = (
        _kept(options.source, model, points, every=bool(options.stages))
        if options.source
        else _measured(settings, model, points)
    )
    device = device_of(gpu)
    if options.json:
        flags.print_json({"model": model.name, "gpu": gpu, "stages": list(map(_document, profiles))})
        return 0
    for profile in profiles:
        flags.show("", *_table(model, profile, device, gpu, max(options.depth, 1)))
    return 0


def _measured(settings: Settings, model: Model, points: Sequence[Point]) -> tuple[str, list[Profile]]:
    from ..sweep.profiling import Profiler

    with Profiler(settings, model) as profiler:
        return profiler.gpu, [profiler.profile(point.stage, point.work, point.attention) for point in points]


def _kept(source: Path, model: Model, points: Sequence[Point], *, every: bool) -> tuple[str, list[Profile]]:
    """The profiles of a file; unless `every` one is wanted, those that it has. Raises ProfileError."""
    kept = read(source)
    kept.check(model)
    known = {profile.point: profile for profile in kept.points}
    for point in points:
        if point in known:
            profile_lines.check(model, known[point])
    missing = [point for point in points if point not in known]
    if len(missing) > (0 if every else len(points) - 1):
        raise _not_there(source, missing[0], kept.points)
    return kept.device, [known[point] for point in points if point in known]


def _not_there(source: Path, point: Point, kept: Sequence[Profile]) -> ProfileError:
    wanted = (point.stage, point.work.grid)
    near = ", ".join(profile.label for profile in kept if (profile.stage, profile.work.grid) == wanted)
    what = f"{quoted(str(source))} has no {point.label}; it has {near or f'no {point.stage} of {point.work.grid}'};"
    return ProfileError(what, hint="to measure on this GPU, leave out --from")


def _document(profile: Profile) -> dict[str, object]:
    """A point with its lines by names, which a file of many thousands leaves out."""
    lines = [{**asdict(line), "time_ns": round(line.time_ns)} for line in profile.lines]
    return {**to_json(profile), "gap_ns": round(profile.gap_ns), "lines": lines}


def _table(model: Model, profile: Profile, device: Device | None, gpu: str, depth: int) -> list[str]:
    rows = _rows(model, profile, device, depth)
    step = "a step of " if STAGES[profile.stage].per_token else ""
    cells: list[Sequence[str]] = [[profile.stage, "ms", "%", "kernels", "TFLOP/s", "GB/s", "% of limit"]]
    for row in rows:
        seconds = row.time_ns / 1e9
        rates = (f"{row.cost.tensor_flops / seconds / 1e12:.1f}", f"{row.cost.moved_bytes / seconds / 1e9:,.0f}")
        share = f"{100 * row.time_ns / profile.device_ns:.1f}"
        limit = f"{100 * row.limit_ns / row.time_ns:.0f}" if device else "-"
        cells.append([row.path, f"{row.time_ns / 1e6:.3f}", share, f"{row.kernels:,}", *rates, limit])
    gap = f"{100 * profile.gap_ns / profile.device_ns:.1f}"
    cells.append(["between kernels", f"{profile.gap_ns / 1e6:.3f}", gap, "", "", "", ""])
    total = f"{profile.device_ns / 1e6:.3f}"
    kernels = sum(line.kernels for line in profile.lines)
    return [
        f"{step}{profile.label} on {gpu}: {total} ms; {kernels:,} kernels, each of one of {len(profile.lines)} lines",
        *aligned(cells, left=(0,)),
    ]


def _rows(model: Model, profile: Profile, device: Device | None, depth: int) -> list[Row]:
    kernels = profile_lines.program_of(model, profile).sequence
    at = symbols_of(profile.work, model.architecture.decoder)
    rows: dict[str, Row] = {}
    for line in profile.lines:
        path = "/".join(line.path.split("/")[:depth])
        cost = Cost(*numbers(kernels[line.index], at)) * kernels[line.index].times
        row = rows.get(path, Row(path, 0.0, 0, Cost(), 0.0))
        limit_ns = least_ns(cost, device) if device else 0.0
        rows[path] = Row(
            path, row.time_ns + line.time_ns, row.kernels + line.kernels, row.cost + cost, row.limit_ns + limit_ns
        )
    return [row for row in rows.values() if row.time_ns > 0]
