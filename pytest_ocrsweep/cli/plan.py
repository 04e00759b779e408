"""`ocrsweep plan`: what serving pages comes to on an engine and a device, and what bounds it."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from textwrap import wrap
from typing import TYPE_CHECKING

from ..errors import ArgumentError, PlanError
from ..files.text import quoted
from ..hardware.devices import Device
from ..hardware.engine_times import How
from ..hardware.plan import BOUNDS, HOST, Number, Plan, Share, plan
from ..model.limits import uncut
from ..report.table import aligned
from ..sweep.catalogue import model_of
from ..sweep.settings import MOST, Settings
from . import flags, measured, screen
from .flags import Subparsers
from .speeds import shown

if TYPE_CHECKING:
    from ..hardware.host_fit import HostFit
    from ..model.analytic import Model
    from ..model.engine import Engine

DOLLARS = "dollars_per_million_pages"
NUMBERS = {  # of a plan, by its JSON key: how a row is called
    "pages_per_s": "pages/s",
    "ttft_ms": "time to first token, ms",
    "tpot_ms": "time per token, ms",
    DOLLARS: "dollars a million pages",
    "joules_per_page": "joules a page",
    "host_cores": "host cores that render",
}
TABLE = ("device", "mode", "pages/s", "nine of ten", "TTFT ms", "TPOT ms", "most at once", "$ a million", "bound")
IMPORTANT = ("pages/s", "nine of ten", "TTFT ms", "TPOT ms", "$ a million", "most at once")
WIDTH = 80  # of a line that lists parts
EXAMPLES = """\
examples:
  ocrsweep plan 3x2 --device h100 --engine vllm --concurrency 64 --new-tokens 100 --price 2.5
  ocrsweep plan 3x2:7 1x1:3 --engine vllm               seven pages of 3x2 for three of 1x1, on every device
  ocrsweep plan page.png --engine vllm --modes          in every resolution mode
  ocrsweep plan 3x2 --engine vllm --device h200 --measured loads.jsonl     with the host that these were timed on

