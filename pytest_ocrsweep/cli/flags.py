"""Arguments that several subcommands take, and the settings, devices and workloads that they name."""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TextIO

from ..errors import ArgumentError, CalibrationError, ConfigError, ImageError
from ..files import near_miss
from ..files.text import quoted, terminal_line
from ..model.attention import ATTENTION
from ..model.geometry import CropGrid, Workload
from ..model.positions import page
from ..model.stages import STAGES
from .settings import ALL, OF_A_PAGE, refuse, spelled
from .settings import add as add_settings
from .types import count, given, path, positive, seconds, whole

__all__ = [  # what subcommands take from here, and is defined elsewhere
    "ALL",
    "OF_A_PAGE",
    "add_settings",
    "count",
    "given",
    "path",
    "positive",
    "refuse",
    "seconds",
    "spelled",
    "whole",
]

if TYPE_CHECKING:
    from ..hardware.devices import Device
    from ..model.analytic import Model
    from ..sweep.grid_entry import GridEntry
    from ..sweep.settings import Settings

GRID = re.compile(r"\s*[0-9]+\s*[xX×]")
DEVICE = re.compile(r"device\b")  # an override of the device or of its figures


class Subparsers(Protocol):
    """What `add_subparsers` of argparse gives: a module adds its subcommand there."""

    def add_parser(self, name: str, *, help: str, description: str, epilog: str) -> argparse.ArgumentParser: ...


def add_target(parser: argparse.ArgumentParser) -> None:
    """Adds the grid or page image that `workload` reads."""
    parser.add_argument("target", metavar="GRID|IMAGE", help="ROWSxCOLUMNS of crops, such as 2x3, or an image file")


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


def compose(options: argparse.Namespace) -> Settings:
    """The settings with `--set` applied, to which plain options were added. Raises ArgumentError."""
    from ..hardware.calibration_file import calibration_of
    from ..sweep.config import compose

    try:
        settings = compose(options.overrides)
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
            meant = near_miss.did_you_mean(name, catalogue)
            raise ArgumentError(f"--device must be one of {', '.join(catalogue)}: got {quoted(name)}{meant}")
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
    return any(map(DEVICE.match, options.overrides))


def workload(text: str, settings: Settings) -> Workload:
    """The workload on a grid (`2x3`), or on the grid that the model's own code chooses for a page image.

    Raises ArgumentError.
    """
    path = Path(text)
    if os.path.isfile(path):
        from ..files.image_size import page_size

        size = page_size(path)
        try:
            return settings.workload.on(settings.grid_of(size.width, size.height))
        except ImageError as error:
            raise ArgumentError(f"{quoted(text)}: {error}") from None
    if not GRID.match(text):
        what = "neither a grid (ROWSxCOLUMNS, as 2x3) nor the file of a page image"
        raise ArgumentError(f"{quoted(text)} is {what}{near_miss.grid(text)}")
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


def about(model: Model, work: Workload) -> dict[str, object]:
    """For a JSON document: what its numbers are of, but for the grid."""
    sizes = {name: getattr(work, name) for name in ("prompt_tokens", "new_tokens", "batch", "resolution")}
    names = {"model": model.name, "engine": model.engine.name, "precision": model.precision.name}
    return {**names, "workload": sizes}


def positions(settings: Settings, work: Workload) -> dict[str, int]:
    """For a JSON document: the positions that each page needs, and those that the decoder was made for."""
    return {"positions": page(work), "max_positions": settings.model.decoder.max_positions}


def show(*lines: str, file: TextIO | None = None) -> None:
    """Print lines, whatever names of files, models and devices hold; verdicts in colour, where that is wanted."""
    from . import screen

    plain = map(terminal_line, lines)
    print(*(map(screen.painted, plain) if screen.wanted(file or sys.stdout) else plain), sep="\n", file=file)


def print_json(document: object) -> None:
    """Print a document as JSON with one indented value a line."""
    print(json.dumps(document, indent=1))
