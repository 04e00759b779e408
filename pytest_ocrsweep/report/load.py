"""A report as data again: from its sweep.json, a run of its sweep.sqlite, or the folder that has them."""

from __future__ import annotations

import json
import os
from pathlib import Path

from ..baselines.result_json import REMEDY, from_json
from ..baselines.sweep_report import Report
from ..errors import ReportError
from ..files import untrusted
from . import sqlite

JSON, SQLITE = "sweep.json", "sweep.sqlite"
SOURCES = "a sweep.json, a sweep.sqlite (of several runs: sweep.sqlite#RUN), or a folder that has one"
MAGIC = b"SQLite format 3\0"


def load(source: str | Path) -> Report:
    """The report of a JSON file, of a SQLite file (its last run, or `file#RUN`), or of the folder with either.

    Raises ReportError: one line with the file, what is wrong, and what to do.
    """
    path, run = _chosen(str(source))
    if os.path.isdir(path):
        inside = SQLITE if run is not None else next((name for name in (JSON, SQLITE) if (path / name).is_file()), None)
        if inside is None:
            raise ReportError(f"{path}: the folder has neither {JSON} nor {SQLITE}:", f"give {SOURCES}")
        path /= inside
    try:
        with untrusted.open_regular(path) as file:
            is_sqlite = file.read(len(MAGIC)) == MAGIC
    except FileNotFoundError:
        raise ReportError(f"{path}: there is no such file:", f"give {SOURCES}") from None
    except OSError as error:
        raise ReportError(f"{path}: it cannot be read ({error.strerror}):", f"give {SOURCES}") from None
    if is_sqlite or path.suffix in (".sqlite", ".db"):
        return sqlite.read(path, run)
    if run is not None:
        raise ReportError(f"{path}: #{run} names a run of a SQLite file, which this is not:", "leave it out")
    return _json(path)


def _chosen(source: str) -> tuple[Path, int | None]:
    """The file, and the run after `#`; a file whose own name ends so is itself."""
    name, mark, run = source.rpartition("#")
    if not mark or os.path.exists(source):
        return Path(source), None
    if not (run.isascii() and run.isdigit() and len(run) < 10):
        raise ReportError(f"{name}: #{run} is not the number of a run:", "write one, such as #1")
    return Path(name), int(run)


def _json(path: Path) -> Report:
    try:
        document = untrusted.parse_json(untrusted.read(path).decode("utf-8"), _no_number)
    except OSError as error:
        raise ReportError(f"{path}: it cannot be read ({error.strerror}):", f"give {SOURCES}") from None
    except UnicodeDecodeError as error:
        raise _damaged(path, f"byte {error.start} is not UTF-8") from None
    except json.JSONDecodeError as error:
        raise _damaged(path, f"line {error.lineno} is not JSON ({error.msg})") from None
    except ValueError as error:  # of our own, or a number with more digits than Python reads
        raise _damaged(path, str(error).partition(";")[0]) from None
    except RecursionError:
        raise _damaged(path, "it is nested too deeply") from None
    return from_json(document, str(path))


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is not a number")


def _damaged(path: Path, what: str) -> ReportError:
    return ReportError(f"{path}: {what};", REMEDY)
