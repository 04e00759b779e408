"""Appends to an open file: what is appended is on the disk as a whole, or not at all."""

from __future__ import annotations

import os
from contextlib import suppress


def append(descriptor: int, content: bytes, at: int) -> None:
    """Put `content` at the file's end, which is `at`; a part that was written is cut off again. Raises OSError."""
    try:
        left = memoryview(content)
        while left:
            left = left[os.write(descriptor, left) :]
        os.fsync(descriptor)
    except OSError:
        with suppress(OSError):
            os.ftruncate(descriptor, at)
        raise
