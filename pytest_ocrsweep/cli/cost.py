"""`ocrsweep cost`: what one grid or page image costs, as a tree of parts."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, NamedTuple

from ..baselines.json_layout import Json
from ..baselines.metrics import DERIVED, EXACT, METRICS, Metric, analytic
from ..baselines.result import FloorResult, PointResult
from ..baselines.result_json import FLOOR, POINT
from ..errors import ArgumentError, CalibrationError
from ..files import near_miss
from ..hardware import roofline
from ..hardware.estimate import Estimate, estimate
from ..model.limits import uncut
from ..model.positions import beyond
from ..model.stages import STAGES
from ..sweep.catalogue import model_of
from . import flags, screen
from .flags import Subparsers

if TYPE_CHECKING:
    from ..hardware.devices import Device
    from ..model.ledger import Ledger

# In smaller units than METRICS has, since parts are small.
SHOWN = {
    "flops": Metric("FLOP", DERIVED, "GFLOP", 10**9, 2),
    "moved_bytes": Metric("bytes", DERIVED, "GB moved", 10**9, 3),
    "weight_bytes": Metric("bytes", EXACT, "weights MB", 10**6, 1),
    "floor_ns": Metric("ns", DERIVED, "floor ms", 10**6, 3),
}
IMPORTANT = ("GFLOP", "GB moved", "bound", "%", "weights MB")  # columns, beside the part and its floor
OF_A_RUN = ("floor", "vendor", "verdict", "components")  # of a point's JSON
SHARED = ("flops", "moved_bytes")  # shown with their share of the stage

EXAMPLES = """\
examples:
  ocrsweep cost 2x3                                    every stage, a line for each component
  ocrsweep cost page.png --batch 8                     eight pages like this one
  ocrsweep cost 3x3 --stage prefill --attention eager --depth 3
  ocrsweep cost 2x3 --stage decode --path decoder/attn --depth 2 --device rtx-4090
  ocrsweep cost 1x1 --resolution base --json

A decode's numbers cover all its new tokens. The floor is the least time that the device's peak rates and the compulsory
traffic allow; nothing runs faster. Bytes moved are those that each kernel reads and writes.
"""


class Node(NamedTuple):
    """A part of a ledger: its label in the tree, with the branches before it, and its path."""

    drawn: str
    path: str


def add(subparsers: Subparsers) -> None:
    parser = subparsers.add_parser(
        "cost",
        help="what one grid or page image costs, as a tree",
        description="What one grid or page image costs: FLOPs, bytes, weights, and the floor on a device.",
        epilog=EXAMPLES,
    )
    flags.add_target(parser)
    flags.add_stages(parser)
    flags.add_attention(parser)
    flags.add_settings(parser, flags.ALL)
    parser.add_argument("--path", metavar="PATH", default="", help="only this part of each stage: decoder/attn")
    parser.add_argument("--depth", metavar="N", type=flags.whole, default=1, help="levels of the tree (default: 1)")
    flags.add_json(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    settings = flags.compose(options)
    work, model, device = flags.workload(options.target, settings), model_of(settings), settings.device
    path, depth = options.path.strip("/"), options.depth
    ledgers = [model.ledger(stage, work, options.attention) for stage in options.stages or STAGES]
    ledgers = _holding(ledgers, path)
    if options.json:
        stages = [_document(ledger, device, path, depth) for ledger in ledgers]
        about = {
            **flags.about(model, work),
            "device": device.name,
            **flags.positions(settings, work),
            **({"pages": work.pages} if work.pages > 1 else {}),
        }
        flags.print_json({**about, "stages": stages})
        return 0
    prompt = f"{work.image_tokens:,} image + {work.prompt_tokens:,} prompt = {work.context_tokens:,} tokens"
    together = f", {work.pages} pages in each prompt" if work.pages > 1 else ""
    flags.show(
        f"{model.title} {work.grid}, {options.attention}: {prompt}, batch {work.batch:,}, {work.resolution}{together}"
    )
    if not model.precision.is_native:
        fp8 = "products of 8-bit weights run in fp8, others" if model.precision.fp8_products else "products run"
        flags.show(f"weights are stored in {model.precision.name}; {fp8} in {settings.model.dtype}")
    for ledger in ledgers:
        flags.show("", *_tree(ledger, device, path, depth), *_notes(ledger, device))
    runs = ((ledger.stage, work) for ledger in ledgers)
    for line in (*uncut(settings.model, settings.engine, [work]), *beyond(settings.model, runs)):
        flags.show("", line)
    return 0


def _holding(ledgers: Sequence[Ledger], path: str) -> list[Ledger]:
    """The ledgers that have a part at `path`. Raises ArgumentError if no ledger has one."""
    holding = [ledger for ledger in ledgers if path in _paths(ledger)]
    if not holding:
        known = {name: None for ledger in ledgers for name in _paths(ledger) if name}
        near = near_miss.nearest(path, known)
        first = ", ".join(name for name in known if "/" not in name)
        hint = f"did you mean {near!r}?" if near else f"it begins with {first}"
        raise ArgumentError(f"--path: nothing costs at {path!r}; {hint}")
    return holding


def _paths(ledger: Ledger) -> dict[str, list[str]]:
    """Each part's path with the paths directly below it, in the order in which they run; "" is the whole stage."""
    below: dict[str, dict[str, None]] = {"": {}}
    for line in ledger.lines:
        parts = line.path.split("/")
        for at in range(len(parts)):
            parent, child = "/".join(parts[:at]), "/".join(parts[: at + 1])
            below.setdefault(parent, {})[child] = None
            below.setdefault(child, {})
    return {path: list(children) for path, children in below.items()}


