"""Progress of long work, for a person at a terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import TypeVar

from ..files.text import terminal_line

T = TypeVar("T")

PATIENCE_S = 2  # shorter work shows no progress


def watched(items: Iterable[T], total: int, unit: str) -> Iterator[T]:
    """The same items; after two seconds shows a bar with the time left, on stderr and only if it is a terminal."""
    if sys.stderr is None:  # the parent process closed it
        return iter(items)
    from tqdm import tqdm

    bar: Iterator[T] = iter(tqdm(items, total=total, unit=f" {unit}", delay=PATIENCE_S, leave=False, disable=None))
    return bar


def say(text: str) -> None:
    """Print what runs now and cannot show how much is left, on stderr and only if it is a terminal."""
    if sys.stderr is not None and sys.stderr.isatty():
        print(terminal_line(text), file=sys.stderr, flush=True)


def writing(name: str) -> None:
    """Say which file of a report is made now."""
    say(f"writing {name}")
