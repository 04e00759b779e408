"""Charts of rates: the roofline with every point, and what a device must do to keep a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..columns import Points
from . import style
from .style import valid

if TYPE_CHECKING:
    from ...hardware.devices import Device

TTFT_MS = (100, 250, 500, 1000)  # to the first token: prefill
TPOT_MS = (5, 10, 20, 50)  # for each token after: decode
TARGETS = ("#cc79a7", "#d55e00", "#e69f00", "#009e73")  # the hardest first
STAGE_SHAPES = {
    "vision": {"eager": "circle", "flash": "triangle-up"},
    "prefill": {"eager": "square", "flash": "diamond"},
    "decode": {"eager": "cross", "flash": "triangle-down"},
}


def roofline(points: Points, device: Device) -> Any:
    """Tensor FLOP/s by tensor FLOPs a compulsory byte: hollow at a point's floor, filled where it was measured."""
    import altair as alt

    columns = points.columns
    found = set(zip(columns["stage"], columns["attention"], strict=True))
    kinds = [(s, a) for s in style.STAGES for a in style.COLOURS if (s, a) in found]
    names = [f"{stage}, {attention}" for stage, attention in kinds]
    shapes = alt.Scale(domain=names, range=[STAGE_SHAPES[stage][attention] for stage, attention in kinds])
    colours = alt.Scale(domain=names, range=[style.COLOURS[attention] for _, attention in kinds])
    wide = alt.Scale(type="log", nice=False, padding=14)
    x = alt.X("flop_per_byte:Q", title="tensor FLOP / compulsory byte, logarithmic", scale=wide)
    y = alt.Y("value:Q", title="tensor TFLOP/s, logarithmic", scale=wide, axis=alt.Axis(format=style.NUMBER))

    def at(time: str) -> Any:
        return (
            alt.Chart(alt.NamedData("points"))
            .transform_filter(valid("compulsory_bytes", time))
            .transform_calculate(
                flop_per_byte="datum.tensor_flops / datum.compulsory_bytes",
                value=f"datum.tensor_flops / datum.{time} / 1e3",
                series="datum.stage + ', ' + datum.attention",
            )
            .encode(x, y, alt.Shape("series:N", scale=shapes), alt.Color("series:N", scale=colours))
        )

    few = not style.many(points)  # thousands of marks are read to nobody, and double the file
    floors = at("floor_ns").mark_point(filled=False, size=34, strokeWidth=1, opacity=0.7, aria=few)
    measured = (
        [at("device_ns").mark_point(filled=True, size=46, opacity=0.9, aria=few)] if points.has("device_ns") else []
    )
    return alt.layer(_roof(points, device), floors, *measured).properties(width=3 * style.WIDTH, height=340)


def _roof(points: Points, device: Device) -> Any:
    """The sheet's roof, and the one that was measured."""
    import altair as alt

    seen = [
        flops / moved
        for flops, moved in zip(points.columns["tensor_flops"], points.columns["compulsory_bytes"], strict=True)
        if moved
    ]
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
        for at in sorted((min(seen) / 2, roof.ridge, max(*seen, device.ridge) * 2))
    ]
    dashes = alt.Scale(domain=[name for name, _ in roofs], range=[[1, 0], [6, 3]])
    return (
        alt.Chart(alt.InlineData(values=rows))
        .mark_line(color=style.RULE, strokeWidth=1.5)
        .encode(x="flop_per_byte:Q", y="value:Q", strokeDash=alt.StrokeDash("roof:N", scale=dashes))
    )


def required(points: Points, number: str, unit: str, scale: float, ceiling: tuple[float, str] | None) -> Any:
    """`number` by the second that each time to the first token, or for each token after, leaves for it."""
    import altair as alt

    panels, names = style.panel(points)
    decode = "datum.stage == 'decode'"
    times = f"{decode} ? {list(TPOT_MS)} : {list(TTFT_MS)}"
    tokens = f"({decode} ? datum.new_tokens : 1)"
    labels = [f"{what} {ms} ms" for what, targets in (("TTFT", TTFT_MS), ("TPOT", TPOT_MS)) for ms in targets]
    kinds = list(style.COLOURS)
    base = alt.Chart().encode(
        x=style.x(points),
        y=style.y(unit, log=True),
        color=alt.Color("target:N", scale=alt.Scale(domain=labels, range=[*TARGETS, *TARGETS])),
    )
    dashes = alt.Scale(domain=kinds, range=[list(dash) for dash in style.DASHES[: len(kinds)]])
    layers: list[Any] = [base.encode(strokeDash=alt.StrokeDash("attention:N", scale=dashes)).mark_line(strokeWidth=1.6)]
    if not style.many(points):
        first = alt.Scale(domain=kinds, range=[style.SHAPES[kind][0] for kind in kinds])
        layers.append(base.encode(shape=alt.Shape("attention:N", scale=first)).mark_point(filled=True, size=28))
    if ceiling:
        layers += style.rule(*ceiling)
    chart = (
        style.in_panels(layers, names, columns=2)
        .transform_filter(f"datum.stage != 'vision' && {valid(number)}")
        .transform_calculate(panel=panels, ms=times)
        .transform_flatten(["ms"])
        .transform_calculate(
            value=f"datum.{number} / {tokens} / datum.ms * 1e3 / {scale:g}",
            target=f"({decode} ? 'TPOT ' : 'TTFT ') + datum.ms + ' ms'",
        )
    )
    return style.by_crops(points, chart, "target", "attention")