`--concurrency` pages are always in flight. Without `--engine` the reference model's own forward is planned, as CUDA
graphs, all pages as one batch. Each number says whether it is estimated, with the interval that holds nine of ten, or a
floor, which nothing goes below. What the host takes was measured on three machines (engine.host); --measured fits it to
another. engine.start.encoder_graphs=true plans the tower as vLLM's graphs. `--price` is dollars an hour for the device.
"""


def add(subparsers: Subparsers) -> None:
    parser = subparsers.add_parser(
        "plan",
        help="pages a second, latencies and dollars of serving pages, and what bounds them",
        description="What serving a page, or a mix of pages, comes to on an engine and a device.",
        epilog=EXAMPLES,
    )
    text = "a grid (3x2) or the file of a page image, with :WEIGHT for its part of a mix"
    parser.add_argument("targets", metavar="PAGE", nargs="+", help=text)
    flags.add_devices(parser)
    parser.add_argument("--concurrency", metavar="N", type=flags.count, default=1, help="pages in flight (default: 1)")
    parser.add_argument("--price", metavar="DOLLARS", type=_figure, help="of an hour of the device")
    parser.add_argument("--cores", metavar="N", type=_figure, help="that render pages (default: enough)")
    parser.add_argument("--measured", metavar="FILE", help="timed loads, from python -m pytest_ocrsweep.engines --save")
    parser.add_argument("--modes", action="store_true", help="a row for each resolution mode")
    refused = {"batch": "an engine makes its batches itself; --concurrency says how many pages are in flight"}
    flags.add_settings(parser, ("model", "engine", "prompt_tokens", "new_tokens", "resolution"), refused)
    flags.add_json(parser)
    parser.set_defaults(run=run)


def _figure(text: str) -> float:
    """For `type=`: a positive number whose products with others are numbers too."""
    value = flags.positive(text)
    if not 1 / MOST <= value <= MOST:
        raise argparse.ArgumentTypeError(f"must be a number from {1 / MOST:g} to {MOST:g}, got {quoted(text)}")
    return value


def run(options: argparse.Namespace) -> int:
    settings = flags.compose(options)
    if settings.workload.batch != 1:
        raise ArgumentError(f"workload.batch={settings.workload.batch} says nothing of a plan: set --concurrency")
    if settings.workload.pages != 1:
        raise ArgumentError(f"workload.pages={settings.workload.pages}: a plan is of prompts with one page")
    _check_engine(settings.engine, options.cores)
    catalogue = flags.compared(options, settings)
    model, fit = _measured(options, settings, catalogue)
    modes = list(settings.model.tiling.modes) if options.modes else [settings.workload.resolution]
    found = [
        (name, mode, _planned(options, settings, model, device, mode))
        for name, device in catalogue.items()
        for mode in modes
    ]
    if options.json:
        of = {"model": model.name, "precision": model.precision.name, "pages": options.targets}
        of["prompt_tokens"] = settings.workload.prompt_tokens
        if fit is not None:
            of["measured"] = measured.document(options.measured, fit)
        plans = [{**of, "mode": mode, **_document(each)} for _, mode, each in found if isinstance(each, Plan)]
        flags.print_json(plans[0] if len(found) == 1 else plans)
    elif len(found) == 1:
        flags.show(*_page(options, settings, found[0][2], fit))
    else:
        table = screen.fitted([TABLE, *(_row(*each) for each in found)], IMPORTANT)
        flags.show(_title(options, settings), "", *table, *_of_host(options, fit))
    if not (options.json or options.modes):
        for line in uncut(settings.model, settings.engine, [_share(text, settings).work for text in options.targets]):
            flags.show(line)
    return 0


def _check_engine(engine: Engine, cores: float | None) -> None:
    """Raises ArgumentError for a way to start the engine that no plan knows, or for cores that it cannot price."""
    if cores is not None and None in (engine.host.render_view_ns, engine.host.render_crop_ns):
        how = "set engine.host.render_view_ns and engine.host.render_crop_ns"
        raise ArgumentError(f"--cores bounds nothing: how long {engine.name} renders a page is not known; {how}")
    if engine.start.enforce_eager:
        raise ArgumentError("engine.start.enforce_eager=true: steps without CUDA graphs are not planned; leave it out")
    if engine.start.encoder_graphs and not engine.captured_views:
        raise ArgumentError(f"engine.start.encoder_graphs=true: {engine.name} has no encoder graphs; leave it out")


def _measured(
    options: argparse.Namespace, settings: Settings, catalogue: Mapping[str, Device]
) -> tuple[Model, HostFit | None]:
    """The engine, with the host that was measured. Raises ArgumentError."""
    model = model_of(settings)
    if options.measured is None:
        return model, None
    if len(catalogue) != 1:
        raise ArgumentError("--measured is of one GPU: choose it with --device")
    from ..hardware.host_fit import fitted_host

    (device,) = catalogue.values()
    fit = fitted_host(model, device, measured.loads(options.measured, model, device))
    measured.check(options.measured, fit)
    return replace(model, engine=replace(model.engine, host=fit.host)), fit


def _planned(options: argparse.Namespace, settings: Settings, model: Model, device: Device, mode: str) -> Plan | str:
    """The plan; or, if many plans are asked for, why this one cannot be made."""
    workload = replace(settings.workload, resolution=mode)
    mix = [_share(text, replace(settings, workload=workload)) for text in options.targets]
    try:
        return plan(model, mix, device, options.concurrency, options.price, options.cores)
    except PlanError as error:
        if options.modes or len(options.devices) != 1:
            return error.message
        raise


def _share(text: str, settings: Settings) -> Share:
    """A page and its weight. A mode without crops reads any page as one view. Raises ArgumentError."""
    name, colon, weight = text.rpartition(":")
    if not colon or os.path.isfile(text):
        name, weight = text, "1"
    try:
        number = _figure(weight)
    except argparse.ArgumentTypeError as error:
        raise ArgumentError(f"{quoted(text)}: a weight {error}") from None
    if settings.model.tiling.sides(settings.workload.resolution).crop_side is None and not os.path.isfile(name):
        name = "1x1"
    return Share(flags.workload(name, settings), number)


def _title(options: argparse.Namespace, settings: Settings) -> str:
    tokens = settings.workload.new_tokens
    pages = " ".join(_named(text, settings) for text in options.targets)
    new = f"{tokens:,} new token{'s' * (tokens != 1)}"
    return f"{model_of(settings).title}, {pages}: {options.concurrency:,} in flight, {new}"


def _named(text: str, settings: Settings) -> str:
    """A page as it was given, with its grid if that is another word."""
    grid = str(_share(text, settings).work.grid)
    return text if text.partition(":")[0] == grid else f"{text} ({grid})"


def _page(options: argparse.Namespace, settings: Settings, found: Plan | str, fit: HostFit | None) -> Iterator[str]:
    assert isinstance(found, Plan)  # one plan is made, or its error is raised
    yield f"{_title(options, settings)}, on {found.device}"
    yield ""
    asked = {name: title for name, title in NUMBERS.items() if name != DOLLARS or options.price is not None}
    rows = [(title, *_cells(getattr(found, name))) for name, title in asked.items()]
    if found.tpot_ms is None:
        rows[list(asked).index("tpot_ms")] = (asked["tpot_ms"], "-", "-", "no second token")
    yield from aligned([("", "value", "nine of ten", "is"), *rows])
    yield ""
    together = settings.engine.most_step_tokens is None
    fills = "one prefill of them all fills the memory" if together else "their KV caches fill the memory"
    why = fills if found.by_memory else f"{found.engine} takes no more"
    yield f"at most {found.max_concurrency:,} such pages are in flight: {why}"
    pages = min(found.concurrency, found.max_concurrency)
    steps = found.tpot_ms is not None and found.bound != HOST  # fewer are in flight where cores bind
    if steps and (padded := settings.engine.step_rows(pages)) > pages:
        yield f"a decode step of {pages} pages runs as one of {padded}, the next size that {found.engine} captured"
    whole = sum(found.parts_ms.values())
    parts = sorted(found.parts_ms.items(), key=lambda part: -part[1])
    shares = ", ".join(f"{name} {shown(ms)} ({100 * ms / whole:.0f} %)" for name, ms in parts if ms > 0)
    yield from wrap(f"a page takes {shown(whole)} ms of the device: {shares}", WIDTH, subsequent_indent="  ")
    yield f"bound by {found.bound}: {BOUNDS[found.bound]}"
    yield from (f"wide: {reason}" for reason in found.reasons)
    host = settings.engine.host
    if host.launch_ns is None and host.step_ns is None:
        batch = ", all pages as one batch" if together else ""
        yield f"host: not known of {found.engine}; planned as CUDA graphs{batch}"
    yield from _of_host(options, fit)


def _of_host(options: argparse.Namespace, fit: HostFit | None) -> Iterator[str]:
    """What measured loads said of the host, if there are some."""
    for line in () if fit is None else measured.lines(options.measured, fit):
        yield from wrap(line, WIDTH, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)


def _cells(number: Number | None) -> tuple[str, str, str]:
    if number is None:
        return "-", "-", "not known"
    if number.how is How.FLOOR:
        sign = "<=" if number.low is None else ">="
        return f"{sign} {shown(number.value)}", "-", number.how
    assert number.low is not None
    assert number.high is not None
    return shown(number.value), f"{shown(number.low)} to {shown(number.high)}", number.how


def _row(device: str, mode: str, found: Plan | str) -> Sequence[str]:
    if isinstance(found, str):
        return (device, mode, *"-" * 6, found.rstrip(";"))
    value, between, _ = _cells(found.pages_per_s)
    others = (_cells(each)[0] for each in (found.ttft_ms, found.tpot_ms))
    dollars = _cells(found.dollars_per_million_pages)[0]
    return (device, mode, value, between, *others, f"{found.max_concurrency:,}", dollars, found.bound)


def _document(found: Plan) -> dict[str, object]:
    """A plan's numbers by their keys, and the interval of each and where it comes from beside them."""
    flat = {name: None if (number := getattr(found, name)) is None else number.value for name in NUMBERS}
    about = {name: None if (number := getattr(found, name)) is None else asdict(number) for name in NUMBERS}
    others = {
        name: getattr(found, name) for name in ("device", "engine", "concurrency", "new_tokens", "max_concurrency")
    }
    return {**others, **flat, "bound": found.bound, "parts_ms": found.parts_ms, "numbers": about, "wide": found.reasons}
