"""Arguments that several subcommands take, and the settings, devices and workloads that they name."""

from __future__ import annotations

import argparse
import json
import os
import re
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TextIO

from ..errors import ArgumentError, CalibrationError, ConfigError
from ..files.text import quoted, terminal_line
from ..model.attention import ATTENTION
from ..model.geometry import RESOLUTIONS, CropGrid, Workload
from ..model.positions import page
from ..model.stages import STAGES

if TYPE_CHECKING:
    from ..hardware.devices import Device
    from ..sweep.grid_entry import GridEntry
    from ..sweep.settings import Settings

UNITS = {"s": 1, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}  # of a time, in seconds
GRID = re.compile(r"\s*[0-9]+\s*[xX×]")
DEVICE = re.compile(r"device\b")  # an override of the device or of its figures


class Subparsers(Protocol):
    """What `add_subparsers` of argparse gives: a module adds its subcommand there."""

    def add_parser(self, name: str, *, help: str, description: str, epilog: str) -> argparse.ArgumentParser: ...


def add_settings(parser: argparse.ArgumentParser) -> None:
    """Adds `--set`; `compose` reads it."""
    parser.add_argument(
        "--set",
        metavar="KEY=VALUE",
        dest="overrides",
        action="append",
        default=[],
        help="change a setting: workload.batch=4 (also .prompt_tokens, .new_tokens, .resolution), model=NAME, or any "
        "figure of model. and device.; for a wrong key the error names the nearest; repeatable",
    )


def add_target(parser: argparse.ArgumentParser) -> None:
    """Adds the grid or page image that `workload` reads."""
    parser.add_argument("target", metavar="GRID|IMAGE", help="ROWSxCOLUMNS of crops, such as 2x3, or an image file")


def add_device(parser: argparse.ArgumentParser) -> None:
    """Adds `--device` for one device; `compose` reads it."""
    text = "the device for floors; see `ocrsweep devices` (default: h200)"
    parser.add_argument("--device", metavar="NAME", help=text)


def add_devices(parser: argparse.ArgumentParser) -> None:
    """Adds a repeatable `--device` to subcommands that compare devices; `devices` reads it."""
    text = "only this device; see `ocrsweep devices`; repeatable (default: all)"
    parser.add_argument("--device", metavar="NAME", dest="devices", action="append", default=[], help=text)


def add_stages(parser: argparse.ArgumentParser) -> None:
    """Adds `--stage`, repeatable."""
    text = f"only this stage: {', '.join(STAGES)}; repeatable (default: all)"
    parser.add_argument("--stage", choices=list(STAGES), metavar="STAGE", dest="stages", action="append", help=text)


def add_attention(parser: argparse.ArgumentParser, default: str | None = "flash") -> None:
    """Adds `--attention`; without a default its value is None, which stands for all."""
    choices = " or ".join(f"{name} ({each.about})" for name, each in ATTENTION.items())
    text = f"{choices} (default: {default or 'both'})"
    parser.add_argument("--attention", choices=ATTENTION, metavar="NAME", default=default, help=text)


def add_json(parser: argparse.ArgumentParser) -> None:
    """Adds `--json`."""
    parser.add_argument("--json", action="store_true", help="print JSON in base units: FLOPs, bytes, nanoseconds")


def whole(text: str, least: int = 0) -> int:
    """For `type=`: a whole number from `least` on."""
    if not (text.isascii() and text.isdigit() and int(text) >= least):
        raise argparse.ArgumentTypeError(f"must be a whole number of at least {least}, got {quoted(text)}")
    return int(text)


def count(text: str) -> int:
    """For `type=`: a whole number from 1 on."""
    return whole(text, least=1)


def positive(text: str) -> float:
    """For `type=`: a number above 0."""
    try:
        value = float(text)
    except ValueError:
        value = 0
    if not 0 < value < inf:
        raise argparse.ArgumentTypeError(f"must be a positive number, got {quoted(text)}")
    return value


def seconds(text: str, usual: float) -> float:
    """For `type=`: a time such as 500ms, 0.5s or 0.5, between a nanosecond and thirty years.

    Without a unit it is in seconds, and refused if it is more than is `usual`: most who write so mean milliseconds.
    """
    match = re.fullmatch(r"(.*?)\s*(s|ms|us|µs|ns)?", text.strip(), re.DOTALL)
    assert match is not None  # it matches any text
    number, unit = match.groups()
    try:
        value = positive(number) * UNITS[unit or "s"]
    except argparse.ArgumentTypeError as error:
        raise argparse.ArgumentTypeError(f"{error}; write a time as 500ms or 0.5s") from None
    if not 1e-9 <= value <= 1e9:
        raise argparse.ArgumentTypeError(f"must be from 1e-9 to 1e9 seconds, got {quoted(text)}")
    if unit is None and value > usual:
        raise argparse.ArgumentTypeError(f"{number} seconds are long: write {number}ms or {number}s")
    return value


