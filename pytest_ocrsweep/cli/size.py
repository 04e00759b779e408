"""`ocrsweep size`: what a device needs to keep latency targets, and which devices keep them at which batch."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING

from ..hardware import sizing
from ..hardware.serving import Served, served
from ..hardware.sizing import Requirement, Target
from ..model.analytic import Model
from ..model.limits import uncut
from ..model.positions import beyond
from ..model.stages import STAGES
from ..report.table import aligned
from ..sweep.catalogue import model_of
from . import flags
from .flags import Subparsers
from .progress import watched
from .speeds import interval, notes, shown

if TYPE_CHECKING:
    from ..hardware.devices import Device
    from ..model.geometry import Workload

HEADER = ("grid", "stage", "tensor TFLOP/s", "vector TFLOP/s", "GB/s", "memory GB")
SERVED = ("grid", "device", "batch", "safe batch", "at most", "pages/s", "nine of ten")

EXAMPLES = """\
examples:
  ocrsweep size 2x3 --ttft 500ms --tpot 20ms
  ocrsweep size 1x1,2x3,3x3 --ttft 200ms --tpot 5ms --device l40s --device h100
  ocrsweep size shapes.sqlite:10..100/10 --ttft 5s --tpot 20ms --batch 4 --json

"batch" is the largest one that keeps the targets at estimated times, which are the device's own time for the reference
model. "safe batch" keeps them even at the slow end of the interval that holds nine of ten measured times. The first
table and the column "at most" follow from floors: no software serves more.
"""


@dataclass(frozen=True, slots=True)
class Sized:
    """What a grid's stages need to keep the targets, and by device the batches that keep them."""

    grid: str
    requirements: tuple[Requirement, ...]
    devices: dict[str, Served]


def add(subparsers: Subparsers) -> None:
    parser = subparsers.add_parser(
        "size",
        help="the TFLOP/s, GB/s and memory that latency targets need, and the devices that have them",
        description="What a device needs to keep a time to first token and a time per output token.",
        epilog=EXAMPLES,
    )
    text = "2x3, a list (1x2,2x3), a named set, a YAML file or a shapes database"
    parser.add_argument("grids", metavar="GRIDS", help=text)
    for option, usual, text in (
        ("--ttft", 10, "time to first token, such as 500ms or 0.5s: a prefill"),
        ("--tpot", 1, "time per output token, such as 20ms: the mean over a decode"),
    ):
        time = partial(flags.seconds, usual=usual)
        parser.add_argument(option, metavar="TIME", type=time, required=True, help=text)
    flags.add_devices(parser)
    flags.add_attention(parser)
    flags.add_settings(parser, flags.OF_A_PAGE)
    flags.add_json(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    settings = flags.of_the_reference(options)
    catalogue = flags.compared(options, settings)
    target, model = Target(options.ttft, options.tpot), model_of(settings)
    works = [settings.workload.on(point.grid) for point in flags.points(options.grids, settings)]
    sizes = [
        _sized(model, work, catalogue, target, options.attention) for work in watched(works, len(works), unit="grids")
    ]
    if options.json:
        document = {**flags.about(model, works[0]), "attention": options.attention, **asdict(target)}
        flags.print_json(
            {
                **document,
                "batch": works[0].batch,
                "max_positions": settings.model.decoder.max_positions,
                "grids": [_written(each) for each in sizes],
            }
        )
        return 0
    kept = f"{target.ttft_s:g} s to the first token, {target.tpot_s:g} s a token after"
    work = works[0]
    flags.show(f"{model.title}, {options.attention}, {work.resolution}: {kept}")
    tokens = f"{work.prompt_tokens:,} prompt tokens and {work.new_tokens:,} new ones"
    flags.show(f"what a batch of {work.batch:,} takes, with {tokens}:", "", *_needs(sizes))
    all_of = {name: [each.devices[name].speeds for each in sizes] for name in catalogue}
    flags.show("", "the largest batch that each device serves in time, and pages a second with it:", "")
    flags.show(*_served(sizes), *notes(catalogue, all_of))
    runs = ((stage, work) for work in works for stage in STAGES)
    for line in (*uncut(settings.model, settings.engine, works), *beyond(settings.model, runs)):
        flags.show("", line)
    return 0


def _written(each: Sized) -> dict[str, object]:
    """For a JSON document; the reference model multiplies no 8-bit floats."""
    grid = asdict(each)
    for need in grid["requirements"]:
        del need["fp8_tensor_flops_per_s"]
    return grid


def _sized(model: Model, work: Workload, catalogue: Mapping[str, Device], target: Target, attention: str) -> Sized:
    needed = sizing.requirements(model, work, target, attention)
    devices = {name: served(model, work, device, target, attention) for name, device in catalogue.items()}
    return Sized(str(work.grid), needed, devices)


def _needs(sizes: Sequence[Sized]) -> list[str]:
    cells = [
        (
            each.grid,
            need.stage,
            f"{need.tensor_flops_per_s / 1e12:,.3f}",
            f"{need.vector_flops_per_s / 1e12:,.3f}",
            f"{need.bandwidth_bytes_per_s / 1e9:,.1f}",
            f"{need.memory_bytes / 1e9:,.2f}",
        )
        for each in sizes
        for need in each.requirements
    ]
    return aligned([HEADER, *cells], left=(0, 1))


def _served(sizes: Sequence[Sized]) -> list[str]:
    cells = [(each.grid, name, *_cells(found)) for each in sizes for name, found in each.devices.items()]
    return aligned([SERVED, *cells], left=(0, 1))


def _cells(found: Served) -> Sequence[str]:
    batches = ["-" if batch is None else f"{batch:,}" for batch in (found.batch, found.safe_batch, found.most_batch)]
    speeds = found.speeds
    if speeds is None or speeds.expected is None or speeds.slow is None or speeds.fast is None:
        return (*batches, f"<= {shown(speeds.floor.pages_per_s)}" if speeds else "-", "-")
    pages = interval(speeds.slow.pages_per_s, speeds.fast.pages_per_s)
    return (*batches, shown(speeds.expected.pages_per_s), pages)
