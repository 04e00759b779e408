"""`ocrsweep devices`: the catalogue of devices, from which floors and sizes are computed."""

from __future__ import annotations

import argparse
from dataclasses import asdict

from . import flags, screen
from .flags import Subparsers

HEADER = ("device", "driver's name", "bf16 TFLOP/s", "fp32 TFLOP/s", "TB/s", "GB", "L2 MiB", "FLOP/byte", "source")

IMPORTANT = ("bf16 TFLOP/s", "TB/s", "GB", "FLOP/byte", "driver's name", "fp32 TFLOP/s", "L2 MiB", "source")

NOTES = """\
TFLOP/s are dense: bf16 in the tensor cores, fp32 outside them. FLOP/byte is the ridge: above it the tensor cores bound
a stage, below it memory does. A device of your own is a file of your folder for --config-dir. To change a figure in
another command, use --set device.bandwidth_bytes_per_s=4e12.
"""


def add(subparsers: Subparsers) -> None:
    parser = subparsers.add_parser(
        "devices",
        help="the known devices: peak rates, bandwidth, memory, and their sources",
        description="The known devices, with their peak rates, bandwidth and memory, and the source of each.",
        epilog=NOTES,
    )
    flags.add_devices(parser)
    catalogue = "the catalogue holds for every model, page and engine"
    flags.refuse(parser, dict.fromkeys(flags.OF_A_PAGE, catalogue))
    flags.add_json(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    catalogue = flags.devices(options)
    if options.json:
        flags.print_json(
            [{"device": name, **asdict(device), "ridge": device.ridge} for name, device in catalogue.items()]
        )
        return 0
    rows = [
        (
            name,
            device.name,
            f"{device.tensor_flops_per_s / 1e12:,.1f}",
            f"{device.vector_flops_per_s / 1e12:,.1f}",
            f"{device.bandwidth_bytes_per_s / 1e12:.3f}",
            f"{device.memory_bytes / 1e9:,.0f}",
            f"{device.l2_bytes / 2**20:,.0f}",
            f"{device.ridge:,.0f}",
            device.source,
        )
        for name, device in catalogue.items()
    ]
    flags.show(*screen.fitted([HEADER, *rows], IMPORTANT, left=(0, 1, -1)))
    return 0
