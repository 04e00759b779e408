"""`ocrsweep calibrate`: the constants of a GPU, measured on it, or fitted again to what was measured before."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from ..errors import ArgumentError
from ..files import atomic
from ..files.text import quoted
from ..hardware import calibration_file
from ..hardware.calibration import CONSTANTS, Calibration
from ..hardware.calibration_file import calibration_of, to_json
from ..hardware.calibration_points import FITTED, JUDGED
from ..hardware.profile import Point, Profile, Profiles, read, weight_bytes, write
from ..report.table import aligned
from ..sweep.catalogue import model_of
from ..sweep.config import device_of
from ..sweep.rules import require_profiled
from . import flags
from .flags import Subparsers
from .output_file import refuse_other

if TYPE_CHECKING:
    from ..hardware.devices import Device
    from ..model.analytic import Model
    from ..sweep.settings import Settings

EXAMPLES = """\
examples:
  ocrsweep calibrate --output my-gpu.json --profiles my-gpu.jsonl.gz    about three minutes on a GPU
  ocrsweep cost 2x3 --set device.calibration=my-gpu.json                estimates by it
  ocrsweep calibrate --from my-gpu.jsonl.gz --validate                  how well it does, split by split
  ocrsweep calibrate --from my-gpu.jsonl.gz --output my-gpu.json        fitted again, without a GPU

It profiles 29 points line by line. 13 of them fit the constants; the other 16 give the interval of the estimates.
"""


def add(subparsers: Subparsers) -> None:
    parser = subparsers.add_parser(
        "calibrate",
        help="the constants of this GPU, from which estimates are made",
        description="Profiles points on this GPU line by line, and fits the constants from which estimates are made.",
        epilog=EXAMPLES,
    )
    fixed = "the points of a calibration are always the same"
    refused = dict.fromkeys(("batch", "prompt_tokens", "new_tokens", "resolution"), fixed)
    flags.add_settings(parser, ("model", "engine", "device"), refused)
    parser.add_argument("--output", metavar="FILE", type=flags.path, help="write the calibration there, as JSON")
    parser.add_argument("--profiles", metavar="FILE", type=flags.path, help="keep the profiles there: NAME.jsonl.gz")
    parser.add_argument("--from", metavar="FILE", dest="source", type=flags.path, help="profiles, instead of a GPU")
    parser.add_argument("--validate", action="store_true", help="print the errors at points that a fit left out")
    flags.add_json(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    for one, other in (("source", "profiles"), ("validate", "output")):
        if getattr(options, one) and getattr(options, other):
            raise ArgumentError(f"--{'from' if one == 'source' else one} and --{other} exclude each other: keep one")
    _check_places(options)
    settings = require_profiled(flags.compose(options))
    model = model_of(settings)
    if options.source:
        profiles = read(options.source)
        profiles.check(model)
        device = _device(options, settings, profiles.device)
    else:
        profiles, device = _measured(options, settings, model)
    if options.validate:
        _validate(model, device, profiles, as_json=options.json)
        return 0
    calibration = _calibrated(model, device, profiles)
    document = to_json(calibration)
    if options.output:
        atomic.write(options.output, json.dumps(document, indent=1) + "\n")
    if options.json:
        flags.print_json(document)
    else:
        flags.show(*_lines(calibration))
    return 0


def _check_places(options: argparse.Namespace) -> None:
    """Raises ArgumentError for a file that would be lost, or not be written, after minutes of measuring."""
    if options.output:
        refuse_other(options.output, calibration_file.read, "a calibration")
    if options.profiles:
        refuse_other(options.profiles, read, "a file of profiles")
    if options.output and options.profiles and options.output.resolve() == options.profiles.resolve():
        raise ArgumentError("--output and --profiles are one file: give each its own")


def _calibrated(model: Model, device: Device, profiles: Profiles) -> Calibration:
    from ..hardware.fit import calibrate

    return calibrate(model, device, _chosen(profiles, FITTED), _chosen(profiles, JUDGED))


def _chosen(profiles: Profiles, points: Iterable[Point]) -> Profiles:
    return replace(profiles, points=tuple(profiles.of(points)))


def _device(options: argparse.Namespace, settings: Settings, gpu: str) -> Device:
    """The device whose sheet the constants are scaled by. Raises ArgumentError for a GPU whose sheet is not known."""
    described, known = flags.described(options), device_of(gpu)
    if known is None and not described:
        hint = (
            "give its sheet, from that of a like one: --device NAME --set device.bandwidth_bytes_per_s=RATE and so on"
        )
        raise ArgumentError(f"{quoted(gpu)} is not in the catalogue; {hint}")
    device = settings.device if described else known
    assert device is not None
    if known is not None and not (device.name == gpu or device.name.startswith(f"{gpu} with ")):
        raise ArgumentError(f"the profiles are of {quoted(gpu)}, not of {device.name}; leave the device out")
    return device if known is not None else replace(device, name=gpu)


def _measured(options: argparse.Namespace, settings: Settings, model: Model) -> tuple[Profiles, Device]:
    from ..sweep.profiling import Profiler

    begun, points = time.monotonic(), [*FITTED, *JUDGED]
    taken: list[Profile] = []
    with Profiler(settings, model) as profiler:
        device = _device(options, settings, profiler.gpu)  # before minutes of measuring
        for number, point in enumerate(points, start=1):
            taken.append(profiler.profile(point.stage, point.work, point.attention))
            passed = f"{time.monotonic() - begun:.0f} s"
            flags.show(f"{number}/{len(points)} {taken[-1].label}, {passed}", file=sys.stderr)
        of_model = model.name, weight_bytes(model)
        profiles = Profiles(profiler.gpu, profiler.environment(), tuple(taken), *of_model)
    if options.profiles:
        write(options.profiles, profiles)
    return profiles, device


def _lines(calibration: Calibration) -> list[str]:
    rows: list[Sequence[str]] = [["constant", "value", "from", "to", "unit", "what it is"]]
    for name, constant in calibration.constants.items():
        unit, about = CONSTANTS[name]
        rows.append([name, *(f"{number:.4g}" for number in (constant.value, constant.low, constant.high)), unit, about])
    spread = ", ".join(f"{stage} {100 * (factor - 1):.1f} %" for stage, factor in calibration.spread.items())
    return [
        f"{calibration.device}: fitted to {len(calibration.fitted)} points, judged by {len(calibration.judged)} others",
        *aligned(rows, left=(0, 4, 5)),
        f"nine of ten measured times are at most so far from the estimate: {spread}",
    ]


def _validate(model: Model, device: Device, profiles: Profiles, *, as_json: bool) -> None:
    from ..hardware.validation import validate

    results = list(validate(model, device, profiles, calibration_of(device)))
    if as_json:
        flags.print_json([result._asdict() for result in results])
        return
    rows: list[Sequence[str]] = [["fitted to", "points", "judged", "MAPE %", "max %", "inside %", "the worst"]]
    for r in results:
        inside = "" if r.inside is None else f"{100 * r.inside:.1f}"
        numbers = [f"{100 * r.mean_error:.2f}", f"{100 * r.largest_error:.2f}", inside]
        rows.append([r.name, str(r.fitted), str(r.judged), *numbers, r.worst])
    flags.show(f"{quoted(profiles.device)}, {len(profiles.points)} profiled points", *aligned(rows, left=(0, 6)))
