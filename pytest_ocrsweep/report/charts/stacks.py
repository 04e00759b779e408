"""Charts of stacked parts over grids, with a panel for each stage and attention."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..columns import BETWEEN, PARTS, Points
from . import style
from .style import Quantity, valid

if TYPE_CHECKING:
    from ...hardware.devices import Device
    from .style import Drawing

MEMORY = (
    Quantity("weights", "datum.weight_bytes / 1e9"),
    Quantity("KV cache", "datum.kv_cache_bytes / 1e9"),
    Quantity("peak activations", "datum.peak_activation_bytes / 1e9"),
)
NEAR = 0.25  # of the device's memory: if the fullest point takes less, a line at the memory's size would flatten it


def stacks(
    points: Points,
    parts: Sequence[Quantity],
    title: str,
    *,
    steps: str = "",
    shared: bool = False,
    beside: Sequence[Drawing] = (),
) -> Drawing:
    """A chart of parts on top of one another, the first at the bottom; `beside` are further layers."""
    import altair as alt

    panels, names = style.panel(points, attention=True, steps=steps)
    columns = len(points.distinct("stage"))  # so that each attention has a row of its own
    labels = [part.label for part in parts]
    base = alt.Chart().encode(
        x=style.x(points),
        y=alt.Y("low:Q", title=title, scale=alt.Scale(zero=True), axis=alt.Axis(format=style.NUMBER, tickCount=6)),
        y2="high:Q",
        color=alt.Color("what:N", scale=alt.Scale(domain=labels, range=list(style.PARTS[: len(labels)]))),
    )
    marks = base.mark_area(opacity=0.9) if style.many(points) else base.mark_bar()
    chart = style.folded(style.in_panels([marks, *beside], names, columns=columns, shared=shared), parts, panels)
    chart = chart.transform_filter("datum.value > 0").transform_calculate(at=f"indexof({labels!r}, datum.what)")
    chart = style.by_crops(points, chart, "what", "at")
    # Stacked here: Vega-Lite's own stack fills every gap in an area first, which doubles the time.
    where = "crops" if style.many(points) else "grid"
    return chart.transform_stack(
        stack="value", as_=["low", "high"], groupby=["panel", where], sort=[alt.SortField("at", "ascending")]
    )


def memory(points: Points, device: Device | None) -> Drawing:
    """Weights, KV cache and activations, with a mark at each measured peak of the reference model."""
    beside: list[Drawing] = []
    if points.has("vendor_peak_bytes") and not style.many(points):
        beside.append(_measured(points))
    if device and fullest(points) >= NEAR * device.memory_bytes:
        beside += style.rule(device.memory_bytes / 1e9, f"{device.name}, {device.memory_bytes / 1e9:.0f} GB")
    return stacks(points, MEMORY, "GB", shared=True, beside=beside)


def fullest(points: Points) -> int:
    """Bytes that the point with the most memory takes."""
    names = ("weight_bytes", "kv_cache_bytes", "peak_activation_bytes")
    lines = zip(*(points.columns[name] for name in names), strict=True)
    return max(map(sum, lines))


def _measured(points: Points) -> Drawing:
    import altair as alt

    first = f"datum.what == {MEMORY[0].label!r}"  # one part of each point, since it needs one mark
    base = (
        alt.Chart()
        .transform_filter(f"{first} && {valid('vendor_peak_bytes')}")
        .transform_calculate(
            whole="(datum.weight_bytes + datum.kv_cache_bytes + datum.vendor_peak_bytes) / 1e9",
            measured="'measured on the vendor\\'s model'",
        )
    )
    shape = alt.Shape("measured:N", scale=alt.Scale(range=["diamond"]))
    marks: Drawing = base.encode(x=style.x(points), y=alt.Y("whole:Q", title="GB"), shape=shape).mark_point(
        filled=True, size=34, opacity=1, color=style.RULE, stroke="white", strokeWidth=0.6
    )
    return marks


def parts(points: Points, what: str, unit: str, scale: float, steps: str = "") -> Drawing:
    """What each part of a stage costs in `what` ("flops", "bytes" or "time"), in `unit`s of `scale`."""
    present = [part for part in (*PARTS, BETWEEN) if points.has(f"{part} {what}")]
    quantities = [Quantity(part, f"datum['{part} {what}'] / {scale:g}") for part in present]
    return stacks(points, quantities, unit, steps=steps)
