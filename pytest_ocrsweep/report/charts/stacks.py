"""Charts of stacked parts over grids: a panel for each stage, and for each attention where they differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..columns import Points
from . import drawing, lines, scales
from .drawing import HEIGHT, LEFT, RIGHT, WIDTH, Key, Panel, attention_class, stage_class
from .lines import Values
from .scales import Grids, Scale

Rule = tuple[float, str] | None  # a named value across a panel
MOST_WIDE = 34  # pixels of a bar


def stacks(
    points: Points,
    axis: Grids,
    parts: Mapping[str, Values],
    unit: str,
    first: int = 0,
    rule: Rule = None,
    *,
    shared: bool = False,
) -> tuple[tuple[Panel, ...], tuple[Key, ...]]:
    """A bar a grid, of the parts that it consists of, the first at the bottom.

    A part's colour is that of its place among all `parts`, from the `first` one, whichever of them there are.
    """
    shown = {part: at for at, (part, values) in enumerate(parts.items(), first) if any(values)}
    panels = []
    sums = [sum(values[at] or 0.0 for values in parts.values()) for at in range(points.count)] if shared else []
    for stage in lines.stages(points):
        by_numbers: dict[tuple[object, ...], tuple[list[str], list[int]]] = {}
        for attention in points.distinct("attention"):
            if of := lines.places(points, stage, attention):
                numbers = tuple(parts[part][at] for part in shown for at in of)
                by_numbers.setdefault(numbers, ([], of))[0].append(attention)
        for kinds, of in by_numbers.values():
            name = lines.title_of(points, stage)
            if len(by_numbers) > 1:
                name += f", {' and '.join(kinds)}"
            if any(parts[part][at] for part in shown for at in of):
                bars = {colour: scales.means(axis, of, parts[part]) for part, colour in shown.items()}
                classes = stage_class(stage) + "".join(f" {attention_class(kind)}" for kind in kinds if len(kinds) == 1)
                panels.append(_panel(name, classes, axis, bars, unit, rule, sums))
    return tuple(panels), tuple(Key("block", f"p{colour}", part) for part, colour in shown.items())


def _panel(
    name: str,
    classes: str,
    axis: Grids,
    parts: Mapping[int, list[tuple[int, float, int]]],
    unit: str,
    rule: Rule,
    reach: Sequence[float],
) -> Panel:
    base: dict[int, float] = {}
    bars = []
    for at_part, values in parts.items():
        for at, value, point in values:
            if value > 0:
                bars.append((at, at_part, base.get(at, 0.0), value, point))
                base[at] = base.get(at, 0.0) + value
    y = scales.linear([*base.values(), *reach, *([rule[0]] if rule else [])], HEIGHT - drawing.BOTTOM, drawing.TOP)
    x, wide = _places(axis)
    body = [drawing.frame(name, y, unit, x, axis, axis.title, WIDTH, HEIGHT)]
    if axis.labels:
        for at, at_part, low, value, point in bars:
            left, top, bottom = x(axis.keys[at]) - wide / 2, y(low + value), y(low)
            size = f'x="{left:.1f}" y="{top:.1f}" width="{wide:.1f}" height="{max(bottom - top, 0.2):.1f}"'
            body.append(f'<rect class="block p{at_part}" {size} data-id="{point}"/>')
    else:  # too many for bars
        for part in dict.fromkeys(at_part for _, at_part, _, _, _ in bars):
            ends = [(x(axis.keys[at]), y(low), y(low + value)) for at, of, low, value, _ in bars if of == part]
            body.append(drawing.area(ends, f"block p{part}"))
    if rule:
        body.append(drawing.line([(LEFT, y(rule[0])), (WIDTH - RIGHT, y(rule[0]))], "rule"))
        body.append(drawing.text(LEFT + 4, y(rule[0]) - 4, rule[1]))
    return Panel(name, "".join(body), classes)


def _places(axis: Grids) -> tuple[Scale, float]:
    """The x of each bar, and how wide it is: none reaches beyond the plot, where the axis has its numbers."""
    x = drawing.across(axis)
    wide = min(MOST_WIDE, 0.8 * (x.end - x.start) / max(1, len(axis.keys) - 1))
    return drawing.across(axis, inset=max(drawing.INSET, wide / 2)), wide
