"""`ocrsweep fits`: whether a page fits into a device's memory, and the largest batch and page that fit."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

from ..hardware import sizing
from ..hardware.devices import Device
from ..hardware.serving import Speeds, speeds
from ..model.analytic import Model
from ..model.geometry import Workload
from ..model.limits import uncut
from ..model.positions import beyond
from ..model.stages import STAGES
from ..report.table import aligned
from ..sweep.catalogue import model_of
from . import flags, screen
from .flags import Subparsers
from .speeds import at_least, interval, notes, shown

PARTS = ("weight_bytes", "kv_cache_bytes", "input_bytes", "peak_activation_bytes", "total_bytes")
HEADER = ("stage", "weights GB", "KV cache GB", "inputs GB", "peak GB", "total GB")
DEVICES = ("device", "memory GB", "needed GB", "fits", "largest batch", "largest page", "its tokens")
IMPORTANT = ("largest batch", "largest page", "memory GB", "its tokens")
TIMES = ("device", "TTFT ms", "nine of ten", "TPOT ms", "pages/s", "nine of ten", "at most")

EXAMPLES = """\
examples:
  ocrsweep fits 2x3                                        on every device of the catalogue
  ocrsweep fits 2x3 --device rtx-4090 --batch 32
  ocrsweep fits page.png --device l40s --attention eager --json

The column "peak GB" is activations. The largest batch has pages like this one. The largest page is the largest square
or nearly square grid that fits at this batch, of at most the crops that the model cuts a page into (model.most_crops).
No page fits that needs more positions than the model was made for. The driver and fragmentation are not counted: leave
a GB or two. If a page does not fit, the exit code is still 0.

Times are estimates of the device's own time for the reference model; nine of ten measured times lie in the interval
beside them. Pages a second count one prefill and one decode after the other. "at most" follows from the floors.
"""


@dataclass(frozen=True, slots=True)
class OnDevice:
    """Whether a page fits into a device, the largest batch and page that fit, and how fast it is; None if none fits."""

    device: str
    memory_bytes: int
    needed_bytes: int
    fits: bool
    largest_batch: int | None
    largest_page: str | None
    largest_page_context_tokens: int | None
    speeds: Speeds | None


def add(subparsers: Subparsers) -> None:
    parser = subparsers.add_parser(
        "fits",
        help="whether a page fits into a device's memory, the most that fits, and the time that it takes",
        description="Whether weights, KV cache, inputs and activations fit into a device, and how fast it is then.",
        epilog=EXAMPLES,
    )
    flags.add_target(parser)
    flags.add_devices(parser)
    flags.add_attention(parser)
    flags.add_settings(parser, flags.OF_A_PAGE)
    flags.add_json(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    settings, attention = flags.of_the_reference(options), options.attention
    work, model = flags.workload(options.target, settings), model_of(settings)
    parts = sizing.memory(model, work, attention)
    catalogue = flags.compared(options, settings)
    fits = [_on_device(name, device, model, work, attention) for name, device in catalogue.items()]
    if options.json:
        stages = [{**asdict(part), "total_bytes": part.total_bytes} for part in parts]
        document = {**flags.about(model, work), "grid": str(work.grid), "batch": work.batch, "attention": attention}
        document |= flags.positions(settings, work)
        flags.print_json({**document, "stages": stages, "devices": [asdict(each) for each in fits]})
        return 0
    tokens = f"{work.context_tokens:,} tokens, batch {work.batch:,}, {work.resolution}"
    flags.show(f"{model.title} {work.grid}, {attention}: {tokens}", "")
    cells = [[part.stage, *(f"{getattr(part, name) / 1e9:,.3f}" for name in PARTS)] for part in parts]
    flags.show(*aligned([HEADER, *cells]), "")
    flags.show(*screen.fitted([DEVICES, *map(_row, fits)], IMPORTANT))
    if timed := {each.device: each.speeds for each in fits if each.speeds}:
        times = aligned([TIMES, *([name, *_cells(speeds)] for name, speeds in timed.items())])
        why_wide = notes({name: catalogue[name] for name in timed}, {name: [each] for name, each in timed.items()})
        flags.show("", f"how long it takes, with {work.new_tokens:,} new tokens:", "", *times, *why_wide)
    for line in uncut(settings.model, settings.engine, [work]):
        flags.show("", line)
    for line in beyond(settings.model, ((stage, work) for stage in STAGES)):
        flags.show("", f"{work.grid} fits nowhere: {line}")
    return 0


def _on_device(name: str, device: Device, model: Model, work: Workload, attention: str) -> OnDevice:
    fit = sizing.fits(model, work, device, attention)
    page = sizing.largest_page(model, work, device, attention)
    return OnDevice(
        device=name,
        memory_bytes=device.memory_bytes,
        needed_bytes=fit.needed_bytes,
        fits=fit.fits,
        largest_batch=sizing.largest_batch(model, work, device, attention),
        largest_page=None if page is None else str(page),
        largest_page_context_tokens=None if page is None else replace(work, grid=page).context_tokens,
        speeds=speeds(model, work, device, attention) if fit.fits else None,
    )


def _row(each: OnDevice) -> list[str]:
    return [
        each.device,
        f"{each.memory_bytes / 1e9:,.0f}",
        f"{each.needed_bytes / 1e9:,.3f}",
        "yes" if each.fits else "no",
        f"{each.largest_batch:,}" if each.largest_batch else "-",
        each.largest_page or "-",
        f"{each.largest_page_context_tokens:,}" if each.largest_page_context_tokens else "-",
    ]


def _cells(speeds: Speeds) -> Sequence[str]:
    expected, slow, fast = speeds.expected, speeds.slow, speeds.fast
    if expected is None or slow is None or fast is None:  # the floors, marked
        return (
            at_least(speeds.floor.ttft_ns / 1e6),
            "-",
            at_least(speeds.floor.tpot_ns / 1e6),
            "-",
            "-",
            shown(speeds.floor.pages_per_s),
        )
    return (
        shown(expected.ttft_ns / 1e6),
        interval(fast.ttft_ns / 1e6, slow.ttft_ns / 1e6),
        shown(expected.tpot_ns / 1e6),
        shown(expected.pages_per_s),
        interval(slow.pages_per_s, fast.pages_per_s),
        shown(speeds.floor.pages_per_s),
    )
