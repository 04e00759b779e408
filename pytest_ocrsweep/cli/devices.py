"""`ocrsweep devices`: the catalogue that floors and sizes stand on."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import Any

from ..report.table import aligned
from . import flags

HEADER = ("device", "driver's name", "bf16 TFLOP/s", "fp32 TFLOP/s", "TB/s", "GB", "L2 MiB", "FLOP/byte", "source")

NOTES = """\
TFLOP/s are dense: bf16 in the tensor cores, fp32 outside them. FLOP/byte is the ridge: a stage of more is bound by the
tensor cores, one of less by memory. A device of your own is one more file in conf/device/; other commands take any
figure of their own, as in --set device.bandwidth_bytes_per_s=4e12.
"""


def add(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "devices",
        help="the devices known: peaks, bandwidth, memory, and where the figures are from",
        description="The devices known, with their peaks, bandwidth and memory, and the source of each.",
        epilog=NOTES,
    )
    flags.add_devices(parser)
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
    print(*aligned([HEADER, *rows], left=(0, 1, -1)), sep="\n")
    return 0
