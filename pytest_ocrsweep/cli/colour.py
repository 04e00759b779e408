"""Verdicts in colour, where a person looks and has not asked for none: by the variables that pytest obeys too."""

from __future__ import annotations

import os
import re
from typing import TextIO

from ..report.terminal import verdict_of

CODES = {"red": 31, "green": 32, "yellow": 33, "cyan": 36}
WHOLE = re.compile(r"(RED|GREEN)(?=:)")  # what a line about all points begins with


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
