"""`ocrsweep size`: what a target of time takes of a device, and which devices keep it at what batch."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from ..hardware import sizing
from ..hardware.sizing import Target
from ..model.stages import Model
from ..report.table import aligned
from . import flags
from .progress import watched

if TYPE_CHECKING:
    from ..hardware.roofline import Device
    from ..model.geometry import Workload

HEADER = ("grid", "stage", "tensor TFLOP/s", "vector TFLOP/s", "GB/s", "memory GB")

EXAMPLES = """\
examples:
  ocrsweep size 2x3 --ttft 0.5 --tpot 0.02
  ocrsweep size 1x1,2x3,3x3 --ttft 0.2 --tpot 0.005 --device l40s --device h100
  ocrsweep size shapes.sqlite:10..100/10 --ttft 5 --tpot 0.02 --set workload.batch=4 --json

These stand on floors: a device that misses a target here misses it in truth, one that keeps it may still miss it. To
plan with what software attains, multiply each target by the fraction attained that was measured for its stage.
"""


def add(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "size",
        help="the TFLOP/s, GB/s and memory that a target of time takes, and the devices that have them",
        description="What it takes to keep a time to the first token and a time for each token after.",
        epilog=EXAMPLES,
    )
    text = "2x3, a list (1x2,2x3), a named set, a YAML file or a shapes database"
    parser.add_argument("grids", metavar="GRIDS", help=text)
    seconds = {"metavar": "SECONDS", "type": flags.seconds, "required": True}
    parser.add_argument("--ttft", **seconds, help="time to the first token: a prefill")
    parser.add_argument("--tpot", **seconds, help="time for each token after: the mean over a decode")
    flags.add_devices(parser)
    flags.add_attention(parser)
    flags.add_settings(parser)
    flags.add_json(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    settings = flags.compose(options)
    catalogue = flags.compared(options, settings)
    target, model = Target(options.ttft, options.tpot), Model(settings.model)
    works = [settings.workload.on(point.grid) for point in flags.points(options.grids, settings)]
    found = [
        _sized(model, work, catalogue, target, options.attention) for work in watched(works, len(works), unit="grids")
    ]
    if options.json:
        document = {"model": model.name, "attention": options.attention, **asdict(target)}
        flags.print_json({**document, "batch": works[0].batch, "grids": found})
        return 0
    kept = f"{target.ttft_s:g} s to the first token, {target.tpot_s:g} s a token after"
    print(f"{model.name}, {options.attention}: {kept}")
    print(f"what a batch of {works[0].batch} takes:", "", *_needs(found), sep="\n")
    print("", "the largest batch that each device serves in time:", "", *_served(found, list(catalogue)), sep="\n")
    return 0


def _sized(
    model: Model, work: Workload, catalogue: Mapping[str, Device], target: Target, attention: str
) -> dict[str, Any]:
    needed = sizing.requirements(model, work, target, attention)
    batches = {
        name: sizing.batches(model, work, [device], target, attention)[device.name]
        for name, device in catalogue.items()
    }
    return {"grid": str(work.grid), "requirements": [asdict(need) for need in needed], "largest_batch": batches}


def _needs(found: Sequence[dict[str, Any]]) -> list[str]:
    cells = [
        (
            sized["grid"],
            need["stage"],
            f"{need['tensor_flops_per_s'] / 1e12:,.3f}",
            f"{need['vector_flops_per_s'] / 1e12:,.3f}",
            f"{need['bandwidth_bytes_per_s'] / 1e9:,.1f}",
            f"{need['memory_bytes'] / 1e9:,.2f}",
        )
        for sized in found
        for need in sized["requirements"]
    ]
    return aligned([HEADER, *cells], left=(0, 1))


def _served(found: Sequence[dict[str, Any]], names: Sequence[str]) -> list[str]:
    batches = {sized["grid"]: sized["largest_batch"] for sized in found}
    cells = [["grid", *names]]
    cells += [[grid, *("-" if of[name] is None else f"{of[name]:,}" for name in names)] for grid, of in batches.items()]
    return aligned(cells)