def given(text: str) -> str:
    """For `type=`: any text but an empty one, which a shell passes for a variable that is not set."""
    if not text:
        raise argparse.ArgumentTypeError("is empty: give a value, or leave it out")
    return text


def path(text: str) -> Path:
    """For `type=`: a path, which `given` checks."""
    return Path(given(text))


def compose(options: argparse.Namespace) -> Settings:
    """The settings with `--set` and `--device` applied. Raises ArgumentError."""
    from ..hardware.calibration_file import calibration_of
    from ..sweep.config import compose

    named = getattr(options, "device", None)
    try:
        settings = compose([*options.overrides, *([f"device={spelled(named)}"] if named is not None else [])])
        if settings.device.calibration:
            calibration_of(settings.device)
    except (CalibrationError, ConfigError) as error:
        raise ArgumentError(str(error)) from None
    return settings


def devices(options: argparse.Namespace) -> dict[str, Device]:
    """The devices that `--device` names, else the whole catalogue. Raises ArgumentError."""
    from ..sweep.config import devices

    catalogue = devices()
    wanted = [spelled(name) for name in options.devices]
    for name in wanted:
        if name not in catalogue:
            raise ArgumentError(f"--device must be one of {', '.join(catalogue)}: got {quoted(name)}")
    return {name: catalogue[name] for name in dict.fromkeys(wanted or catalogue)}


def of_the_reference(options: argparse.Namespace) -> Settings:
    """The composed settings. Raises ArgumentError for another engine, whose batches another rule holds together."""
    settings = compose(options)
    if not settings.engine.is_reference:
        raise ArgumentError(
            f"batches of {settings.engine.name} are not sized here: its steps, not a prefill of all pages, fill the "
            f"memory; leave engine={settings.engine.name} out"
        )
    return settings


def compared(options: argparse.Namespace, settings: Settings) -> dict[str, Device]:
    """The device that `--set device…` describes; without one, what `devices` gives. Raises ArgumentError."""
    figures = [text for text in options.overrides if DEVICE.match(text)]
    if not figures:
        return devices(options)
    if options.devices:
        raise ArgumentError(f"--device and --set {figures[0]} exclude each other: keep one")
    return {settings.device.name: settings.device}


def described(options: argparse.Namespace) -> bool:
    """Whether `--device` or `--set device…` chooses a device or changes its figures."""
    return options.device is not None or any(map(DEVICE.match, options.overrides))


def spelled(name: str) -> str:
    """A device's name as the catalogue spells it: rtx-4090 for rtx4090 and RTX_4090. Unknown names do not change."""
    from ..sweep.search_path import choices

    def bare(text: str) -> str:
        return re.sub(r"[-_ ]", "", text.lower())

    return {bare(each): each for each in choices("device")}.get(bare(name), name)


def workload(text: str, settings: Settings) -> Workload:
    """The workload on a grid (`2x3`), or on the grid that the model's own code chooses for a page image.

    Raises ArgumentError.
    """
    path = Path(text)
    if os.path.isfile(path):
        from ..files.image_size import page_size

        size, sides = page_size(path), RESOLUTIONS[settings.workload.resolution]
        return settings.workload.on(sides.grid_of(size.width, size.height, settings.engine.most_crops))
    if not GRID.match(text):
        raise ArgumentError(f"{quoted(text)} is neither a grid (ROWSxCOLUMNS, as 2x3) nor the file of a page image")
    try:
        return settings.workload.on(CropGrid.parse(text))
    except ValueError as error:
        raise ArgumentError(str(error)) from None


def points(source: str | None, settings: Settings) -> list[GridEntry]:
    """The entries of a grid source, None for the default one.

    Raises SourceError, and ArgumentError for a grid that the workload cannot have.
    """
    from ..sweep.grid_sources import DEFAULT, entries
    from ..sweep.made_for import SweptFor

    named = entries(DEFAULT if source is None else source, SweptFor.of(settings))
    for point in named:
        try:
            settings.workload.on(point.grid)
        except ValueError as error:
            raise ArgumentError(str(error)) from None
    return named


def positions(settings: Settings, work: Workload) -> dict[str, int]:
    """For a JSON document: the positions that each page needs, and those that the decoder was made for."""
    return {"positions": page(work), "max_positions": settings.model.decoder.max_positions}


def show(*lines: str, file: TextIO | None = None) -> None:
    """Print lines, whatever names of files, models and devices hold."""
    print(*map(terminal_line, lines), sep="\n", file=file)


def print_json(document: object) -> None:
    """Print a document as JSON with one indented value a line."""
    print(json.dumps(document, indent=1))
