"""How far a long piece of work is, for whoever waits at a terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")

PATIENCE_S = 2  # what takes less shows nothing


def watched(items: Iterable[T], total: int, unit: str) -> Iterator[T]:
    """The same items; after two seconds a bar with the time left, on stderr and only where that is a terminal."""
    if sys.stderr is None:  # closed by whoever started us
        return iter(items)
    from tqdm import tqdm

    bar: Iterator[T] = iter(tqdm(items, total=total, unit=f" {unit}", delay=PATIENCE_S, leave=False, disable=None))
    return bar


def say(text: str) -> None:
    """Tell, on stderr and only where that is a terminal, what takes its time now and cannot tell how much is left."""
    if sys.stderr is not None and sys.stderr.isatty():
        print(text, file=sys.stderr, flush=True)
