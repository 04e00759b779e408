"""`ocrsweep fits`: whether a page's memory fits into a device, and the largest batch and page that do."""

from __future__ import annotations

import argparse
from dataclasses import asdict, replace
from typing import Any

from ..hardware import sizing
from ..model.stages import Model
from ..report.table import aligned
from . import flags

PARTS = ("weight_bytes", "kv_cache_bytes", "input_bytes", "peak_activation_bytes", "total_bytes")
HEADER = ("stage", "weights GB", "KV cache GB", "inputs GB", "peak GB", "total GB")
DEVICES = ("device", "memory GB", "needed GB", "fits", "largest batch", "largest page", "its tokens")

EXAMPLES = """\
examples:
  ocrsweep fits 2x3                                        on every device of the catalogue
  ocrsweep fits 2x3 --device rtx-4090 --set workload.batch=32
  ocrsweep fits page.png --device l40s --attention eager --json

The peak is of activations. The largest batch is of pages like this one, the largest page as square as can be, at this
batch. What the driver takes, and fragmentation, are not counted: leave a GB or two. That something does not fit is an
answer, not an error: the exit code is 0.
"""


def add(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "fits",
        help="whether a page fits into a device's memory, and the largest batch and page that do",
        description="Whether weights, KV cache, inputs and activations fit into a device, and how many of them do.",
        epilog=EXAMPLES,
    )
    flags.add_target(parser)
    flags.add_devices(parser)
    flags.add_attention(parser)
    flags.add_settings(parser)
    flags.add_json(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    settings, attention = flags.compose(options), options.attention
    work, model = flags.workload(options.target, settings), Model(settings.model)
    parts = sizing.memory(model, work, attention)
    found: list[dict[str, Any]] = []
    for name, device in flags.compared(options, settings).items():
        fit = sizing.fits(model, work, device, attention)
        page = sizing.largest_page(model, work, device, attention)
        found.append(
            {
                "device": name,
                "memory_bytes": device.memory_bytes,
                "needed_bytes": fit.needed_bytes,
                "fits": fit.fits,
                "largest_batch": sizing.largest_batch(model, work, device, attention),
                "largest_page": None if page is None else str(page),
                "largest_page_context_tokens": None if page is None else replace(work, grid=page).context_tokens,
            }
        )
    if options.json:
        stages = [{**asdict(part), "total_bytes": part.total_bytes} for part in parts]
        document = {"model": model.name, "grid": str(work.grid), "batch": work.batch, "attention": attention}
        flags.print_json({**document, "stages": stages, "devices": found})
        return 0
    print(f"{model.name} {work.grid}, {attention}: {work.context_tokens:,} tokens, batch {work.batch}", "", sep="\n")
    cells = [[part.stage, *(f"{getattr(part, name) / 1e9:,.3f}" for name in PARTS)] for part in parts]
    print(*aligned([HEADER, *cells]), "", sep="\n")
    print(*aligned([DEVICES, *map(_row, found)]), sep="\n")
    positions = settings.model.decoder.max_positions
    if any((row["largest_page_context_tokens"] or 0) > positions for row in found):
        print(f"pages of more than {positions:,} tokens are beyond the positions that {model.name} was made for")
    return 0


def _row(found: dict[str, Any]) -> list[str]:
    return [
        found["device"],
        f"{found['memory_bytes'] / 1e9:,.0f}",
        f"{found['needed_bytes'] / 1e9:,.3f}",
        "yes" if found["fits"] else "no",
        f"{found['largest_batch']:,}" if found["largest_batch"] else "-",
        found["largest_page"] or "-",
        f"{found['largest_page_context_tokens']:,}" if found["largest_page"] else "-",
    ]
