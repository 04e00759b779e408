"""What is installed, read once: every pytest run inside a test would read it anew, a fifth of a small run's time."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from importlib import metadata
from os import PathLike


class _Installed(metadata.Distribution):
    """A distribution whose files of metadata are parsed once."""

    def __init__(self, found: metadata.Distribution) -> None:
        self._found = found

    def read_text(self, filename: str) -> str | None:
        return self._found.read_text(filename)

    def locate_file(self, path: str | PathLike[str]) -> PathLike[str]:
        return self._found.locate_file(path)

    metadata = cached_property(lambda self: self._found.metadata)  # type: ignore[assignment]
    entry_points = cached_property(lambda self: self._found.entry_points)  # type: ignore[assignment]
    files = cached_property(lambda self: self._found.files)  # type: ignore[assignment]


def read_once() -> Iterator[None]:
    """While it is open, `importlib.metadata.distributions()` gives the same objects each time."""
    real = metadata.distributions
    installed = [_Installed(each) for each in real()]
    metadata.distributions = lambda **where: real(**where) if where else iter(installed)
    try:
        yield
    finally:
        metadata.distributions = real
