"""Arguments that several subcommands take, and what they mean."""

from __future__ import annotations

import argparse
import json
import os
import re
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING

from ..files.text import quoted
from ..model.geometry import RESOLUTIONS, CropGrid, Workload
from ..model.stages import ATTENTION, STAGES

if TYPE_CHECKING:
    from ..hardware.roofline import Device
    from ..sweep.grid_sources import GridEntry
    from ..sweep.settings import Settings

GRID = re.compile(r"\s*[0-9]+\s*[xX×]")


class ArgumentError(ValueError):
    """An argument that does not fit, in one line."""


def add_settings(parser: argparse.ArgumentParser) -> None:
    """`--set`, read by `compose`."""
    parser.add_argument(
        "--set",
        metavar="KEY=VALUE",
        dest="overrides",
        action="append",
        default=[],
        help="change a setting: workload.batch=4 (also .prompt_tokens, .new_tokens, .resolution), model=NAME, or any "
        "figure of model. and device.; a wrong key is told the nearest; repeatable",
    )


def add_target(parser: argparse.ArgumentParser) -> None:
    """The page that `workload` reads."""
    parser.add_argument("target", metavar="GRID|IMAGE", help="ROWSxCOLUMNS of crops, as 2x3, or the file of a page")


def add_device(parser: argparse.ArgumentParser) -> None:
    """`--device` of those that take one; read by `compose`."""
    parser.add_argument("--device", metavar="NAME", help="device of the floors, of `ocrsweep devices` (default: h200)")


def add_devices(parser: argparse.ArgumentParser) -> None:
    """`--device` of those that compare devices; read by `devices`."""
    text = "only this device, of `ocrsweep devices`; repeatable (default: all of them)"
    parser.add_argument("--device", metavar="NAME", dest="devices", action="append", default=[], help=text)


def add_stages(parser: argparse.ArgumentParser) -> None:
    """`--stage`, repeatable."""
    text = f"only this stage: {', '.join(STAGES)}; repeatable (default: all)"
    parser.add_argument("--stage", choices=list(STAGES), metavar="STAGE", dest="stages", action="append", help=text)


def add_attention(parser: argparse.ArgumentParser, default: str | None = "flash") -> None:
    """`--attention`; without a default it is None, for both."""
    text = f"eager (scores in memory) or flash (fused kernels) (default: {default or 'both'})"
    parser.add_argument("--attention", choices=ATTENTION, metavar="NAME", default=default, help=text)


def add_json(parser: argparse.ArgumentParser) -> None:
    """`--json`."""
    parser.add_argument("--json", action="store_true", help="print JSON in base units: FLOPs, bytes, nanoseconds")


def positive(text: str) -> float:
    """For `type=`: a number above 0."""
    try:
        value = float(text)
    except ValueError:
        value = 0
    if not 0 < value < inf:
        raise argparse.ArgumentTypeError(f"must be a positive number, got {quoted(text)}")
    return value


def seconds(text: str) -> float:
    """For `type=`: a time that somebody may wait."""
    value = positive(text)
    if not 1e-9 <= value <= 1e9:
        raise argparse.ArgumentTypeError(f"must be from 1e-9 to 1e9 seconds, got {quoted(text)}")
    return value


def given(text: str) -> str:
    """For `type=`: anything but nothing, which is what a variable that is not set makes of an argument."""
    if not text:
        raise argparse.ArgumentTypeError("is empty: give a value, or leave it out")
    return text


def path(text: str) -> Path:
    """The same as a path."""
    return Path(given(text))


def compose(options: argparse.Namespace) -> Settings:
    """The settings that `--set` and `--device` ask for. Raises ArgumentError."""
    from ..sweep.config import compose
    from ..sweep.settings import ConfigError

    named = getattr(options, "device", None)
    try:
        return compose([*options.overrides, *([f"device={_spelled(named)}"] if named is not None else [])])
    except ConfigError as error:
        raise ArgumentError(str(error)) from None


def devices(options: argparse.Namespace) -> dict[str, Device]:
    """The devices of `--device`, or all of the catalogue. Raises ArgumentError."""
    from ..sweep.config import devices

    catalogue = devices()
    wanted = [_spelled(name) for name in options.devices]
    for name in wanted:
        if name not in catalogue:
            raise ArgumentError(f"--device must be one of {', '.join(catalogue)}: got {quoted(name)}")
    return {name: catalogue[name] for name in dict.fromkeys(wanted or catalogue)}


def compared(options: argparse.Namespace, settings: Settings) -> dict[str, Device]:
    """The same, or the one that `--set device=NAME` or `--set device.KEY=VALUE` describes. Raises ArgumentError."""
    described = [text for text in options.overrides if re.match(r"device\b", text)]
    if not described:
        return devices(options)
    if options.devices:
        raise ArgumentError(f"--device and --set {described[0]} exclude each other: keep one")
    return {settings.device.name: settings.device}


def _spelled(name: str) -> str:
    """A device as the catalogue spells it: rtx4090 and RTX_4090 are rtx-4090; what is unknown stays as it is."""
    from ..sweep.config import CONF

    def bare(text: str) -> str:
        return re.sub(r"[-_ ]", "", text.lower())

    return {bare(file.stem): file.stem for file in (CONF / "device").glob("*.yaml")}.get(bare(name), name)


def workload(text: str, settings: Settings) -> Workload:
    """The workload on a grid (`2x3`) or on the grid that the vendor chooses for a page image. Raises ArgumentError."""
    path, resolution = Path(text), settings.workload.resolution
    if os.path.isfile(path):
        from ..files.image_size import page_size

        size, crop_side = page_size(path), RESOLUTIONS[resolution].crop_side
        grid = CropGrid.for_image(size.width, size.height, crop_side) if crop_side else CropGrid(1, 1)
        return settings.workload.on(grid)
    if not GRID.match(text):
        raise ArgumentError(f"{quoted(text)} is neither a grid (ROWSxCOLUMNS, as 2x3) nor the file of a page image")
    try:
        return settings.workload.on(CropGrid.parse(text))
    except ValueError as error:
        raise ArgumentError(str(error)) from None


def points(source: str | None, settings: Settings) -> list[GridEntry]:
    """The entries of a sweep source, None for the default one, if the workload takes each of their grids.

    Raises ArgumentError, SourceError.
    """
    from ..sweep.grid_sources import DEFAULT, entries

    found = entries(DEFAULT if source is None else source)
    for point in found:
        try:
            settings.workload.on(point.grid)
        except ValueError as error:
            raise ArgumentError(str(error)) from None
    return found


def print_json(document: object) -> None:
    """As people can read it too."""
    print(json.dumps(document, indent=1))