def _nodes(ledger: Ledger, root: str, depth: int) -> Iterator[Node]:
    below = _paths(ledger)

    def under(path: str, indent: str, levels: int) -> Iterator[Node]:
        children = below[path] if levels else []
        for child in children:
            branch, stem = ("└─ ", "   ") if child == children[-1] else ("├─ ", "│  ")
            yield Node(indent + branch + child.rpartition("/")[2], child)
            yield from under(child, indent + stem, levels - 1)

    yield Node(root or ledger.stage, root)
    yield from under(root, "", depth)


def _tree(ledger: Ledger, device: Device, root: str, depth: int) -> list[str]:
    total = ledger.total()
    whole = {"flops": total.flops, "moved_bytes": total.moved_bytes}
    header = [cell for name, metric in SHOWN.items() for cell in (metric.heading, *(["%"] if name in SHARED else []))]
    cells = [[ledger.stage, *header, "bound"]]
    for drawn, path in _nodes(ledger, root, depth):
        cost, floor = ledger.total(path), roofline.floor(ledger, device, path)
        numbers = {
            "flops": cost.flops,
            "moved_bytes": cost.moved_bytes,
            "weight_bytes": ledger.weights(path),
            "floor_ns": floor.time_ns,
        }
        row = [drawn]
        for name, metric in SHOWN.items():
            row.append(metric.show(numbers[name]))
            if name in SHARED:
                row.append(f"{100 * numbers[name] / whole[name]:.1f}")
        cells.append([*row, floor.bound if floor.time_ns else "-"])
    return screen.fitted(cells, IMPORTANT, left=(0, -1))


def _notes(ledger: Ledger, device: Device) -> list[str]:
    """Lines about the stage as a whole: its times on the device, its memory."""
    ms = METRICS["floor_ns"].show
    floor, limit = roofline.floor(ledger, device), roofline.kernel_limit(ledger, device)
    peak = METRICS["peak_activation_bytes"].show(ledger.peak_activation_bytes)
    cache = METRICS["kv_cache_bytes"].show(ledger.kv_cache_bytes)
    tokens = f"{ledger.steps:,} new token{'s' * (ledger.steps != 1)}"
    over = f", over {tokens}" if STAGES[ledger.stage].per_token else ""
    times = [
        *_expected(ledger, device),
        ("floor", f"{ms(floor.time_ns)} ms ({floor.bound}): nothing runs faster"),
        ("kernel limit", f"{ms(limit)} ms: each kernel by itself, at the device's limits"),
    ]
    return [
        f"{ledger.stage} on {device.name}{over}:",
        *(f"  {name:<13} {text}".rstrip() for name, text in times),
        *_in_fp8(ledger),
        f"activations peak at {peak} GB, in {ledger.peak_path}",
        f"the KV cache is {cache} MB at the end",
    ]


def _in_fp8(ledger: Ledger) -> Iterator[str]:
    """How many tensor FLOPs are of 8-bit floats, if some are."""
    if fp8 := ledger.fp8_tensor_flops:
        show, share = SHOWN["flops"].show, 100 * fp8 / ledger.tensor_flops
        yield f"{show(fp8)} of {show(ledger.tensor_flops)} tensor GFLOP, {share:.1f} %, are of 8-bit floats"


def _expected(ledger: Ledger, device: Device) -> Iterator[tuple[str, str]]:
    """What the stage is expected to take, and where that time goes, the largest part first."""
    ms = METRICS["floor_ns"].show
    try:
        expected = estimate(ledger, device)
    except CalibrationError as error:
        yield "estimate", f"none: {error.message}"
        yield "", str(error.hint)
        return
    yield "estimate", f"{ms(expected.time_ns)} ms; nine of ten times {ms(expected.low_ns)} to {ms(expected.high_ns)}"
    parts = sorted(expected.terms.items(), key=lambda term: -term[1])
    shown = [f"{name} {ms(ns)}" for name, ns in parts if ns >= expected.time_ns / 1000]
    for start in range(0, len(shown), 4):
        yield "", ", ".join(shown[start : start + 4])
    for reason in expected.reasons:
        yield "", f"wide, as it is {reason}" if reason.startswith("scaled") else f"wide: {reason}"


def _estimate(ledger: Ledger, device: Device) -> Estimate | None:
    try:
        return estimate(ledger, device)
    except CalibrationError:
        return None


def _document(ledger: Ledger, device: Device, root: str, depth: int) -> Json:
    """A stage's point as `sweep.json` has it, without what only a run finds, and with its parts."""
    point = PointResult.of(ledger.stage, ledger.work, ledger.attention, analytic(ledger))
    counted = {name: value for name, value in POINT.write(point).items() if name not in OF_A_RUN}
    if fp8 := ledger.fp8_tensor_flops:
        counted["analytic"]["fp8_tensor_flops"] = fp8
    parts = [_part(ledger, device, path) for _, path in _nodes(ledger, root, depth)]
    expected = _estimate(ledger, device)
    return {
        **counted,
        "peak_path": ledger.peak_path,
        "estimate": None if expected is None else asdict(expected),
        "kernel_limit_ns": roofline.kernel_limit(ledger, device),
        "parts": parts,
    }


def _part(ledger: Ledger, device: Device, path: str) -> Json:
    floor = FLOOR.write(FloorResult.of(ledger, device, path=path))
    known = {name: value for name, value in floor.items() if value is not None}
    cost = asdict(ledger.total(path))
    if not ledger.fp8_tensor_flops:
        del cost["fp8_tensor_flops"]
    return {"path": path, **cost, "weight_bytes": ledger.weights(path), "floor": known}
