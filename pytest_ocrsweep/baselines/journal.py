"""Times that a run has not recorded yet: a file with one JSON line a point, which the next run reads if this one dies.

Its first line says what the times were taken on. A new line is on the disk before the next point is timed, so a lost
process or a power cut tears the last line at most.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, fields
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple, TypeVar

from ..errors import BaselineError
from ..files import appending, atomic, untrusted
from ..files.text import command, printable
from .json_layout import Field, JsonObject, Kind, Layout, Wrong, known, later, number, positive, text
from .measurement import Environment
from .recorded_time import TimedProcess
from .result import PointResult
from .result_json import POINT

SCHEMA = 1
SUFFIX = ".ocrsweep-journal"
OPEN = os.O_RDWR | os.O_APPEND | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)

R = TypeVar("R", bound=JsonObject)
Check = Callable[[PointResult], object]  # raises ValueError


@dataclass(frozen=True, slots=True)
class Header(JsonObject):
    """What two runs must share for their times to be recorded as one run's; `begun` tells them apart."""

    schema: int
    model: str
    architecture: str  # a digest, as is `program`
    workload: str
    program: str  # that counts and times
    slowdown_percent: float
    gpu: str
    driver: str | None
    torch: str | None
    transformers: str | None
    dtype: str | None
    weights: str | None
    git_revision: str | None
    begun: str = field(compare=False)
    engine_start: str | None = None

    @property
    def name(self) -> str:
        """The journal's file name: journals with other headers lie beside it."""
        return f".{sha256(repr(self._compared).encode()).hexdigest()[:12]}{SUFFIX}"

    @property
    def _compared(self) -> dict[str, object]:
        return {each.name: getattr(self, each.name) for each in fields(self) if each.name in LAYOUT and each.compare}

    def differences(self, now: Header) -> str:
        """What this header has otherwise than that of the run that goes on: "git_revision 1a2b -> 3c4d"."""
        then, wanted = self._compared, now._compared
        return ", ".join(f"{name} {then[name]} -> {wanted[name]}" for name in then if then[name] != wanted[name])

    def environment(self, host: str | None) -> Environment:
        """What a time of this journal was taken on."""
        versions = (self.driver, self.torch, self.transformers)
        on = (self.dtype, self.weights, self.git_revision)
        return Environment(host, self.gpu, *versions, *on, engine_start=self.engine_start)


LAYOUT: dict[str, Field | Kind] = {
    "schema": positive,
    **dict.fromkeys(("model", "architecture", "workload", "program"), text),
    "slowdown_percent": number,
    "gpu": text,
    **dict.fromkeys(("driver", "torch", "transformers", "dtype", "weights", "git_revision"), known(text)),
    "begun": text,
    "engine_start": later(text),
}
HEADER = Layout(Header, LAYOUT)


class Journal(NamedTuple):
    """A journal as it was read: the last line of each point, and how many bytes hold whole lines."""

    header: Header
    points: list[PointResult]
    whole_bytes: int
    torn: bool


def read(path: Path, check: Check) -> Journal:
    """The journal; a torn last line is left out. Raises BaselineError for a file that is no journal."""
    try:
        if path.is_symlink():
            raise OSError(errno.ELOOP, "it is a link")
        *lines, rest = untrusted.read(path).split(b"\n")
    except OSError as error:
        what = f"{path}: the journal cannot be read ({error.strerror or error});"
        raise BaselineError(what, untrusted.remedy(error)) from None
    if not lines:
        raise _damaged(path, 1, "it has no whole line")
    header = _parsed(path, 1, HEADER, lines[0])
    if header.schema != SCHEMA:
        what = f"{path}:1: its schema is {header.schema}, but this version reads {SCHEMA};"
        raise BaselineError(what, f"update with the pytest-ocrsweep that wrote it, or {_remedy(path)}")
    points, whole_bytes, torn = dict[object, PointResult](), len(lines[0]) + 1, bool(rest)
    for number_, line in enumerate(lines[1:], 2):
        try:
            point = _parsed(path, number_, POINT, line)
            _check(path, number_, header, point, check)
        except BaselineError:
            if number_ < len(lines) or rest:
                raise
            torn = True  # its end came to the disk before its middle
            break
        points[point.key] = point
        whole_bytes += len(line) + 1
    return Journal(header, list(points.values()), whole_bytes, torn)


def _parsed(path: Path, line: int, layout: Layout[R], content: bytes) -> R:
    try:
        return layout.read(untrusted.parse_json(content))
    except Wrong as wrong:
        raise _damaged(path, line, " ".join(filter(None, (".".join(wrong.at), wrong.what)))) from None
    except json.JSONDecodeError as error:
        raise _damaged(path, line, f"it is not JSON ({error.msg})") from None
    except (ValueError, RecursionError) as error:
        raise _damaged(path, line, str(error)) from None


def _check(path: Path, line: int, header: Header, point: PointResult, check: Check) -> None:
    """Raises BaselineError for a point that could not be recorded."""
    vendor, attained = point.vendor, point.floor.attained if point.floor else None
    try:
        if vendor is None or vendor.gpu != header.gpu:
            raise ValueError(f"it has no time on {header.gpu}")
        time = TimedProcess.of(vendor, header.environment(vendor.host), attained)
        if time.attained is not None and not 0 < time.attained <= 1:
            raise ValueError(f"floor.attained must be a fraction above 0, got {attained}")
        check(point)
    except ValueError as error:
        raise _damaged(path, line, str(error)) from None


def _damaged(path: Path, line: int, what: str) -> BaselineError:
    return BaselineError(f"damaged journal {path}:{line}: {printable(what)};", _remedy(path))


def _remedy(path: Path) -> str:
    return f"delete it ({command('rm', str(path))}) to have times journalled again"


def begin(path: Path, header: Header) -> None:
    """Make an empty journal, inside a block that has `locked` the file. Raises OSError."""
    atomic.replace(path, _line(HEADER.write(header)))


@dataclass
class Writer:
    """Appends to a journal, from the end of its whole lines on."""

    path: Path
    whole_bytes: int

    def __post_init__(self) -> None:
        self._descriptor: int | None = os.open(self.path, OPEN)
        os.ftruncate(self._descriptor, self.whole_bytes)

    def append(self, point: PointResult) -> None:
        """Put a point on the disk. Raises OSError, after which nothing more can be appended."""
        if self._descriptor is None:
            return
        line = _line(POINT.write(point)).encode("utf-8")
        try:
            appending.append(self._descriptor, line, self.whole_bytes)
        except OSError:
            self.close()
            raise
        self.whole_bytes += len(line)

    def close(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            with suppress(OSError):
                os.close(descriptor)


def _line(content: dict[str, object]) -> str:
    return json.dumps(content) + "\n"
