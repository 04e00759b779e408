"""Tables of text with aligned columns, as wide as the terminal; and counts in words."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence

BETWEEN = "  "  # two columns
SENTENCE = 26  # columns of a terminal that the last column of a table takes, if its cells need more
LEAST = 40  # columns: a narrower terminal breaks lines, which says more than their first letters


def width() -> int | None:
    """What COLUMNS says, else a terminal's width; None for a file or a pipe, which get all columns of a table."""
    told = os.environ.get("COLUMNS", "")
    if told.isdecimal() and int(told):
        return max(int(told), LEAST)
    is_terminal = sys.stdout is not None and not sys.stdout.closed and sys.stdout.isatty()
    return max(shutil.get_terminal_size().columns, LEAST) if is_terminal else None


def aligned(cells: Sequence[Sequence[str]], left: Sequence[int] = (0,)) -> list[str]:
    """A line for each row. Columns in `left` (negative: from the end) are aligned to the left, others to the right."""
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lefts = {at % len(widths) for at in left}
    return [
        BETWEEN.join(
            cell.ljust(width) if at in lefts else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in cells
    ]


def fitted(
    cells: Sequence[Sequence[str]], left: Sequence[int], most: int | None, important: Sequence[str]
) -> tuple[list[str], list[str]]:
    """The table in at most so many columns of a terminal, and the headings of what was left out.

    A heading in `important` stays while there is room, the most important first; all others stay in any case. The last
    column may hold sentences: they are cut.
    """
    header, count = cells[0], len(cells[0])
    wide = {at: max(len(row[at]) for row in cells) + len(BETWEEN) for at in range(count)}
    if most is not None:
        wide[count - 1] = min(wide[count - 1], SENTENCE)
    kept = {at for at in range(count) if header[at] not in important}
    room = (sum(wide.values()) if most is None else most + len(BETWEEN)) - sum(wide[at] for at in kept)
    for at in sorted(wide.keys() - kept, key=lambda at: important.index(header[at])):
        if wide[at] <= room:
            kept.add(at)
            room -= wide[at]
    shown = sorted(kept)
    lefts = {at % count for at in left}
    rows = aligned([[row[at] for at in shown] for row in cells], [i for i, at in enumerate(shown) if at in lefts])
    return cut(rows, most), [name for at, name in enumerate(header) if at not in kept]


def cut(lines: Sequence[str], most: int | None) -> list[str]:
    """Lines whose last cell is a sentence, cut to a terminal's width."""
    return [line if most is None or len(line) <= most else f"{line[: max(most, 1) - 1]}…" for line in lines]


def left_out(headings: Sequence[str], where: str) -> list[str]:
    """The line that names what `fitted` left out, and says what shows it; no line for nothing."""
    return [f"no room for {', '.join(headings)}: {where}"] if headings else []


def points(count: int) -> str:
    """ "1 point", "1,200 points"."""
    return f"{count:,} point{'' if count == 1 else 's'}"
