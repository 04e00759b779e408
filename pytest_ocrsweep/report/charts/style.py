"""How every chart looks: axes, panels, and series that are told apart by shape and dash as well as by colour."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..columns import Points

if TYPE_CHECKING:
    import altair as alt

MANY = 40  # grids: more cannot be labelled one by one, and x becomes the number of crops
WIDTH, HEIGHT = 300, 220  # of a panel, in pixels; the page sets its own width
STAGES = ("vision", "prefill", "decode")

# Okabe and Ito's colours, which stay apart for colour-blind eyes; the blue is lightened to be seen on black too.
COLOURS = {"eager": "#d55e00", "flash": "#2b83d6"}
SHAPES = {
    "eager": ("circle", "square", "cross", "triangle-left"),
    "flash": ("triangle-up", "diamond", "triangle-down", "triangle-right"),
}
DASHES = ((1, 0), (7, 3), (2, 2), (9, 2, 2, 2))  # of the first, second, … quantity
PARTS = ("#2b83d6", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#8fd0f5", "#f0e442", "#8a8a8a")
SIZES = {"eager": 70, "flash": 32}  # of marks; the widths are of lines
WIDTHS = {"eager": 3.2, "flash": 1.4}
RULE = "#8a8a8a"
WITNESS = "#6f7782"
NUMBER = ",.8~g"  # 1,200 and 0.12

CONFIG: dict[str, Any] = {
    "background": "white",
    "font": "Helvetica, Arial, sans-serif",
    "padding": 8,
    "axis": {"labelFontSize": 10, "titleFontSize": 11, "titleFontWeight": "normal", "gridOpacity": 0.5},
    "header": {"labelFontSize": 12, "labelFontWeight": "bold", "title": None},
    "legend": {"orient": "top", "title": None, "labelLimit": 260, "symbolStrokeWidth": 2, "symbolSize": 70},
    "title": {"anchor": "start", "fontSize": 14, "subtitleFontSize": 11, "offset": 10},
    "view": {"stroke": None},
}


@dataclass(frozen=True, slots=True)
class Quantity:
    """A number of each point, by a Vega expression; `label` names it in the legend; a `witness` lies on another."""

    label: str
    expression: str
    witness: bool = False


@dataclass(frozen=True, slots=True)
class Series:
    """A line: its name, and how it looks."""

    name: str
    colour: str
    shape: str
    dash: list[int]


def valid(*columns: str) -> str:
    """A Vega expression: whether a point has all these numbers."""
    return " && ".join(f"isValid(datum['{column}'])" for column in columns)


def many(points: Points) -> bool:
    """Whether the grids are too many to label."""
    return len(set(points.columns["grid"])) > MANY


def panel(points: Points, *, attention: bool = False, per_token: bool = False) -> tuple[str, list[str]]:
    """A Vega expression that names a point's panel, and all the names: its stage, with or without its attention."""
    tokens = points.columns["new_tokens"][0]
    decode = "decode, by new token" if per_token else f"decode, all {tokens} new tokens"
    names = {stage: decode if stage == "decode" else stage for stage in STAGES if stage in points.columns["stage"]}
    expression = f"{{{', '.join(f'{stage}: {text!r}' for stage, text in names.items())}}}[datum.stage]"
    if not attention:
        return expression, list(names.values())
    kinds = list(COLOURS)
    return f"{expression} + ', ' + datum.attention", [f"{name}, {kind}" for kind in kinds for name in names.values()]


def x(points: Points) -> alt.X:
    """Grids one by one, by crops and then rows; where there are many, the number of crops."""
    import altair as alt

    if many(points):
        return alt.X("crops:Q", title="crops", axis=alt.Axis(grid=False, format=",d", tickCount=6))
    columns = points.columns
    order = sorted(set(zip(columns["crops"], columns["rows"], columns["grid"], strict=True)))
    names = [grid for _, _, grid in order]
    axis = alt.Axis(labelAngle=-90, labelOverlap=False)
    return alt.X("grid:O", sort=names, title="grid, rows x columns of crops", axis=axis)


