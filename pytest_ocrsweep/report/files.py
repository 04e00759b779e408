"""A report as files in one folder: data, a database, a page for pull requests, charts, and a page to open."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from ..baselines.counted import render
from ..baselines.result_json import to_json
from ..baselines.sweep_report import Report
from ..errors import ReportError
from ..files import atomic
from . import markdown, sqlite
from .load import JSON, SQLITE

if TYPE_CHECKING:
    from .charts import Chart

PAGE, HTML, CHARTS = "report.md", "index.html", "charts"
DRAWS = ("altair", "vl_convert", "jinja2")  # modules of the `report` extra


def ready(folder: Path) -> None:
    """Make the folder, which may be there. Raises ReportError where nothing could be written to it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, "it is not writable")
    except OSError as error:
        what = "it is not a folder" if isinstance(error, FileExistsError | NotADirectoryError) else error.strerror
        raise ReportError(f"{folder}: no report can be written there ({what}):", "give another folder") from None


def write(report: Report, folder: Path, job: Path | None = None) -> list[str]:
    """Write all files of a report, the run appended to the database; gives the lines to say.

    `job` is a file that the page for pull requests is added to, as GitHub's $GITHUB_STEP_SUMMARY. Each file is written
    whatever becomes of the others. Raises ReportError, one line with all that could not be.
    """
    ready(folder)
    atomic.remove_leftovers(folder)
    steps: list[tuple[Path, Callable[[Report, Path], str]]] = [
        (folder / JSON, _json),
        (folder / SQLITE, _sqlite),
        (folder / PAGE, _page),
    ]
    missing = next((module for module in DRAWS if find_spec(module) is None), None)
    if missing is None:
        from .charts import charts

        drawn = charts(report)  # the page shows the charts that stand beside it
        steps += [(folder / CHARTS, partial(_charts, drawn)), (folder / HTML, partial(_html, drawn))]
    if job:
        steps.append((job, _append))
    written, problems = [], []
    for path, step in steps:
        try:
            written.append(step(report, path))
        except OSError as error:
            problems.append(f"{path} cannot be written ({error.strerror or error}): {atomic.remedy(error)}")
        except ReportError as error:
            problems.append(str(error))
    if problems:
        done = f"; beside it written: {', '.join(written)}" if written else ""
        raise ReportError("; ".join(problems) + done)
    lines = [f"report in {folder}: {', '.join(written)}"]
    if missing:
        stale = " (what is there is of an earlier run)" if (folder / HTML).exists() else ""
        what = f"no charts and no {HTML}{stale}: {missing} is not installed"
        lines.append(f"{what}: pip install 'pytest-ocrsweep[report]'")
    return lines


def _json(report: Report, path: Path) -> str:
    document = to_json(report)
    points = document.pop("points")
    atomic.write(path, render(document, points=points))
    return path.name


def _sqlite(report: Report, path: Path) -> str:
    return f"{path.name} (run {sqlite.write(report, path)})"


def _page(report: Report, path: Path) -> str:
    atomic.write(path, markdown.page(report))
    return path.name


def _charts(drawn: Sequence[Chart], _: Report, folder: Path) -> str:
    """The folder holds the charts of this run and no others."""
    atomic.remove_leftovers(folder)
    pictures = {f"{chart.name}.svg": chart.svg() for chart in drawn}
    for name, svg in pictures.items():
        atomic.write(folder / name, svg)
    for path in folder.glob("*.svg"):
        if path.name not in pictures:
            path.unlink()
    return f"{len(pictures)} {folder.name}"


def _html(drawn: Sequence[Chart], report: Report, path: Path) -> str:
    from . import html

    atomic.write(path, html.page(report, drawn))
    return path.name


def _append(report: Report, path: Path) -> str:
    with path.open("a", encoding="utf-8") as file:
        file.write(markdown.page(report) + "\n")
    return "the job's summary"
