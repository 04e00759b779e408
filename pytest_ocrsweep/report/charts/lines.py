"""Charts of lines over grids: a panel for each stage or one for all, the stage's colour, the attention's dashes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ...model.stages import STAGES, Latency
from ..columns import Points
from . import drawing, scales
from .drawing import HEIGHT, LEFT, RIGHT, WIDTH, Key, Panel, attention_class, stage_class
from .scales import Grids, Scale

Values = list[float | None]  # of each point
RADIUS = 2.6  # of a dot, in pixels
SOLID = "a0"  # the class of the attention that people run
TARGETS_MS = {Latency.TTFT: (100, 250, 500, 1000), Latency.TPOT: (5, 10, 20, 50)}  # the hardest first


@dataclass(frozen=True, slots=True)
class Curve:
    """Values over grids: what they are in the legend, and how they are drawn; a band has a second end."""

    label: str
    classes: str
    mark: str  # "line", "thin" or "band"
    values: Sequence[tuple[int, float, int]]  # place, value, point
    high: Sequence[tuple[int, float, int]] = ()

    def svg(self, x: Scale, y: Scale, axis: Grids) -> str:
        if self.mark == "band":
            ends = zip(self.values, self.high, strict=True)
            return drawing.area(
                [(x(axis.keys[at]), y(low), y(high)) for (at, low, _), (_, high, _) in ends], f"band {self.classes}"
            )
        drawn = drawing.line(
            [(x(axis.keys[at]), y(value)) for at, value, _ in self.values], f"{self.mark} {self.classes}"
        )
        if self.mark == "thin" or not axis.labels:  # of many grids a line is enough
            return drawn
        mark = "dot" if SOLID in self.classes.split() else "ring"
        dots = (
            drawing.dot(x(axis.keys[at]), y(value), f"{mark} {self.classes}", point, RADIUS)
            for at, value, point in self.values
        )
        return drawn + "".join(dots)


def stages(points: Points) -> list[str]:
    """The stages that points have, in their own order."""
    return [stage for stage in STAGES if stage in points.columns["stage"]]


def places(points: Points, stage: str, attention: str) -> list[int]:
    columns = points.columns
    return [at for at in range(points.count) if columns["stage"][at] == stage and columns["attention"][at] == attention]


def steps(points: Points, at: int) -> int:
    """How often the kernels of a point's stage run."""
    columns = points.columns
    return STAGES[columns["stage"][at]].steps(columns["new_tokens"][at])


def values(points: Points, name: str, scale: float, *, per_step: bool = False) -> Values:
    """A column, scaled; of one step of a decode if asked."""
    column = points.columns.get(name) or [None] * points.count
    return [
        None if value is None else value / scale / (steps(points, at) if per_step else 1)
        for at, value in enumerate(column)
    ]


def curves(
    points: Points, axis: Grids, stage: str, mark: str, label: str, low: Values, high: Values | None = None
) -> list[Curve]:
    """One for each attention; one for both if they are the same, which two lines on one another would hide."""
    found: dict[tuple[tuple[int, float], ...], tuple[Curve, list[str]]] = {}
    for attention in points.distinct("attention"):
        of = places(points, stage, attention)
        line = scales.means(axis, of, low)
        if not line:
            continue
        classes = f"{stage_class(stage)} {attention_class(attention)}"
        curve = Curve("", classes, mark, line, scales.means(axis, of, high) if high else ())
        found.setdefault(tuple((at, round(value, 9)) for at, value, _ in line), (curve, []))[1].append(attention)
    whole = []
    for each, kinds in found.values():
        classes = each.classes if len(kinds) == 1 else f"{stage_class(stage)} {SOLID} both"
        name = " and ".join(kinds)
        whole.append(Curve(f"{label}, {name}" if label else name, classes, mark, each.values, each.high))
    return whole


def panel(
    name: str,
    unit: str,
    axis: Grids,
    found: Sequence[Curve],
    *,
    classes: str = "",
    rules: Sequence[tuple[float, str]] = (),
    scale: Callable[..., Scale] = scales.linear,
    named: bool = False,
    width: int = WIDTH,
    height: int = HEIGHT,
) -> Panel:
    """Curves on common axes, each with its label at its end if `named`; `rules` are named values across them."""
    numbers = [value for each in found for _, value, _ in (*each.values, *each.high)]
    x = drawing.across(axis, width)
    y = scale([*numbers, *(value for value, _ in rules)], height - drawing.BOTTOM, drawing.TOP)
    body = drawing.frame(name, y, unit, x, axis, axis.title, width, height)
    for value, words in rules:
        body += drawing.line([(LEFT, y(value)), (width - RIGHT, y(value))], "rule")
        body += drawing.text(LEFT + 4, y(value) - 4, words) if words else ""
    body += "".join(each.svg(x, y, axis) for each in found)
    for each in found if named else ():
        at, value, _ = each.values[-1]
        body += drawing.text(x(axis.keys[at]), y(value) - 5, each.label, "end")
    return Panel(name, body, classes, width, height)


