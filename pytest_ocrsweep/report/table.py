"""Tables of text with aligned columns, and counts in words."""

from __future__ import annotations

from collections.abc import Sequence


def aligned(cells: Sequence[Sequence[str]], left: Sequence[int] = (0,)) -> list[str]:
    """A line for each row. Columns in `left` (negative: from the end) are aligned to the left, others to the right."""
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lefts = {at % len(widths) for at in left}
    return [
        "  ".join(
            cell.ljust(width) if at in lefts else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in cells
    ]


def points(count: int) -> str:
    """ "1 point", "1,200 points"."""
    return f"{count:,} point{'' if count == 1 else 's'}"
