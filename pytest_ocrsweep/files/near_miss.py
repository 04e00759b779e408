"""What somebody meant who wrote a word that is not known: the one place that guesses."""

from __future__ import annotations

import re
from collections.abc import Iterable

GRID = re.compile(r"\s*([0-9]{1,6})\s*(?:[*,;:/.+\-_ ×xX]|by)\s*([0-9]{1,6})\s*")


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word that is most like it, whatever its case and separators; None if none is."""
    import difflib

    by_letters: dict[str, str] = {}
    for name in known:
        by_letters.setdefault(_letters(name), name)
    (near,) = difflib.get_close_matches(_letters(word), by_letters, 1) or (None,)
    return None if near is None else by_letters[near]


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """The end of a message: "; did you mean 'h100'?"; empty if nothing is near."""
    near = nearest(word, known)
    return f"; did you mean {near!r}?" if near is not None else ""


def grid(text: str) -> str:
    """The same for a crop grid in another spelling, such as 2*3 or 2,3."""
    match = GRID.fullmatch(text)
    return f"; did you mean {match[1]}x{match[2]}?" if match else ""


def _letters(text: str) -> str:
    return re.sub(r"[-_ .]", "", text.lower())
