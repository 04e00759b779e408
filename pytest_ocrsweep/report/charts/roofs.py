"""Charts of rates: the roofline with every point, and the rates that a device needs to keep a latency."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...model.attention import ATTENTION
from ...model.stages import STAGES, Latency
from ..columns import Points
from . import style
from .style import valid

if TYPE_CHECKING:
    from ...hardware.devices import Device
    from .style import Drawing

TARGETS_MS = {Latency.TTFT: (100, 250, 500, 1000), Latency.TPOT: (5, 10, 20, 50)}  # the hardest first
COLOURS = ("#cc79a7", "#d55e00", "#e69f00", "#009e73")  # for the first, second, … target


def roofline(points: Points, device: Device) -> Drawing:
    """Needed tensor FLOP/s over FLOPs per byte from DRAM: hollow marks at floors, filled marks at measured times."""
    import altair as alt

    columns = points.columns
    drawn = set(zip(columns["stage"], columns["attention"], strict=True))
    kinds = [(stage, attention) for stage in STAGES for attention in ATTENTION if (stage, attention) in drawn]
    names = [f"{stage}, {attention}" for stage, attention in kinds]
    shapes = alt.Scale(domain=names, range=[marker(stage, attention) for stage, attention in kinds])
    colours = alt.Scale(domain=names, range=[ATTENTION[attention].colour for _, attention in kinds])
    wide = alt.Scale(type="log", nice=False, padding=14)
    x = alt.X("flop_per_byte:Q", title="needed tensor FLOP / byte from DRAM, logarithmic", scale=wide)
    y = alt.Y("value:Q", title="needed tensor TFLOP/s, logarithmic", scale=wide, axis=alt.Axis(format=style.NUMBER))

    def at(time: str) -> Drawing:
        return (
            alt.Chart(alt.NamedData("points"))
            .transform_filter(f"{valid(time)} && datum.tensor_ns > 0 && datum.bandwidth_ns > 0")
            .transform_calculate(
                flop_per_byte=f"datum.tensor_ns / datum.bandwidth_ns * {device.ridge:g}",
                value=f"datum.tensor_ns / datum.{time} * {device.tensor_flops_per_s / 1e12:g}",
                series="datum.stage + ', ' + datum.attention",
            )
            .encode(x, y, alt.Shape("series:N", scale=shapes), alt.Color("series:N", scale=colours))
        )

    few = not style.many(points)  # no screen reader reads thousands of marks, and they double the file
    floors = at("floor_ns").mark_point(filled=False, size=34, strokeWidth=1, opacity=0.7, aria=few)
    measured = (
        [at("device_ns").mark_point(filled=True, size=46, opacity=0.9, aria=few)] if points.has("device_ns") else []
    )
    return alt.layer(_roof(points, device), floors, *measured).properties(width=3 * style.WIDTH, height=340)


def marker(stage: str, attention: str) -> str:
    """Vega's name of a shape: the first stage has the attention's first marker, and so on."""
    markers = ATTENTION[attention].markers
    return markers[list(STAGES).index(stage) % len(markers)]


def _roof(points: Points, device: Device) -> Drawing:
    """The roof by the data sheet, and the one by measured rates."""
    import altair as alt

    times = zip(points.columns["tensor_ns"], points.columns["bandwidth_ns"], strict=True)
    ratios = [1, *(tensor / bandwidth for tensor, bandwidth in times if tensor and bandwidth)]
    left, right = min(ratios) * device.ridge / 2, max(ratios) * device.ridge * 2
    roofs = [(f"{device.name}, its sheet", device)]
    if device.as_measured != device:
        roofs.append((f"{device.name}, as measured", device.as_measured))
    rows = [
        {
            "roof": name,
            "flop_per_byte": at,
            "value": min(roof.tensor_flops_per_s, at * roof.bandwidth_bytes_per_s) / 1e12,
        }
        for name, roof in roofs
        for at in sorted((left, roof.ridge, right))
    ]
    dashes = alt.Scale(domain=[name for name, _ in roofs], range=[[1, 0], [6, 3]])
    lines: Drawing = (
        alt.Chart(alt.InlineData(values=rows))
        .mark_line(color=style.RULE, strokeWidth=1.5)
        .encode(x="flop_per_byte:Q", y="value:Q", strokeDash=alt.StrokeDash("roof:N", scale=dashes))
    )
    return lines


def required(points: Points, number: str, unit: str, scale: float, ceiling: tuple[float, str] | None) -> Drawing:
    """The rate of `number` that keeps each target for the latency of a point's stage; `ceiling` is a device's rate."""
    import altair as alt

    panels, names = style.panel(points)
    latencies = {name: stage.latency for name, stage in STAGES.items() if stage.latency}
    times = style.by_stage({name: list(TARGETS_MS[latency]) for name, latency in latencies.items()})
    latency_name = style.by_stage({name: repr(latency.name) for name, latency in latencies.items()})
    labels = [f"{latency.name} {ms} ms" for latency, targets in TARGETS_MS.items() for ms in targets]
    kinds = list(ATTENTION)
    base = alt.Chart().encode(
        x=style.x(points),
        y=style.y(unit, log=True),
        color=alt.Color("target:N", scale=alt.Scale(domain=labels, range=list(COLOURS) * len(TARGETS_MS))),
    )
    dashes = alt.Scale(domain=kinds, range=[list(dash) for dash in style.DASHES[: len(kinds)]])
    layers: list[Drawing] = [
        base.encode(strokeDash=alt.StrokeDash("attention:N", scale=dashes)).mark_line(strokeWidth=1.6)
    ]
    if not style.many(points):
        first = alt.Scale(domain=kinds, range=[look.markers[0] for look in ATTENTION.values()])
        layers.append(base.encode(shape=alt.Shape("attention:N", scale=first)).mark_point(filled=True, size=28))
    if ceiling:
        layers += style.rule(*ceiling)
    chart = (
        style.in_panels(layers, names, columns=2)
        .transform_filter(f"indexof({list(latencies)}, datum.stage) >= 0 && {valid(number)}")
        .transform_calculate(panel=panels, ms=times)
        .transform_flatten(["ms"])
        .transform_calculate(
            value=f"datum.{number} / {style.steps()} / datum.ms * 1e3 / {scale:g}",
            target=f"{latency_name} + ' ' + datum.ms + ' ms'",
        )
    )
    return style.by_crops(points, chart, "target", "attention")
