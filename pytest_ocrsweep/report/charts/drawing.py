"""A chart as SVG: panels of plain shapes, whose colours a style gives: the page's, or that of the picture alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

from ...model.attention import ATTENTION
from ...model.stages import STAGES
from . import scales
from .scales import Grids, Scale

WIDTH, HEIGHT = 340, 250  # of a panel, in pixels
LEFT, RIGHT, TOP, BOTTOM = 52, 10, 36, 54  # around its plot
INSET = 8  # of marks, from the edges of the plot
WIDE, TALL = 700, 340  # of the one panel of a wide chart
GAP, HEAD, KEY = 14, 58, 20  # of a picture: between panels, above them, and a line of its legend
ROW = 3  # panels in a row of a picture
STAGE_COLOURS = (("#1f6fc4", "#6cb0f5"), ("#0a7d5c", "#3fc79c"), ("#b8560b", "#f09a4a"), ("#9d4a8f", "#d993cc"))
PART_COLOURS = (  # of components, then of what fills memory; a stage's own hue is used for nothing else
    ("#1f6fc4", "#6cb0f5"),
    *[("#7fb2e6", "#3f77b0")] * 2,  # of the second encoder: no model has both
    ("#b9d6f2", "#27496b"),
    *(
        ("#6b4a94", "#b79ddb"),
        ("#c2609f", "#e08cc3"),
        ("#e9b3d6", "#8a4a74"),
        ("#c9a227", "#e3c65c"),
        ("#a3abb5", "#5d6672"),
    ),
    *(("#4a5568", "#aab6c6"), ("#8693a5", "#74839a"), ("#c8d0db", "#3f4a5a")),
)
OF_MEMORY = 9  # the first of the latter
DASHES = ("none", "5 3", "2 2", "7 2 2 2")  # of the fused attention, and of others
STYLE = """
:root { --c: var(--soft); }
svg text { font: 10.5px system-ui, -apple-system, "Segoe UI", Helvetica, Arial, sans-serif; fill: var(--text); }
svg text.soft { fill: var(--soft); }
svg text.name { font-weight: 600; font-size: 12px; }
svg text.end { text-anchor: end; }
svg text.mid { text-anchor: middle; }
svg .grid { stroke: var(--line); }
svg .rule { stroke: var(--soft); stroke-dasharray: 4 3; fill: none; }
svg .roof { stroke: var(--soft); stroke-width: 1.5; fill: none; }
svg .line { fill: none; stroke: var(--c); stroke-width: 2; stroke-linejoin: round; }
svg .thin { fill: none; stroke: var(--c); stroke-width: 1.2; stroke-dasharray: 1 3; stroke-linecap: round; }
svg .band { fill: var(--c); opacity: 0.18; }
svg .dot { fill: var(--c); }
svg .ring { fill: var(--card); stroke: var(--c); stroke-width: 1.5; }
svg .many { fill: none; stroke: var(--c); stroke-width: 3; stroke-linecap: round; }
svg .block { fill: var(--c); }
svg [data-id]:hover { stroke: var(--text); stroke-width: 1.5; }
"""
ALONE = ":root { --text: #1a2029; --soft: #566070; --line: #dde2e9; --card: #ffffff; }\n"


def colours(*, dark: bool = True) -> str:
    """The style's classes: `s0` is the first stage, `p0` the first part, `a0` the first attention."""

    def of(pair: tuple[str, str]) -> str:
        return f"light-dark({pair[0]}, {pair[1]})" if dark else pair[0]

    rules = [f".s{at} {{ --c: {of(pair)}; }}" for at, pair in enumerate(STAGE_COLOURS)]
    rules += [f".p{at} {{ --c: {of(pair)}; }}" for at, pair in enumerate(PART_COLOURS)]
    rules += [f"svg .line.a{at} {{ stroke-dasharray: {dash}; }}" for at, dash in enumerate(DASHES)]
    return "\n".join(rules)


def stage_class(stage: str) -> str:
    return f"s{list(STAGES).index(stage) % len(STAGE_COLOURS)}"


def attention_class(attention: str) -> str:
    """A fused attention is solid, because it is what people run."""
    kinds = sorted(ATTENTION, key=lambda name: not ATTENTION[name].fused)
    return f"a{kinds.index(attention) % len(DASHES)}"


@dataclass(frozen=True, slots=True)
class Key:
    """An entry of a legend: its mark is "line", "thin", "band", "block", "dot", "ring", "rule" or "roof"."""

    mark: str
    classes: str
    label: str

    def svg(self) -> str:
        """The mark, in 22 x 12 pixels."""
        kind = f'class="{self.mark} {self.classes}"'
        if self.mark in ("dot", "ring"):
            return f'<circle {kind} cx="11" cy="6" r="4"/>'
        if self.mark in ("band", "block"):
            return f'<rect {kind} x="1" y="1" width="20" height="10"/>'
        return f'<path {kind} d="M1 6H21"/>'


