"""A report as files in one folder: data, a database, a page for pull requests, charts, and a page to open."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path

from ..baselines.counted import render
from ..baselines.result_json import to_json
from ..baselines.sweep_report import Report
from ..errors import ReportError
from ..files import atomic
from ..files.text import command, printable
from . import charts, markdown, owned, sqlite, summary_json, trends
from .charts import Chart
from .load import JSON, SQLITE
from .owned import CHARTS, HTML, PAGE, SUMMARY
from .page_answer import Answer, answer

DRAWS = "jinja2"  # the module of the `report` extra


def ready(folder: Path) -> None:
    """Make the folder, which may be there. Raises ReportError if nothing, or not all, could be written to it."""
    _make(folder)
    files = owned.Owned.read(folder)
    names = (SQLITE, *(name for name in owned.NAMES if name != HTML or not _missing()))
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
    """The module that the page needs, if it is not installed."""
    return DRAWS if find_spec(DRAWS) is None else None


def write(
    report: Report,
    folder: Path,
    job: Path | None = None,
    price: float | None = None,
    watch: Callable[[str], object] = lambda _: None,
) -> list[str]:
    """Write all files of a report, the run appended to the database; gives the lines to say.

    `job` is a file that the page for pull requests is added to, as GitHub's $GITHUB_STEP_SUMMARY; `price` is of an hour
    of the device, in dollars; `watch` is called with each file's name before it is made. Each file is written whatever
    becomes of the others: data first, what a library draws last. Raises ReportError, one line with all that could not
    be.
    """
    _make(folder)
    atomic.remove_leftovers(folder)
    with suppress(ReportError):  # writing to it says why
        report = trends.explained(report, folder / SQLITE)
    writing = Writing(report, folder, price, watch)
    writing.step(lambda: writing.put(JSON, lambda: {JSON: _json(report)}))
    writing.step(writing.database)
    writing.trends = trends.read(folder / SQLITE, report)
    writing.step(lambda: writing.put(SUMMARY, lambda: {SUMMARY: writing.summary()}))
    writing.step(lambda: writing.put(PAGE, lambda: {PAGE: writing.page}))
    writing.step(writing.pictures)
    missing = _missing()
    if not missing:
        writing.draw()
    if job:
        writing.step(lambda: writing.append(job))
    written = ", ".join(writing.written)
    if writing.problems:
        raise ReportError("; ".join(writing.problems) + (f"; beside it written: {written}" if written else ""))
    lines = [f"report in {folder}: {written}"]
    if missing:
        stale = " (what is there is of an earlier run)" if (folder / HTML).exists() else ""
        what = f"no {HTML}{stale}: {missing} is not installed"
        lines.append(f"{what}: pip install 'pytest-ocrsweep[report]'")
    return lines


class Writing:
    """What was written so far, and what could not be."""

    def __init__(self, report: Report, folder: Path, price: float | None, watch: Callable[[str], object]) -> None:
        self.report, self.folder, self.price, self.watch = report, folder, price, watch
        self.trends = trends.Trends()
        self.charts: Sequence[Chart] = ()  # for the pictures and for the page, which is written without them too
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

    def put(self, what: str, make: Callable[[], dict[str, str]], all_of: str | None = None) -> None:
        """Files of ours, by their names; `what` is said of them."""
        self.watch(what)
        problems = owned.put(self.folder, make(), all_of)
        self.problems += dict.fromkeys(problems.values())
        if not problems:
            self.written.append(what)

    def database(self) -> None:
        """Add the run to the database."""
        self.watch(SQLITE)
        path = self.folder / SQLITE
        if why := owned.Owned.read(self.folder).refusal(SQLITE):
            raise ReportError(f"{why}:", owned.MOVE)
        self.written.append(f"{SQLITE} (run {sqlite.write(self.report, path)})")

    @cached_property
    def answer(self) -> Answer:
        return answer(self.report)

    @cached_property
    def page(self) -> str:
        """The page for pull requests."""
        return markdown.page(self.report, self.answer, self.trends, self.price)

    def summary(self) -> str:
        found = summary_json.document(self.report, self.answer, self.trends, self.price)
        return json.dumps(found, indent=1, allow_nan=False) + "\n"

    def pictures(self) -> None:
        """A picture of each chart."""
        pictures: dict[str, str] = {}

        def draw() -> None:
            self.charts = charts.charts(self.report)
            pictures.update({f"{CHARTS}/{chart.name}.svg": chart.svg() for chart in self.charts})

        if not self._drawn(CHARTS, draw):
            return
        if not os.path.islink(self.folder / CHARTS):
            atomic.remove_leftovers(self.folder / CHARTS)
        self.put(f"{len(pictures)} {CHARTS}", lambda: pictures, all_of=f"{CHARTS}/")

    def draw(self) -> None:
        """The page to open."""
        from . import html

        pages: dict[str, str] = {}
        if self._drawn(
            HTML, lambda: pages.update({HTML: html.page(self.report, self.charts, self.trends, self.price)})
        ):
            self.step(lambda: self.put(HTML, lambda: pages))

    def _drawn(self, what: str, draw: Callable[[], None]) -> bool:
        """Whether it was drawn. A library raises errors of many types, and data is worth more than pictures."""
        try:
            draw()
        except Exception as error:
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
                page = (self.page + "\n").encode("utf-8")
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
