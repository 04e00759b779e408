"""Every chart of a sweep by Vega-Altair, one definition for its SVG and for the page; without data it is left out."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from ...baselines.sweep_report import Report
from ...hardware.roofline import Device
from ..columns import Points, points
from . import lines, roofs, stacks
from .style import CONFIG, averaged


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart over the data set `points`; `note` says in one line what it shows."""

    name: str
    title: str
    note: str
    altair: Any
    points: Points

    def spec(self) -> dict[str, Any]:
        """Its Vega-Lite definition, without data."""
        found: dict[str, Any] = self.altair.to_dict(validate=False)
        return {key: value for key, value in found.items() if key not in ("config", "$schema")}

    def fields(self) -> list[str]:
        """The columns of its points that it draws."""
        text = json.dumps(self.spec())
        return [name for name in self.points.columns if name in text or name == "id"]

    def svg(self) -> str:
        """The chart as a picture that needs nothing else."""
        import vl_convert

        title = {"text": self.title, "subtitle": self.note}
        spec = self.spec()
        data = {**spec.get("datasets", {}), "points": self.points.rows(self.fields())}
        whole = {**spec, "title": title, "datasets": data, "config": CONFIG}
        drawn: str = vl_convert.vegalite_to_svg(json.dumps(whole))
        return drawn


def charts(report: Report, baseline: Report | None = None) -> list[Chart]:
    """The charts of a report, and what moved since a `baseline`."""
    if not report.points:
        return []
    found = points(report, baseline)
    return [Chart(name, title, note, draw(), found) for name, title, note, draw in _all(found, device(report))]


def device(report: Report) -> Device | None:
    """The device of the floors, as the catalogue has it; None where there is none, or several."""
    from ...sweep.config import devices

    names = {point.floor.device for point in report.points if point.floor}
    known = [each for each in devices().values() if each.name in names]
    return known[0] if len(known) == len(names) == 1 else None


Definition = tuple[str, str, str, Callable[[], Any]]


def _all(found: Points, on: Device | None) -> Iterator[Definition]:
    yield from _measured(found, on)
    yield from _counted(found, on)
    yield from _required(found, on)


def _measured(found: Points, on: Device | None) -> Iterator[Definition]:
    mean = ", the mean of grids with as many crops" if averaged(found) else ""
    if found.has("device_ns"):
        what = f"Median device and wall time of the vendor's model, and the floor{mean}"
        yield "time", "Time", what, lambda: lines.time(found)
    if found.has("attained"):
        what = f"The fraction of the device time that the device's peaks explain{mean}"
        yield "attained", "Attained fraction", what, lambda: lines.attained(found)
    if found.has("change") or any(found.has(f"was_{name}") for name in ("device_ns", "moved_bytes")):
        yield "change", "Baseline against now", f"Above zero is more than before{mean}", lambda: lines.change(found)
    if on and found.has("floor_ns"):
        what = f"Hollow: the most that {on.name} allows. Filled: measured on the vendor's model"
        yield "roofline", "Roofline", what, lambda: roofs.roofline(found, on)


def _counted(found: Points, on: Device | None) -> Iterator[Definition]:
    mean = ", the mean of grids with as many crops" if averaged(found) else ""
    yield "flops", "FLOPs", f"Tensor and vector FLOPs; the same in both attentions{mean}", lambda: lines.flops(found)
    for scale, log in (("linear", False), ("log", True)):
        title, what = f"Tensor and vector FLOPs, {scale}", f"Matmul and convolution, and all else{mean}"
        yield f"split-{scale}", title, what, partial(lines.split, found, log=log)
    what = f"What each kernel reads and writes, and what no device can avoid{mean}"
    yield "bytes", "Bytes moved", what, lambda: lines.moved(found)
    what = f"Above the ridge the tensor cores are the limit, below it memory is{mean}"
    yield "intensity", "FLOPs per byte", what, lambda: lines.intensity(found, on)
    fullest = stacks.fullest(found)
    holds = (
        f"the fullest point takes {fullest / 1e9:.1f} GB of the {on.memory_bytes / 1e9:.0f} GB of {on.name}, "
        f"{100 * fullest / on.memory_bytes:.1f} %"
        if on
        else f"the fullest point takes {fullest / 1e9:.1f} GB"
    )
    yield "memory", "Memory", f"Weights, KV cache and peak activations: {holds}", lambda: stacks.memory(found, on)
    if any(":" in name for name in found.columns):
        what = f"Where the FLOPs are{mean}"
        yield "parts-flops", "FLOPs by component", what, lambda: stacks.parts(found, "flops", "TFLOP", 1e12)
        what = f"Where the bytes are moved, kernel by kernel{mean}"
        yield "parts-bytes", "Bytes by component", what, lambda: stacks.parts(found, "bytes", "GB", 1e9)
    if any(found.columns["kv_cache_bytes"]):
        yield "kv-cache", "KV cache", f"Keys and values by the shape of the page{mean}", lambda: lines.kv_cache(found)


def _required(found: Points, on: Device | None) -> Iterator[Definition]:
    """What keeps a time to the first token, which is prefill, and a time for each token after."""
    if not {"prefill", "decode"} & set(found.columns["stage"]):
        return
    what = "What keeps a time to first token (TTFT, prefill) and a time per output token (TPOT, decode)"
    peak = (on.tensor_flops_per_s / 1e12, f"{on.name}, {on.tensor_flops_per_s / 1e12:,.0f} TFLOP/s") if on else None
    rate = (on.bandwidth_bytes_per_s / 1e9, f"{on.name}, {on.bandwidth_bytes_per_s / 1e9:,.0f} GB/s") if on else None
    unit = "tensor TFLOP/s, logarithmic"
    yield "required-flops", "Required TFLOP/s", what, lambda: roofs.required(found, "tensor_flops", unit, 1e12, peak)
    if found.has("compulsory_bytes"):
        unit, what = "compulsory GB/s, logarithmic", f"{what}, on compulsory traffic"
        yield (
            "required-bytes",
            "Required GB/s",
            what,
            lambda: roofs.required(found, "compulsory_bytes", unit, 1e9, rate),
        )