@dataclass(frozen=True, slots=True)
class Panel:
    """One plot of a chart; its classes name the stage and the attention that it is of, if it is of one."""

    name: str
    body: str
    classes: str
    width: int = WIDTH
    height: int = HEIGHT


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart; its title is a question, and `note` says how to read the answer."""

    name: str
    title: str
    note: str
    panels: tuple[Panel, ...]
    keys: tuple[Key, ...]

    def svg(self) -> str:
        """The chart as one SVG picture that needs nothing else."""
        per_row = min(ROW, len(self.panels))
        width = per_row * (self.panels[0].width + GAP) - GAP + 16
        legend, bottom = self._legend(width)
        body = []
        for at, panel in enumerate(self.panels):
            x, y = 8 + at % per_row * (panel.width + GAP), bottom + at // per_row * (panel.height + GAP)
            body.append(f'<g transform="translate({x} {y})">{panel.body}</g>')
        height = bottom + -(-len(self.panels) // per_row) * (self.panels[0].height + GAP)
        head = f'<text x="8" y="20" style="font-size:14px;font-weight:600">{escape(self.title)}</text>'
        head += f'<text x="8" y="38" class="soft">{escape(self.note)}</text>'
        style = escape(ALONE + STYLE + colours(dark=False), quote=False)
        size = f'width="{width}" height="{height}" viewBox="0 0 {width} {height}"'
        back = f'<rect width="{width}" height="{height}" fill="#ffffff"/>'
        name = f'role="img" aria-label="{escape(self.title)}"'
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" class="marks" {size} {name}>'
            f"<style>{style}</style>{back}{head}{legend}{''.join(body)}</svg>\n"
        )

    def _legend(self, width: int) -> tuple[str, int]:
        """The legend, and where it ends."""
        x, y, found = 8, HEAD - 12, []
        for key in self.keys:
            wide = 34 + 6 * len(key.label)
            if x > 8 and x + wide > width:
                x, y = 8, y + KEY
            found.append(
                f'<g transform="translate({x} {y})">{key.svg()}<text x="27" y="10">{escape(key.label)}</text></g>'
            )
            x += wide
        return "".join(found), y + KEY + 4


# Shapes


def text(x: float, y: float, words: str, classes: str = "soft", more: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{classes}"{more}>{escape(words)}</text>'


def line(points: Sequence[tuple[float, float]], classes: str) -> str:
    return f'<path class="{classes}" d="M{"L".join(f"{x:.1f} {y:.1f}" for x, y in points)}"/>'


def area(points: Sequence[tuple[float, float, float]], classes: str) -> str:
    """Between two heights of each x."""
    there = [f"{x:.1f} {low:.1f}" for x, low, _ in points]
    back = [f"{x:.1f} {high:.1f}" for x, _, high in reversed(points)]
    return f'<path class="{classes}" d="M{"L".join([*there, *back])}Z"/>'


def dots(places: Sequence[tuple[float, float]], classes: str) -> str:
    """Many small dots as one shape, which no pointer finds one by one."""
    return f'<path class="many {classes}" d="{"".join(f"M{x:.1f} {y:.1f}h0" for x, y in places)}"/>'


def dot(x: float, y: float, classes: str, point: int, r: float) -> str:
    return f'<circle class="{classes}" cx="{x:.1f}" cy="{y:.1f}" r="{r:g}" data-id="{point}"/>'


def across(axis: Grids, width: int = WIDTH, inset: float = INSET) -> Scale:
    """The x of each place of an axis; the first and the last are `inset` pixels from the plot's edges."""
    start, end = LEFT + inset, width - RIGHT - inset
    if axis.labels:
        last = max(len(axis.keys) - 1, 1)
        return Scale(0, last, start, end, axis.keys)
    return scales.linear(axis.keys, start, end, zero=False)


def frame(name: str, y: Scale, unit: str, x: Scale, axis: Grids | None, x_title: str, width: int, height: int) -> str:
    """A panel's name, its axes with labels, and the lines behind the values."""
    parts = [text(LEFT - 44, 12, name, "name"), text(LEFT - 44, 26, unit)] if name else [text(8, 14, unit)]
    for tick in y.ticks:
        at = y(tick)
        parts.append(f'<path class="grid" d="M{LEFT} {at:.1f}H{width - RIGHT}"/>')
        parts.append(text(LEFT - 5, at + 3.5, scales.shown(tick), "soft end"))
    bottom = height - BOTTOM
    if axis and axis.labels:
        for place, label in enumerate(axis.labels):
            at = x(place)
            turn = f' transform="rotate(-90 {at + 3.5:.1f} {bottom + 6:.1f})"'
            parts.append(text(at + 3.5, bottom + 6, label, "soft end", turn))
    else:
        parts += [text(x(tick), bottom + 15, scales.shown(tick), "soft mid") for tick in x.ticks]
    return "".join([*parts, text((LEFT + width - RIGHT) / 2, height - 8, x_title, "soft mid")])


def keys(found: Iterable[Key]) -> tuple[Key, ...]:
    return tuple(dict.fromkeys(found))
