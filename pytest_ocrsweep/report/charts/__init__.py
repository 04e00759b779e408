"""Every chart of a sweep, by Vega-Altair: one definition gives its SVG and its place in the page."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from ...baselines.sweep_report import Report
from ...hardware.devices import Device
from ...model.stages import STAGES
from ..columns import BETWEEN, Points, points
from . import lines, roofs, stacks
from .style import CONFIG, averaged

if TYPE_CHECKING:
    from .style import Drawing


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart over the data set `points`; `note` says in one line what the chart shows."""

    name: str
    title: str
    note: str
    altair: Drawing
    points: Points

    def spec(self) -> dict[str, Any]:
        """Its Vega-Lite definition, without data."""
        whole: dict[str, Any] = self.altair.to_dict(validate=False)
        return {key: value for key, value in whole.items() if key not in ("config", "$schema")}

    def fields(self) -> list[str]:
        """The columns of its points that it draws."""
        text = json.dumps(self.spec())
        return [name for name in self.points.columns if name in text or name == "id"]

    def svg(self) -> str:
        """The chart as an SVG picture that loads nothing else."""
        import vl_convert

        title = {"text": self.title, "subtitle": self.note}
        spec = self.spec()
        data = {**spec.get("datasets", {}), "points": self.points.rows(self.fields())}
        whole = {**spec, "title": title, "datasets": data, "config": CONFIG}
        svg: str = vl_convert.vegalite_to_svg(json.dumps(whole))
        return svg


def charts(report: Report, baseline: Report | None = None) -> list[Chart]:
    """The charts that a report has data for, one of them with the changes since a `baseline`."""
    if not report.points:
        return []
    table = points(report, baseline)
    return [Chart(name, title, note, draw(), table) for name, title, note, draw in _all(table, device(report))]


def device(report: Report) -> Device | None:
    """The device that the floors are for, from the catalogue; None if they are for several or for an unknown one."""
    from ...sweep.config import devices

    names = {point.floor.device for point in report.points if point.floor}
    known = [each for each in devices().values() if each.name in names]
    return known[0] if len(known) == len(names) == 1 else None


Definition = tuple[str, str, str, Callable[[], "Drawing"]]


def _all(table: Points, on: Device | None) -> Iterator[Definition]:
    yield from _measured(table, on)
    yield from _counted(table, on)
    yield from _required(table, on)


def _measured(table: Points, on: Device | None) -> Iterator[Definition]:
    mean = ", the mean of grids with as many crops" if averaged(table) else ""
    if table.has("device_ns"):
        what = f"Median device and wall time of the vendor's model, and the floor{mean}"
        yield "time", "Time", what, lambda: lines.time(table)
    if table.has("attained"):
        what = f"The fraction of the device time that the device's peaks explain{mean}"
        yield "attained", "Attained fraction", what, lambda: lines.attained(table)
    if table.has(f"{BETWEEN} time"):
        what = f"Where the device time of one call, or of a decode's last step, goes{mean}"
        yield "parts-time", "Time by component", what, lambda: stacks.parts(table, "time", "ms", 1e6, "its last step")
    if table.has("change") or any(table.has(f"was_{name}") for name in ("device_ns", "moved_bytes")):
        yield "change", "Baseline against now", f"Above zero is more than before{mean}", lambda: lines.change(table)
    if on and table.has("floor_ns"):
        what = f"Hollow: the most that {on.name} allows. Filled: measured on the vendor's model"
        yield "roofline", "Roofline", what, lambda: roofs.roofline(table, on)


def _counted(table: Points, on: Device | None) -> Iterator[Definition]:
    mean = ", the mean of grids with as many crops" if averaged(table) else ""
    yield "flops", "FLOPs", f"Tensor and vector FLOPs; the same in both attentions{mean}", lambda: lines.flops(table)
    for scale, log in (("linear", False), ("log", True)):
        title, what = f"Tensor and vector FLOPs, {scale}", f"Matmul and convolution, and all else{mean}"
        yield f"split-{scale}", title, what, partial(lines.split, table, log=log)
    what = f"What each kernel reads and writes, and what no device can avoid{mean}"
    yield "bytes", "Bytes moved", what, lambda: lines.moved(table)
    what = f"Above the ridge the tensor cores are the limit, below it memory is{mean}"
    yield "intensity", "FLOPs per byte", what, lambda: lines.intensity(table, on)
    fullest = stacks.fullest(table)
    holds = (
        f"the fullest point takes {fullest / 1e9:.1f} GB of the {on.memory_bytes / 1e9:.0f} GB of {on.name}, "
        f"{100 * fullest / on.memory_bytes:.1f} %"
        if on
        else f"the fullest point takes {fullest / 1e9:.1f} GB"
    )
    yield "memory", "Memory", f"Weights, KV cache and peak activations: {holds}", lambda: stacks.memory(table, on)
    if any(":" in name for name in table.columns):
        what = f"Where the FLOPs are{mean}"
        yield "parts-flops", "FLOPs by component", what, lambda: stacks.parts(table, "flops", "TFLOP", 1e12)
        what = f"Where the bytes are moved, kernel by kernel{mean}"
        yield "parts-bytes", "Bytes by component", what, lambda: stacks.parts(table, "bytes", "GB", 1e9)
    if any(table.columns["kv_cache_bytes"]):
        yield "kv-cache", "KV cache", f"Keys and values by the shape of the page{mean}", lambda: lines.kv_cache(table)


def _required(table: Points, on: Device | None) -> Iterator[Definition]:
    """The rates that keep the latency of each stage that has one."""
    latencies = {name: stage.latency for name, stage in STAGES.items() if stage.latency}
    if not latencies.keys() & set(table.columns["stage"]):
        return
    times = [f"a {latency.value} ({latency.name}, {stage})" for stage, latency in latencies.items()]
    what = f"What keeps {' and '.join(times)}"
    peak = (on.tensor_flops_per_s / 1e12, f"{on.name}, {on.tensor_flops_per_s / 1e12:,.0f} TFLOP/s") if on else None
    rate = (on.bandwidth_bytes_per_s / 1e9, f"{on.name}, {on.bandwidth_bytes_per_s / 1e9:,.0f} GB/s") if on else None
    unit = "tensor TFLOP/s, logarithmic"
    yield "required-flops", "Required TFLOP/s", what, lambda: roofs.required(table, "tensor_flops", unit, 1e12, peak)
    if table.has("compulsory_bytes"):
        unit, what = "compulsory GB/s, logarithmic", f"{what}, on compulsory traffic"
        yield (
            "required-bytes",
            "Required GB/s",
            what,
            lambda: roofs.required(table, "compulsory_bytes", unit, 1e9, rate),
        )
