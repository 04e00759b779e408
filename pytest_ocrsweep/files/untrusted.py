"""Reads files that others wrote: only regular files of a plausible size, and JSON without repeated keys."""

from __future__ import annotations

import errno
import json
import os
import re
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")  # JSON may write a character as two surrogates, or one alone
MOST = 10**100  # no hardware has a larger number, and products of larger ones overflow a float
MOST_BYTES = 24 << 20  # a report of 6,000 measured points has two thirds; at worst 190 MiB of memory
MOST_VALUES = 800_000  # of a JSON text, by its commas and brackets: at worst a second and 200 MiB

REMEDIES = {
    **dict.fromkeys((errno.EACCES, errno.EPERM), "make it readable for this user"),
    errno.EFBIG: "move it away: this is none of ours",
    **dict.fromkeys((errno.EISDIR, errno.ENOTDIR, errno.EINVAL, errno.ELOOP), "move away what stands in its place"),
}


def remedy(error: OSError) -> str:
    """What a user can do about a file that could not be read."""
    return REMEDIES.get(error.errno or 0, "see to it")


def open_regular(path: Path) -> BinaryIO:
    """Opens a regular file to read; a pipe may never begin, and a device may never end. Raises OSError."""
    mode = os.stat(path).st_mode
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):  # `open` has a better message for a folder
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    return path.open("rb")


def read(path: Path, most: int = MOST_BYTES) -> bytes:
    """All bytes of a regular file. Raises OSError, also for more than `most` bytes, without reading them."""
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        content = b"" if size > most else file.read(most + 1)
    if max(size, len(content)) > most:
        raise OSError(errno.EFBIG, f"it has more than {most:,} bytes", str(path))
    return content


def parse_json(
    text: str | bytes, constant: Callable[[str], object] | None = None, most_values: int = MOST_VALUES
) -> Any:
    """The value of a JSON text in UTF-8 without repeated keys; `constant` converts NaN and Infinity.

    Raises ValueError, also for more than `most_values`, without parsing them; RecursionError.
    """
    if isinstance(text, bytes):
        text = text.decode("utf-8")
    if sum(map(text.count, ",[{")) > most_values:
        raise ValueError(f"it has more than {most_values:,} values")
    value = json.loads(text, object_pairs_hook=_without_repeats, parse_constant=constant)
    if SURROGATE.search(text):
        _check_characters(value)
    return value


def _check_characters(value: object) -> None:
    left = [value]
    while left:
        item = left.pop()
        if isinstance(item, str):
            try:
                item.encode("utf-8")
            except UnicodeEncodeError:
                raise ValueError("half a character, which no file can hold, is in its text") from None
        elif isinstance(item, dict):
            left += (*item, *item.values())
        elif isinstance(item, list):
            left += item


def _without_repeats(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise ValueError(f"a key is given twice in {json.dumps(members)[:80]}")
    return members
