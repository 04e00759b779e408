"""Every chart of a sweep, each with one question; one definition gives its picture and its place in the page."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ...baselines.sweep_report import Report
from ...hardware.devices import Device
from ...model.stages import Latency
from ..columns import PARTS, Points, points
from . import lines, roofs, scales, stacks
from .drawing import OF_MEMORY, Key, Panel
from .drawing import Chart as Chart
from .scales import Grids

Drawn = tuple[tuple[Panel, ...], tuple[Key, ...]]
Definition = tuple[str, str, str, Callable[[], Drawn]]
NEAR = 0.25  # of the device's memory: if the fullest point takes less, a line at the memory's size would flatten it
MEMORY = {"weights": "weight_bytes", "KV cache": "kv_cache_bytes", "peak activations": "peak_activation_bytes"}


def charts(report: Report, baseline: Report | None = None, table: Points | None = None) -> list[Chart]:
    """The charts that a report has data for, one of them with the changes since a `baseline`."""
    if not report.points:
        return []
    table = table or points(report, baseline)
    drawn = (
        (name, title, note, draw()) for name, title, note, draw in _all(table, scales.grids(table), device(report))
    )
    return [Chart(name, title, note, *found) for name, title, note, found in drawn if found[0]]


def device(report: Report) -> Device | None:
    """The device that the floors are for, from the catalogue; None if they are for several or for an unknown one."""
    from ...sweep.config import devices

    names = {point.floor.device for point in report.points if point.floor}
    known = [each for each in devices().values() if each.name in names]
    return known[0] if len(known) == len(names) == 1 else None


def _all(table: Points, axis: Grids, on: Device | None) -> Iterator[Definition]:
    mean = ". Each value is the mean of grids with as many crops" if scales.averaged(table) else ""
    if not axis.alone:
        yield from _over_grids(table, axis, mean)
    if on and table.has("floor_ns"):
        points_are = "a dotted line leads from a measured point up to its floor"
        points_are = points_are if table.has("device_ns") else "points are floors"
        what = f"Left of the bend in the roof of {on.name} memory is the limit, right of it arithmetic; {points_are}"
        yield "roofline", "Is memory the limit, or arithmetic?", what, lambda: roofs.roofline(table, on)
    for name, title, note, what, unit, scale in (
        ("flops", "Which component does the arithmetic?", "Tensor and vector FLOPs", "flops", "TFLOP", 1e12),
        ("bytes", "Which component moves the bytes?", "Read and written, kernel by kernel", "bytes", "GB", 1e9),
    ):
        parts = {table.named(part): lines.values(table, f"{part} {what}", scale) for part in PARTS}
        if any(table.has(f"{part} {what}") for part in PARTS):
            yield name, title, f"{note}{mean}", lambda parts=parts, unit=unit: stacks.stacks(table, axis, parts, unit)  # type: ignore[misc]
    yield from _memory(table, axis, on)
    if not axis.alone:
        yield from _required(table, axis, on)


def _over_grids(table: Points, axis: Grids, mean: str) -> Iterator[Definition]:
    if table.has("device_ns"):
        note = "Median device time, the estimate's interval, and the floor"
        yield "time", "How long does a page of each grid take?", f"{note}{mean}", lambda: lines.time(table, axis)
    elif table.has("floor_ns"):
        note = "Nothing was measured: the estimate's interval, if there is one, and the floor"
        yield (
            "time",
            "How long is a page of each grid expected to take?",
            f"{note}{mean}",
            lambda: lines.time(table, axis),
        )
    if table.has("attained"):
        note = "100 % is what the device's peaks allow"
        yield "attained", "How far from the floor is each stage?", f"{note}{mean}", lambda: lines.attained(table, axis)
    if table.has("change") or table.has("was_flops"):  # every baseline has counted numbers
        yield (
            "change",
            "What changed since the baseline?",
            f"Above zero is more{mean}",
            lambda: lines.change(table, axis),
        )


def _memory(table: Points, axis: Grids, on: Device | None) -> Iterator[Definition]:
    parts = {part: lines.values(table, name, 1e9) for part, name in MEMORY.items()}
    fullest = max(map(sum, zip(*parts.values(), strict=True)))
    of, rule = "", None
    if on:
        memory = on.memory_bytes / 1e9
        of = f" of the {memory:.0f} GB of {on.name}, {100 * fullest / memory:.1f} %"
        if fullest >= NEAR * memory:
            rule = memory, f"{on.name}, {memory:.0f} GB"
    note = f"The fullest point takes {fullest:.1f} GB{of}"
    yield (
        "memory",
        "Does it fit into memory?",
        note,
        lambda: stacks.stacks(table, axis, parts, "GB", OF_MEMORY, rule, shared=True),
    )


def _required(table: Points, axis: Grids, on: Device | None) -> Iterator[Definition]:
    """The rates that keep the latency of each stage that has one: arithmetic before the first token, bytes after it."""
    peak = (on.tensor_flops_per_s / 1e12, f"{on.name}, {on.tensor_flops_per_s / 1e12:,.0f} TFLOP/s") if on else None
    rate = (on.bandwidth_bytes_per_s / 1e9, f"{on.name}, {on.bandwidth_bytes_per_s / 1e9:,.0f} GB/s") if on else None
    rates = {
        Latency.TTFT: ("tensor_flops", "tensor TFLOP/s, logarithmic", 1e12, peak),
        Latency.TPOT: ("compulsory_bytes", "compulsory GB/s, logarithmic", 1e9, rate),
    }
    note = (
        "What no device can do without: tensor FLOP/s for the time to first token, GB/s for the time per output token"
    )
    yield "required", "How fast a device keeps a latency?", note, lambda: lines.required(table, axis, rates)
