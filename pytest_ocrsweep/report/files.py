"""A report as files in one folder: data, a database, a page for pull requests, charts, and a page to open."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from ..baselines.counted import render
from ..baselines.result_json import to_json
from ..baselines.sweep_report import Report
from ..errors import ReportError
from ..files import atomic
from ..files.text import command, printable
from . import markdown, owned, sqlite
from .load import JSON, SQLITE
from .owned import CHARTS, HTML, PAGE

if TYPE_CHECKING:
    from .charts import Chart

DRAWS = ("altair", "vl_convert", "jinja2")  # modules of the `report` extra


def ready(folder: Path) -> None:
    """Make the folder, which may be there. Raises ReportError if nothing, or not all, could be written to it."""
    _make(folder)
    files = owned.Owned.read(folder)
    names = (JSON, SQLITE, PAGE) if _missing() else (SQLITE, *owned.NAMES)
    if refused := [why for name in names if (why := files.refusal(name))]:
        what = "; ".join(dict.fromkeys(refused))
        raise ReportError(f"{what}: a report replaces only files of its own:", owned.MOVE)


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, "it is not writable")
    except OSError as error:
        what = "it is not a folder" if isinstance(error, FileExistsError | NotADirectoryError) else error.strerror
        raise ReportError(f"{folder}: no report can be written there ({what}):", "give another folder") from None


def _missing() -> str | None:
    """A module that charts need and that is not installed."""
    return next((module for module in DRAWS if find_spec(module) is None), None)


def write(report: Report, folder: Path, job: Path | None = None) -> list[str]:
    """Write all files of a report, the run appended to the database; gives the lines to say.

    `job` is a file that the page for pull requests is added to, as GitHub's $GITHUB_STEP_SUMMARY. Each file is written
    whatever becomes of the others: data first, what libraries draw last. Raises ReportError, one line with all that
    could not be.
    """
    _make(folder)
    atomic.remove_leftovers(folder)
    writing = Writing(report, folder)
    writing.step(lambda: writing.put(JSON, {JSON: _json(report)}))
    writing.step(lambda: writing.written.append(f"{SQLITE} (run {writing.database()})"))
    writing.step(lambda: writing.put(PAGE, {PAGE: markdown.page(report)}))
    if not (missing := _missing()):
        writing.draw()
    if job:
        writing.step(lambda: writing.append(job))
    written = ", ".join(writing.written)
    if writing.problems:
        raise ReportError("; ".join(writing.problems) + (f"; beside it written: {written}" if written else ""))
    lines = [f"report in {folder}: {written}"]
    if missing:
        stale = " (what is there is of an earlier run)" if (folder / HTML).exists() else ""
        what = f"no charts and no {HTML}{stale}: {missing} is not installed"
        lines.append(f"{what}: pip install 'pytest-ocrsweep[report]'")
    return lines


class Writing:
    """What was written so far, and what could not be."""

    def __init__(self, report: Report, folder: Path) -> None:
        self.report, self.folder = report, folder
        self.written: list[str] = []
        self.problems: list[str] = []

    def step(self, do: Callable[[], object]) -> None:
        """Do one step. If it fails, note the problem as a line, so that the next steps are still done."""
        try:
            do()
        except OSError as error:
            where = error.filename or self.folder
            self.problems.append(f"{where} cannot be written ({error.strerror or error}): {atomic.remedy(error)}")
        except ReportError as error:
            self.problems.append(str(error))

    def put(self, what: str, texts: dict[str, str], all_of: str | None = None, at: int | None = None) -> None:
        """Files of ours; `what` is said of them, at a place among the others."""
        problems = owned.put(self.folder, texts, all_of)
        self.problems += dict.fromkeys(problems.values())
        if not problems:
            self.written.insert(len(self.written) if at is None else at, what)

    def database(self) -> int:
        """The number of the run that was added."""
        path = self.folder / SQLITE
        if why := owned.Owned.read(self.folder).refusal(SQLITE):
            raise ReportError(f"{why}:", owned.MOVE)
        return sqlite.write(self.report, path)

    def draw(self) -> None:
        """The page with all charts, then a picture of each: a renderer that fails keeps files open."""
        from . import charts, html

        drawn: list[Chart] = []
        pages: dict[str, str] = {}
        pictures: dict[str, str] = {}

        def put() -> None:
            if not os.path.islink(self.folder / CHARTS):
                atomic.remove_leftovers(self.folder / CHARTS)
            self.put(f"{len(pictures)} {CHARTS}", pictures, all_of=f"{CHARTS}/", at=before)

        defined = self._drawn(CHARTS, lambda: drawn.extend(charts.charts(self.report)))
        before = len(self.written)
        if self._drawn(HTML, lambda: pages.update({HTML: html.page(self.report, drawn)})):
            self.step(lambda: self.put(HTML, pages))
        svg = {f"{CHARTS}/{chart.name}.svg": chart.svg for chart in drawn}
        if defined and self._drawn(CHARTS, lambda: pictures.update({name: draw() for name, draw in svg.items()})):
            self.step(put)

    def _drawn(self, what: str, draw: Callable[[], None]) -> bool:
        """Whether the libraries drew it. They raise errors of many types; a panic in Rust is not even an Exception."""
        try:
            draw()
        except (KeyboardInterrupt, SystemExit, GeneratorExit):
            raise
        except BaseException as error:
            why = printable(" ".join(f"{type(error).__name__}: {error}".split()))
            again = command("ocrsweep", "report", str(self.folder / JSON), str(self.folder))
            self.problems.append(f"{what}: not drawn ({why}): try again with `{again}`")
            return False
        return True

    def append(self, job: Path) -> None:
        """All of the page, or nothing."""
        if job.exists() and not job.is_file():  # a pipe that nobody reads would never open
            raise OSError(errno.EINVAL, "not a regular file", str(job))
        with job.open("ab", buffering=0) as file:
            before = file.seek(0, os.SEEK_END)
            try:
                page = (markdown.page(self.report) + "\n").encode("utf-8")
                while page:
                    page = page[file.write(page) :]
            except OSError as error:
                file.truncate(before)
                raise OSError(error.errno, error.strerror, str(job)) from None
        self.written.append("the job's summary")


def _json(report: Report) -> str:
    document = to_json(report)
    points = document.pop("points")
    return render(document, points=points)