def y(title: str, log: bool) -> alt.Y:
    """A value from zero on, or on a logarithmic axis."""
    import altair as alt

    scale = alt.Scale(type="log", nice=True) if log else alt.Scale(zero=True)
    return alt.Y("value:Q", title=title, scale=scale, axis=alt.Axis(format=NUMBER, tickCount=6))


def styled(found: Sequence[Series], *, marked: bool) -> tuple[dict[str, Any], dict[str, Any]]:
    """What encodes the series in lines, and what in marks."""
    import altair as alt

    def scale(of_each: list[Any]) -> alt.Scale:
        return alt.Scale(domain=[each.name for each in found], range=of_each)

    colour = alt.Color("series:N", scale=scale([each.colour for each in found]))
    # Where there are marks they alone are in the legend: outlines with dashes would hide their shapes.
    legend: Any = None if marked else alt.Undefined
    dash = alt.StrokeDash(
        "at:N" if marked else "series:N",
        scale=alt.Scale(domain=list(range(len(DASHES))), range=[list(each) for each in DASHES])
        if marked
        else scale([each.dash for each in found]),
        legend=legend,
    )
    shape = alt.Shape("series:N", scale=scale([each.shape for each in found]))
    return {"color": colour, "strokeDash": dash}, {"color": colour, "shape": shape}


def series(points: Points, quantities: Sequence[Quantity]) -> list[Series]:
    """A line for each attention there is and each quantity."""
    kinds = [kind for kind in COLOURS if kind in points.columns["attention"]]
    named = len(quantities) > 1
    return [
        Series(
            f"{kind}, {quantity.label}" if named else kind,
            WITNESS if quantity.witness else COLOURS[kind],
            SHAPES[kind][at],
            list(DASHES[at]),
        )
        for at, quantity in enumerate(quantities)
        for kind in kinds
    ]


def folded(chart: Any, quantities: Sequence[Quantity], panels: str) -> Any:
    """`chart` over a row for each point and quantity that it has: `panel`, `what`, `value`."""
    labels = [quantity.label for quantity in quantities]
    return (
        chart.transform_calculate(panel=panels, **{each.label: each.expression for each in quantities})
        .transform_fold(labels, as_=["what", "value"])
        .transform_filter("datum.value !== null && isFinite(datum.value)")
    )


def averaged(points: Points) -> bool:
    """Whether x is the number of crops, and several grids have as many."""
    return many(points) and len(set(points.columns["crops"])) < len(set(points.columns["grid"]))


def by_crops(points: Points, chart: Any, *by: str) -> Any:
    """`chart` over the mean of grids with as many crops, where there are such; `id` stays one of theirs."""
    if not averaged(points):
        return chart
    return chart.transform_aggregate(value="mean(value)", id="min(id)", groupby=["panel", *by, "crops"])


def rule(value: float, text: str) -> list[Any]:
    """A named line across a panel, drawn once whatever the points."""
    import altair as alt

    # `max` makes one rule a panel of as many rows as there are; x is fixed so that the label keeps to the left.
    base = alt.Chart().transform_calculate(rule=str(value)).encode(y=alt.Y("max(rule):Q"))
    label = base.mark_text(text=text, align="left", dy=-6, dx=4, color=RULE, fontSize=10)
    return [base.mark_rule(color=RULE, strokeDash=[4, 2]), label.encode(x=alt.value(0))]


def in_panels(layers: Sequence[Any], names: list[str], columns: int, *, shared: bool = False) -> Any:
    """One panel a name, each with axes of its own, and of its own range unless `shared`.

    Panels are made before what a layer computes: what names them is computed by the chart that this returns.
    """
    import altair as alt

    sized = alt.layer(*layers, data=alt.NamedData("points")).properties(width=WIDTH, height=HEIGHT)
    facet = alt.Facet("panel:N", sort=names, title=None, header=alt.Header(labelAnchor="start"))
    facets = sized.facet(facet, columns=columns, bounds="flush", spacing={"row": 96, "column": 74}).resolve_axis(
        x="independent", y="independent"
    )
    return facets if shared else facets.resolve_scale(y="independent")
