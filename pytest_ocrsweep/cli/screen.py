"""What suits the terminal: tables as wide as it is, and verdicts in colour if that is wanted."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from typing import TextIO

from ..report import table
from ..report.terminal import verdict_of

WIDER = "COLUMNS=200 or --json shows them"
CODES = {"red": 31, "green": 32, "yellow": 33, "cyan": 36}
WHOLE = re.compile(r"(RED|GREEN)(?=:)")  # what a line about all points begins with


def fitted(cells: Sequence[Sequence[str]], important: Sequence[str], left: Sequence[int] = (0,)) -> list[str]:
    """A table with the columns that the terminal has room for, as `table.fitted`, and a line about the others."""
    lines, absent = table.fitted(cells, left, table.width(), important)
    return [*lines, *table.left_out(absent, WIDER)]


def wanted(file: TextIO | None) -> bool:
    """PY_COLORS decides, then NO_COLOR, then FORCE_COLOR; else whether this is a terminal that knows colours."""
    told = os.environ.get("PY_COLORS")
    if told in ("0", "1"):
        return told == "1"
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return file is not None and file.isatty() and os.environ.get("TERM") != "dumb"


def painted(line: str) -> str:
    """The line with the verdict that ends or begins it in its colour."""
    if whole := WHOLE.match(line):
        return _in(whole[0].lower(), whole[0]) + line[whole.end() :]
    before, verdict, colour = verdict_of(line)
    return before + _in(colour, verdict) if colour else line


def _in(colour: str, text: str) -> str:
    return f"\x1b[{CODES[colour]}m{text}\x1b[0m"
