"""How every chart looks: axes, panels, and series that differ in shape and dash as well as in colour."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...model.attention import ATTENTION
from ...model.stages import STAGES
from ..columns import Points

if TYPE_CHECKING:
    import altair as alt

    Drawing = alt.Chart | alt.LayerChart | alt.FacetChart

MANY = 40  # grids: more cannot be labelled one by one, and x becomes the number of crops
WIDTH, HEIGHT = 300, 220  # of a panel, in pixels; the page sets its own width
DASHES = ((1, 0), (7, 3), (2, 2), (9, 2, 2, 2))  # for the first, second, … quantity
PARTS = ("#2b83d6", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#8fd0f5", "#f0e442", "#8a8a8a", "#3d434b")
RULE = "#8a8a8a"
WITNESS = "#6f7782"
NUMBER = ",.8~g"  # 1,200 and 0.12

CONFIG: dict[str, object] = {
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
    """A number of each point, by a Vega expression. `label` names it in the legend; a `witness` repeats another."""

    label: str
    expression: str
    witness: bool = False


@dataclass(frozen=True, slots=True)
class Series:
    """A line for one attention and one quantity: its name in the legend, and how it looks."""

    name: str
    colour: str
    shape: str
    dash: list[int]


def valid(*columns: str) -> str:
    """A Vega expression that is true if a point has all these numbers."""
    return " && ".join(f"isValid(datum['{column}'])" for column in columns)


def many(points: Points) -> bool:
    """Whether there are too many grids to label each."""
    return len(set(points.columns["grid"])) > MANY


def panel(points: Points, *, attention: bool = False, steps: str = "") -> tuple[str, list[str]]:
    """A Vega expression that names a point's panel, and all the names: its stage, with or without its attention.

    `steps` says of which steps of a decode the numbers are: of all of them, unless it says so.
    """
    steps = steps or f"all {points.columns['new_tokens'][0]} new tokens"
    names = {name: f"{name}, {steps}" if STAGES[name].per_token else name for name in stages(points)}
    expression = by_stage({name: repr(title) for name, title in names.items()})
    if not attention:
        return expression, list(names.values())
    titles = [f"{title}, {kind}" for kind in ATTENTION for title in names.values()]
    return f"{expression} + ', ' + datum.attention", titles


def stages(points: Points) -> list[str]:
    """The stages that points have, in their own order."""
    return [stage for stage in STAGES if stage in points.columns["stage"]]


def by_stage(values: Mapping[str, object]) -> str:
    """A Vega expression: the value for a point's stage."""
    return f"{{{', '.join(f'{stage}: {value}' for stage, value in values.items())}}}[datum.stage]"


def steps() -> str:
    """A Vega expression: how often the kernels of a point's stage run."""
    stepwise = " || ".join(f"datum.stage == {name!r}" for name, stage in STAGES.items() if stage.per_token)
    return f"({stepwise} ? datum.new_tokens : 1)"


def x(points: Points) -> alt.X:
    """Grids one by one, by crops and then rows; if there are many, the number of crops."""
    import altair as alt

    if many(points):
        return alt.X("crops:Q", title="crops", axis=alt.Axis(grid=False, format=",d", tickCount=6))
    columns = points.columns
    order = sorted(set(zip(columns["crops"], columns["rows"], columns["grid"], strict=True)))
    names = [grid for _, _, grid in order]
    axis = alt.Axis(labelAngle=-90, labelOverlap=False)
    return alt.X("grid:O", sort=names, title="grid, rows x columns of crops", axis=axis)


def y(title: str, log: bool) -> alt.Y:
    """A value on an axis that starts at zero, or on a logarithmic axis."""
    import altair as alt

    scale = alt.Scale(type="log", nice=True) if log else alt.Scale(zero=True)
    return alt.Y("value:Q", title=title, scale=scale, axis=alt.Axis(format=NUMBER, tickCount=6))


def styled(found: Sequence[Series], *, marked: bool) -> tuple[dict[str, Any], dict[str, Any]]:
    """The encodings of the series in lines, and in marks."""
    import altair as alt

    def scale(of_each: Sequence[str | list[int]]) -> alt.Scale:
        return alt.Scale(domain=[each.name for each in found], range=list(of_each))

    colour = alt.Color("series:N", scale=scale([each.colour for each in found]))
    # If there are marks, only they are in the legend: dashed outlines would hide their shapes.
    legend = None if marked else alt.Undefined
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
    """A line for each quantity and each attention that points have."""
    kinds = [kind for kind in ATTENTION if kind in points.columns["attention"]]
    named = len(quantities) > 1
    return [
        Series(
            f"{kind}, {quantity.label}" if named else kind,
            WITNESS if quantity.witness else ATTENTION[kind].colour,
            ATTENTION[kind].markers[at],
            list(DASHES[at]),
        )
        for at, quantity in enumerate(quantities)
        for kind in kinds
    ]


def folded(chart: Drawing, quantities: Sequence[Quantity], panels: str) -> Drawing:
    """`chart` over one row for each number of each point, with the fields `panel`, `what` and `value`."""
    labels: list[str | alt.FieldName] = [quantity.label for quantity in quantities]
    return (
        chart.transform_calculate(panel=panels, **{each.label: each.expression for each in quantities})
        .transform_fold(labels, as_=["what", "value"])
        .transform_filter("datum.value !== null && isFinite(datum.value)")
    )


def averaged(points: Points) -> bool:
    """Whether x is the number of crops and several grids share one."""
    return many(points) and len(set(points.columns["crops"])) < len(set(points.columns["grid"]))


def by_crops(points: Points, chart: Drawing, *by: str) -> Drawing:
    """`chart` over the mean of grids with equally many crops, if there are such; `id` is that of one of them."""
    if not averaged(points):
        return chart
    return chart.transform_aggregate(value="mean(value)", id="min(id)", groupby=["panel", *by, "crops"])


def rule(value: float, text: str) -> list[Drawing]:
    """A named line across a panel, drawn once and not once a point."""
    import altair as alt

    # `max` makes one rule from all rows of a panel; x is fixed so that the label stays at the left.
    base = alt.Chart().transform_calculate(rule=str(value)).encode(y=alt.Y("max(rule):Q"))
    label = base.mark_text(text=text, align="left", dy=-6, dx=4, color=RULE, fontSize=10)
    return [base.mark_rule(color=RULE, strokeDash=[4, 2]), label.encode(x=alt.value(0))]


def in_panels(layers: Sequence[Drawing], names: list[str], columns: int, *, shared: bool = False) -> Drawing:
    """One panel for each name, each with its own axes, whose ranges differ unless `shared`.

    Vega-Lite splits points into panels before it computes what a layer adds: let the returned chart compute `panel`.
    """
    import altair as alt

    sized = alt.layer(*layers, data=alt.NamedData("points")).properties(width=WIDTH, height=HEIGHT)
    facet = alt.Facet("panel:N", sort=names, title=None, header=alt.Header(labelAnchor="start"))
    facets: Drawing = sized.facet(
        facet, columns=columns, bounds="flush", spacing={"row": 96, "column": 74}
    ).resolve_axis(x="independent", y="independent")
    return facets if shared else facets.resolve_scale(y="independent")
