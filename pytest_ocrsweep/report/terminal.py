"""Rows as the table that ends a run: aligned, scaled, worst first when there are too many."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..baselines.metrics import METRICS, values
from ..baselines.result import Row, order

MANY = 150  # points: the default sweep is shown whole, a table of more is cut
WORST = 30  # failing points that a cut table shows
HEAVIEST = 4  # points a stage that a cut table shows beside them

FAILED = ("FAIL", "NO SAMPLE")
NAMES = ("stage", "grid", "attention")
TABLE = ("context_tokens", "flops", "moved_bytes", "intensity", "peak_activation_bytes", "kv_cache_bytes")
MEASURED = ("device_ns", "attained", "wall_ns", "launch_overhead_ns")
PER_TOKEN = ("flops_per_token", "moved_bytes_per_token")


def table(rows: Sequence[Row], labels: Mapping[str, str], option: str = "--ocrsweep-report") -> list[str]:
    """A line a point under a header that has the units; decode's totals are over all new tokens.

    `option` is what writes all of the points where a table of many is cut.
    """
    rows = sorted(rows, key=order)
    shown = rows if len(rows) <= MANY else _worst(rows)
    decodes = any(row["stage"] == "decode" for row in shown)
    measured = any(row["vendor"] for row in shown)
    metrics = TABLE + (PER_TOKEN if decodes else ()) + ("floor_ns",) + (MEASURED if measured else ())
    cells = [[*NAMES, *(METRICS[name].heading for name in metrics), "bound", "verdict"]]
    for row in shown:
        found = values(row)
        label = labels.get(row["grid"])
        grid = f"{row['grid']} {label}" if label else row["grid"]
        numbers = [METRICS[name].show(found[name]) for name in metrics]
        bound = row["floor"]["bound"] if row["floor"] else "-"
        cells.append([row["stage"], grid, row["attention"], *numbers, bound, row["verdict"]])
    lines = _align(cells)
    if len(shown) < len(rows):
        failed = sum(row["verdict"] in FAILED for row in rows)
        lines.append(
            f"{len(shown)} of {len(rows)} points, {failed} failed: at most {WORST} of those and the heaviest of "
            f"each stage are shown; {option}=DIR has all of them in DIR/sweep.json"
        )
    if decodes:
        tokens = sorted({row["new_tokens"] for row in shown if row["stage"] == "decode"})
        lines.append(f"decode rows are totals over {tokens[0]} new tokens; the columns per token are their mean")
    if names := sorted({row["floor"]["device"] for row in shown if row["floor"]}):
        lines.append(
            f"floors are of {', '.join(names)}: nothing runs faster; bound is the resource that sets the floor"
        )
    return lines


def _worst(rows: Sequence[Row]) -> list[Row]:
    """Failing points, and the heaviest by FLOPs of each stage, in table order."""
    failing = [row for row in rows if row["verdict"] in FAILED][:WORST]
    heaviest = []
    for stage in dict.fromkeys(row["stage"] for row in rows):
        of_stage = [row for row in rows if row["stage"] == stage]
        heaviest += sorted(of_stage, key=lambda row: values(row)["flops"] or 0)[-HEAVIEST:]
    return sorted(failing + [row for row in heaviest if row not in failing], key=order)


def _align(cells: Sequence[Sequence[str]]) -> list[str]:
    """Names to the left, numbers to the right."""
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    last = len(widths) - 1
    return [
        "  ".join(
            cell.ljust(width) if at < len(NAMES) or at == last else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in cells
    ]
