"""Recorded times as a chart, by Vega-Altair: `python -m pytest_ocrsweep.report.charts times.svg`."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import groupby
from typing import TYPE_CHECKING, Any

from ..stages import STAGES
from . import times
from .times import Point

if TYPE_CHECKING:
    import altair

WIDTH, HEIGHT = 212, 220  # of one stage: three make some 800 pixels
FORMATS = (".svg", ".png", ".html", ".json")


@dataclass(frozen=True, slots=True)
class Style:
    """How a line looks, told apart in grey by mark and dash; `name_dy` puts its name so many pixels below its end."""

    colour: str
    shape: str
    dash: tuple[int, int]
    name_dy: int


STYLES = {
    "eager": Style("#b2182b", "circle", (1, 0), name_dy=-13),
    "flash": Style("#2166ac", "triangle-up", (5, 3), name_dy=24),
}


def by_crops(found: Sequence[Point]) -> altair.VConcatChart:
    """A row a workload, a panel a stage: device time by number of crops, decode's by token; a mark is a grid."""
    import altair as alt

    rows = [_row(alt, work, list(group)) for work, group in groupby(sorted(found, key=times.workload), times.workload)]
    chart: altair.VConcatChart = (
        alt.vconcat(*rows)
        .configure(background="white", font="Helvetica, Arial, sans-serif", padding=8)
        .configure_axis(labelFontSize=10, titleFontSize=11, titleFontWeight="normal", gridColor="#e4e4e4")
        .configure_title(fontSize=13, anchor="start", offset=10)
        .configure_view(stroke=None)
    )
    return chart


def _row(alt: Any, work: str, found: Sequence[Point]) -> Any:
    stages = [stage for stage in STAGES if any(point.stage == stage for point in found)]
    panels = [_panel(alt, stage, [point for point in found if point.stage == stage]) for stage in stages]
    gpus = sorted({str(environment["gpu"]) for point in found for environment in point.stored.environments})
    title = alt.TitleParams(f"{', '.join(gpus)}: {work}", fontSize=11, fontWeight="normal")
    return alt.hconcat(*panels, spacing=58, bounds="flush", title=title)


def _panel(alt: Any, stage: str, found: Sequence[Point]) -> Any:
    grids = sorted({point.key.work.grid for point in found})
    crops = sorted({grid.crops for grid in grids})
    ticks: dict[int, list[str]] = defaultdict(list)
    for grid in grids:
        ticks[grid.crops] = [*(ticks[grid.crops] or [str(grid.crops)]), str(grid)]
    unit = "ms per new token" if stage == "decode" else "ms"
    x = alt.X(
        "crops:Q",
        title="crops, and their grids as rows x columns",
        scale=alt.Scale(domain=[crops[0], crops[-1]], nice=False, padding=8),
        axis=alt.Axis(values=crops, grid=False, labelExpr=f"{json.dumps(ticks)}[datum.value]", labelLineHeight=12),
    )
    layers = []
    for attention, style in STYLES.items():
        data = [_datum(point) for point in found if point.key.attention == attention]
        base = alt.Chart(alt.Data(values=data)).encode(x=x)
        mean = base.encode(y=alt.Y("mean(ms):Q", title=f"device time, {unit}", scale=alt.Scale(zero=True)))
        marks = {"filled": True, "size": 38, "opacity": 1, "color": style.colour}
        layers += [
            mean.mark_line(strokeWidth=1.5, strokeDash=style.dash, color=style.colour),
            base.mark_point(shape=style.shape, **marks).encode(y="ms:Q", tooltip=["grid:N", "ms:Q"]),
            mean.transform_filter(f"datum.crops == {crops[-1]}").mark_text(
                text=attention, align="right", dx=6, dy=style.name_dy, fontSize=11, color=style.colour
            ),
        ]
    return alt.layer(*layers, title=stage, width=WIDTH, height=HEIGHT)


def _datum(point: Point) -> dict[str, object]:
    work = point.key.work
    tokens = work.new_tokens if point.stage == "decode" else 1
    return {"crops": work.grid.crops, "grid": str(work.grid), "ms": point.stored.baseline.time_ns / tokens / 1e6}


def main() -> None:
    made = times.parser(__doc__)
    made.add_argument("out", metavar="OUT", help=f"file to write: {', '.join(FORMATS)}")
    options = made.parse_args()
    if not options.out.endswith(FORMATS):
        made.exit(2, f"{options.out}: its name must end with one of {', '.join(FORMATS)}\n")
    for module in ("altair", "vl_convert"):
        if find_spec(module) is None:
            made.exit(2, f"{module} is not installed: pip install 'pytest-ocrsweep[report]'\n")
    by_crops(times.chosen(made, options)).save(options.out)


if __name__ == "__main__":
    main()