def legend(found: Sequence[Curve]) -> tuple[Key, ...]:
    """What each kind of line is; of which stage it is, its panel says, and of which attention a band is, its line."""
    return drawing.keys(
        Key("band", "", each.label.rpartition(", ")[0])
        if each.mark == "band"
        else Key(each.mark, each.classes.split()[1], each.label)
        for each in found
    )


def title_of(points: Points, stage: str, *, per_step: bool = False) -> str:
    """A stage in a heading, and how many tokens its numbers are of."""
    if not STAGES[stage].per_token:
        return stage
    return f"{stage}, by new token" if per_step else f"{stage}, all {points.columns['new_tokens'][0]} new tokens"


def time(points: Points, axis: Grids) -> tuple[tuple[Panel, ...], tuple[Key, ...]]:
    """Measured time, what was to be expected, and the floor."""
    columns = {
        name: values(points, name, 1e6, per_step=True)
        for name in ("device_ns", "estimate_low_ns", "estimate_high_ns", "floor_ns")
    }
    panels, keys = [], list[Curve]()
    for stage in stages(points):
        found = [
            *curves(
                points,
                axis,
                stage,
                "band",
                "estimate, nine of ten times",
                columns["estimate_low_ns"],
                columns["estimate_high_ns"],
            ),
            *curves(points, axis, stage, "thin", "floor", columns["floor_ns"]),
            *curves(points, axis, stage, "line", "measured", columns["device_ns"]),
        ]
        if found:
            panels.append(panel(title_of(points, stage, per_step=True), "ms", axis, found, classes=stage_class(stage)))
            keys += found
    return tuple(panels), legend(keys)


def attained(points: Points, axis: Grids) -> tuple[tuple[Panel, ...], tuple[Key, ...]]:
    """One panel, because all stages have the same unit."""
    found = [
        (stage, each)
        for stage in stages(points)
        for each in curves(points, axis, stage, "line", "", values(points, "attained", 0.01))
    ]
    body = panel(
        "",
        "floor as % of the measured time",
        axis,
        [each for _, each in found],
        width=drawing.WIDE,
        height=drawing.TALL,
    )
    return (body,), drawing.keys(Key("line", each.classes, f"{stage}, {each.label}") for stage, each in found)


def change(points: Points, axis: Grids) -> tuple[tuple[Panel, ...], tuple[Key, ...]]:
    """How much each number changed since a baseline, or the change that the gate found if none is given."""
    numbers: dict[str, Values] = {}
    for label, column in (("device time", "device_ns"), ("bytes moved", "moved_bytes"), ("FLOPs", "flops")):
        old, new = points.columns.get(f"was_{column}"), points.columns.get(column)
        if old and new:
            numbers[label] = [100 * (b / a - 1) if a and b is not None else None for a, b in zip(old, new, strict=True)]
    if not numbers:
        numbers = {"device time": values(points, "change", 0.01)}
    panels, keys = [], list[Curve]()
    for label, changed in numbers.items():
        found = [each for stage in stages(points) for each in curves(points, axis, stage, "line", stage, changed)]
        found = [each for each in found if len(each.values) > 1]  # a dot alone is in the table of what moved
        if any(value for each in found for _, value, _ in each.values):  # what did not change is no question
            panels.append(panel(label, "change since the baseline, %", axis, found, rules=[(0, "")]))
            keys += found
    return tuple(panels), drawing.keys(Key("line", each.classes, each.label) for each in keys)


def required(
    points: Points, axis: Grids, rates: dict[Latency, tuple[str, str, float, tuple[float, str] | None]]
) -> tuple[tuple[Panel, ...], tuple[Key, ...]]:
    """The rate that keeps each target of a latency: for each latency its column, unit, scale, and a device's rate."""
    panels = []
    for stage in stages(points):
        latency = STAGES[stage].latency
        if latency is None or not points.has(rates[latency][0]):
            continue
        column, unit, scale, ceiling = rates[latency]
        work = [None if value is None else 1e3 * value for value in values(points, column, scale, per_step=True)]
        found = []
        for ms in TARGETS_MS[latency]:
            rates_of = [None if value is None else value / ms for value in work]
            of = curves(points, axis, stage, "line", "", rates_of)[0]  # any attention: all need the same
            found.append(Curve(f"{ms} ms", f"{stage_class(stage)} {SOLID}", "line", of.values))
        name, rules = f"{stage}, {latency.name}", [ceiling] if ceiling else []
        classes, log = stage_class(stage), scales.logarithmic
        panels.append(panel(name, unit, axis, found, classes=classes, rules=rules, scale=log, named=True))
    return tuple(panels), ()
