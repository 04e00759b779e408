"""A file that a command writes at its end: whether it may is known before minutes of measuring."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from ..errors import ArgumentError, OcrsweepError
from ..files import atomic


def refuse_unwritable(path: Path) -> None:
    """Raises ArgumentError if something else stands in the file's place, or nothing can be written there."""
    folder = next(each for each in path.absolute().parents if each.exists())
    if path.exists() and not path.is_file():
        raise ArgumentError(f"{path}: it is not a regular file:", "name another one")
    if not (folder.is_dir() and os.access(folder, os.W_OK)):
        raise ArgumentError(f"{path}: nothing can be written in {folder}:", "name another folder")


def refuse_other(path: Path, read: Callable[[Path], object], what: str) -> None:
    """The same, and for a file that `read` cannot read: it is none that this command wrote, and would be lost."""
    refuse_unwritable(path)
    if not path.exists():
        return
    try:
        read(path)
    except OcrsweepError:
        raise ArgumentError(f"{path}: it is not {what}, and stays as it is:", "name another one") from None


def write(path: Path, text: str) -> None:
    """Raises ArgumentError, with what to do about it."""
    try:
        atomic.write(path, text)
    except OSError as error:
        raise ArgumentError(f"{path}: it cannot be written ({error.strerror}):", atomic.remedy(error)) from None
