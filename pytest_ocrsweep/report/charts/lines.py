"""Charts with one line for each attention and quantity, over grids."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ...model.attention import ATTENTION
from ..columns import Points
from . import style
from .style import Quantity, valid

if TYPE_CHECKING:
    from ...hardware.devices import Device
    from .style import Drawing

COUNTED = Quantity("counted", "(datum.tensor_flops + datum.vector_flops) / 1e12")
SPLIT = (
    Quantity("tensor", "datum.tensor_flops / 1e12"),
    Quantity("vector", "datum.vector_flops / 1e12"),
)
VENDOR_SPLIT = Quantity(
    "tensor, vendor model", "isValid(datum.vendor_flops) ? datum.vendor_flops / 1e12 : null", witness=True
)


def lines(
    points: Points,
    quantities: Sequence[Quantity],
    title: str,
    *,
    log: bool = False,
    per_token: bool = False,
    rules: Sequence[tuple[float, str]] = (),
) -> Drawing:
    """A chart with a panel for each stage; `rules` are named lines across each panel."""
    import altair as alt

    panels, names = style.panel(points, steps="by new token" if per_token else "")
    label = "datum.attention + ', ' + datum.what" if len(quantities) > 1 else "datum.attention"
    marks = not style.many(points)
    of_lines, of_marks = style.styled(style.series(points, quantities), marked=marks)
    base = alt.Chart().encode(x=style.x(points), y=style.y(title, log))
    small = [each.label for each in quantities if each.witness]
    layers: list[Drawing] = []
    for kind, look in ATTENTION.items():  # the wider lines first: the narrower ones stay in sight on them
        of_kind = base.transform_filter(f"datum.attention == {kind!r}")
        layers.append(of_kind.encode(**of_lines).mark_line(strokeWidth=look.line_width))
        if marks:
            size = alt.condition(f"indexof({small}, datum.what) >= 0", alt.value(14), alt.value(look.marker_size))
            layers.append(of_kind.encode(**of_marks, size=size).mark_point(filled=True, opacity=1))
    for value, text in rules:
        layers += style.rule(value, text)
    chart = style.folded(style.in_panels(layers, names, columns=3), quantities, panels)
    labels = [quantity.label for quantity in quantities]
    chart = chart.transform_calculate(series=label, at=f"indexof({labels}, datum.what)")
    if log:
        chart = chart.transform_filter("datum.value > 0")
    return style.by_crops(points, chart, "series", "attention")


def flops(points: Points) -> Drawing:
    return lines(points, [COUNTED], "TFLOP, tensor and vector")


def split(points: Points, *, log: bool) -> Drawing:
    quantities = [*SPLIT, *([VENDOR_SPLIT] if points.has("vendor_flops") else [])]
    return lines(points, quantities, "TFLOP, logarithmic" if log else "TFLOP", log=log)


def moved(points: Points) -> Drawing:
    quantities = [Quantity("kernel by kernel", "(datum.read_bytes + datum.write_bytes) / 1e9")]
    for label, column in (("DRAM", "dram_bytes"), ("compulsory", "compulsory_bytes")):
        if points.has(column):
            quantities.append(Quantity(label, f"{valid(column)} ? datum.{column} / 1e9 : null"))
    return lines(points, quantities, "GB read and written, logarithmic", log=True)


def intensity(points: Points, device: Device | None) -> Drawing:
    quantities = [Quantity("kernel by kernel", "datum.tensor_flops / (datum.read_bytes + datum.write_bytes)")]
    if points.has("compulsory_bytes"):
        expression = f"{valid('compulsory_bytes')} ? datum.tensor_flops / datum.compulsory_bytes : null"
        quantities.append(Quantity("compulsory", expression))
    ridge = [(device.ridge, f"ridge of {device.name}, {device.ridge:.0f}")] if device else []
    return lines(points, quantities, "tensor FLOP/byte, logarithmic", log=True, rules=ridge)


def kv_cache(points: Points) -> Drawing:
    expression = "datum.kv_cache_bytes ? datum.kv_cache_bytes / 1e6 : null"
    return lines(points, [Quantity("KV cache", expression)], "MB of keys and values at the stage's end")


def time(points: Points) -> Drawing:
    steps = style.steps()
    quantities = [
        Quantity(label, f"{valid(column)} ? datum.{column} / {steps} / 1e6 : null")
        for label, column in (("device", "device_ns"), ("floor", "floor_ns"), ("wall", "wall_ns"))
        if points.has(column)
    ]
    return lines(points, quantities, "ms, logarithmic", log=True, per_token=True)


def attained(points: Points) -> Drawing:
    quantity = Quantity("attained", f"{valid('attained')} ? 100 * datum.attained : null")
    return lines(points, [quantity], "floor as % of the device time")


def change(points: Points) -> Drawing:
    """How much each number changed since a baseline document, or the change that the gate found if there is none."""
    quantities = []
    for label, column in (("device time", "device_ns"), ("bytes moved", "moved_bytes"), ("FLOPs", "flops")):
        if points.has(f"was_{column}") and points.has(column):
            both = valid(column, f"was_{column}")
            quantities.append(Quantity(label, f"{both} ? 100 * (datum.{column} / datum.was_{column} - 1) : null"))
    if not quantities:
        quantities = [Quantity("device time", f"{valid('change')} ? 100 * datum.change : null")]
    return lines(points, quantities, "change since the baseline, %", rules=[(0, "")])
