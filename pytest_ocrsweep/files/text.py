"""Text from files, users and libraries, made fit for a message of one line."""

from __future__ import annotations

import reprlib

SHORT = reprlib.Repr()
SHORT.maxstring = SHORT.maxother = 100


def quoted(value: object) -> str:
    """The repr of a value, cut to fit into a line."""
    return SHORT.repr(value)


def printable(text: str, most: int | None = 200) -> str:
    """`text` on one line, without characters that a terminal would obey, cut to `most` characters."""
    plain = "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
    return plain if most is None or len(plain) <= most else plain[: most - 1] + "…"
