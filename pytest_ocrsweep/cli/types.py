"""What values of arguments may be: each function is for `type=` of argparse, and refuses in a few words."""

from __future__ import annotations

import argparse
import re
from math import inf
from pathlib import Path

from ..files.text import quoted

UNITS = {"s": 1, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}  # of a time, in seconds


def whole(text: str, least: int = 0) -> int:
    """A whole number from `least` on."""
    if not (text.isascii() and text.isdigit() and int(text) >= least):
        raise argparse.ArgumentTypeError(f"must be a whole number of at least {least}, got {quoted(text)}")
    return int(text)


def count(text: str) -> int:
    """A whole number from 1 on."""
    return whole(text, least=1)


def positive(text: str) -> float:
    """A number above 0."""
    try:
        value = float(text)
    except ValueError:
        value = 0
    if not 0 < value < inf:
        raise argparse.ArgumentTypeError(f"must be a positive number, got {quoted(text)}")
    return value


def seconds(text: str, usual: float) -> float:
    """A time such as 500ms, 0.5s or 0.5, between a nanosecond and thirty years.

    Without a unit it is in seconds, and refused if it is more than is `usual`: most who write so mean milliseconds.
    """
    match = re.fullmatch(r"(.*?)\s*(s|ms|us|µs|ns)?", text.strip(), re.DOTALL)
    assert match is not None  # it matches any text
    number, unit = match.groups()
    try:
        value = positive(number) * UNITS[unit or "s"]
    except argparse.ArgumentTypeError as error:
        raise argparse.ArgumentTypeError(f"{error}; write a time as 500ms or 0.5s") from None
    if not 1e-9 <= value <= 1e9:
        raise argparse.ArgumentTypeError(f"must be from 1e-9 to 1e9 seconds, got {quoted(text)}")
    if unit is None and value > usual:
        raise argparse.ArgumentTypeError(f"{number} seconds are long: write {number}ms or {number}s")
    return value


def given(text: str) -> str:
    """Any text but an empty one, which a shell passes for a variable that is not set."""
    if not text:
        raise argparse.ArgumentTypeError("is empty: give a value, or leave it out")
    return text


def path(text: str) -> Path:
    """A path, which `given` checks."""
    return Path(given(text))
