"""The file that `--save` names: a line of JSON for each load, with every request, after what is there."""

from __future__ import annotations

import errno
import json
import os
import platform
import stat
from dataclasses import astuple
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from ..errors import EngineError
from ..files import appending, atomic
from ..files.text import printable, text_of
from .about import About
from .served import ServedLoad

FLAGS = os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0)


class SavedRows:
    """Opened before an engine is started, so that no load is served for nothing. Raises EngineError."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._descriptor = os.open(path, FLAGS, 0o666)
        except (OSError, ValueError) as error:  # ValueError: a null byte
            raise self._refused(error) from None
        try:
            if not stat.S_ISREG(os.fstat(self._descriptor).st_mode):
                raise OSError(errno.EINVAL, "it is no regular file")
            self.cut = self._has_no_end()
        except OSError as error:
            self.close()
            raise self._refused(error) from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        os.close(self._descriptor)

    def add(self, about: About, served: ServedLoad) -> None:
        """A line, which is whole or not there; it begins a new one if the last has no end. Raises EngineError."""
        line = json.dumps(_row(about, served)) + "\n"
        try:
            begins = "\n" if self._has_no_end() else ""
            appending.append(self._descriptor, (begins + line).encode(), os.fstat(self._descriptor).st_size)
        except OSError as error:
            raise self._refused(error) from None

    def __str__(self) -> str:
        return printable(str(self._path))

    def _has_no_end(self) -> bool:
        size = os.fstat(self._descriptor).st_size
        if not size:
            return False
        os.lseek(self._descriptor, size - 1, os.SEEK_SET)
        return os.read(self._descriptor, 1) != b"\n"

    def _refused(self, error: OSError | ValueError) -> EngineError:
        hint = "name another file"
        if isinstance(error, OSError) and error.errno not in (errno.ENOENT, errno.EISDIR, errno.EINVAL):
            hint = atomic.remedy(error)
        return EngineError(f"{self}: no row can be saved there ({text_of(error)});", hint)


def _row(about: About, served: ServedLoad) -> dict[str, object]:
    load = served.load
    return {
        "tool": "pytest_ocrsweep.engines",
        "date": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "host": platform.node(),
        "engine": about.engine,
        "engine_version": about.version,
        "model": about.model,
        "gpu": about.gpu,
        "encoder_graphs": about.encoder_graphs,
        "page": f"{load.width}x{load.height}",
        "concurrency": load.concurrency,
        "wall_ns": served.wall_ns,
        "rendered_ns": served.rendered_ns,
        "energy_mj": served.energy_mj,
        "requests": [astuple(each) for each in served.requests],
    }
