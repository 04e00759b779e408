"""The process that sees every report: the only one, or the one that drives pytest-xdist's workers."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ..files.text import terminal_line
from . import compat, options
from .state import GROUPS, SKIPPED, leave_out, sweep_of
from .whole import left_out, of_all_paths, to_run

if TYPE_CHECKING:
    from ..baselines.own import OwnResult
    from ..baselines.result import PointResult
    from ..baselines.sweep_report import Report
    from ..sweep.results import Results
    from .benchmark import Entry
    from .interrupt import Stopping

RESULTS = pytest.StashKey["Results"]()
QUIET = -1  # the verbosity of -q
FEW = 3  # tests or files that a line names


class Controller:
    """Takes what each report brings, and finishes the run: judges, records, writes, and says so."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._unmet: str | None = None
        self._lines: list[str] = []  # of the summary
        self._with: set[str] = set()  # tests that came to a point
        self._without: dict[str, bool] = {}  # tests that came to no point, and whether they were skipped

    @cached_property
    def _stopping(self) -> Stopping:
        from .interrupt import Stopping

        stopping = Stopping()
        self._config.add_cleanup(stopping.as_before)
        return stopping

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        points: list[PointResult] | None = getattr(report, "ocrsweep", None)
        own: list[OwnResult] = getattr(report, "ocrsweep_own", [])
        if points or own:
            self._stopping.as_interrupt()  # not before: there was nothing to tell
            self._with.add(report.nodeid)
            results, known = _results(self._config), any(each.verdict.failed for each in (*(points or ()), *own))
            if own:
                results.own.take(own, report.nodeid, failed=report.failed and not known)
            if points:
                failed = report.failed and not (known or own)
                results.take(points, failed, getattr(report, "ocrsweep_environment", None))
            timed: list[Entry] = getattr(report, "ocrsweep_benchmarks", [])
            if timed:
                from . import benchmark

                for entry in timed:
                    benchmark.add(self._config, entry)
        elif report.failed or (points is not None and (report.skipped or report.when == "call")):
            leave_out(self._config, f"{report.nodeid} came to no point")
            if points is not None:
                self._without[report.nodeid] = report.skipped  # the last try counts, where a plugin makes several

    # Before pytest-xdist's own, which gives busy workers ten seconds to end: a CI job that was stopped has no more.
    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        config = self._config
        if exitstatus == pytest.ExitCode.USAGE_ERROR or config.option.collectonly:
            return
        self._unmet = self._find_unmet(exitstatus)
        if self._unmet and not exitstatus:
            compat.end_with(session, pytest.ExitCode.TESTS_FAILED)
        interrupted = exitstatus == pytest.ExitCode.INTERRUPTED
        if RESULTS not in config.stash and (interrupted or not config.option.ocrsweep_report):
            return  # a report of nothing would take the place of an earlier one
        self._stopping.not_now()
        results = _results(config)
        results.filtered = left_out(session, exitstatus, len(self._with))
        results.of_all_paths = of_all_paths(config)
        results.finish(config.rootpath, self._write if config.option.ocrsweep_report else None)
        results.attempt("the summary", lambda: self._lines.extend(_summary(results, config.get_verbosity())))
        if results.points and GROUPS in config.stash:
            results.problems.append(config.stash[GROUPS])
        if results.problems:
            compat.end_with(session, pytest.ExitCode.USAGE_ERROR)
        elif results.unused and config.getini("ocrsweep_unused") == "fail" and not exitstatus:
            compat.end_with(session, pytest.ExitCode.TESTS_FAILED)

    def _find_unmet(self, exitstatus: int) -> str | None:
        """What was demanded of all points, and what was skipped before it came to one; None if it is met."""
        demand = options.demand(self._config)
        if demand is None:
            return None
        files = self._config.stash.setdefault(SKIPPED, {})
        skipped = {
            "tests were skipped before their point": [name for name, skips in self._without.items() if skips],
            "files of points were skipped": list(files),
        }
        if any(skipped.values()):
            told = [f"{len(names)} {what}: {_few(names)}" for what, names in skipped.items() if names]
            return f"{demand}: {'; '.join(told)}"
        missing = to_run(self._config) - len(self._with) if exitstatus == pytest.ExitCode.OK else 0
        return f"{demand}: {missing} tests came to no point" if missing > 0 else None

    def _write(self, report: Report) -> list[str]:
        """The report's files; its page is shown below the job too, where GitHub runs one."""
        from ..errors import BaselineError
        from ..report import files, past  # loads sqlite3

        options, job = sweep_of(self._config).options, os.environ.get("GITHUB_STEP_SUMMARY")
        assert options.report is not None
        without = []
        try:
            report = report.beside(past.histories(report, options.baselines))
        except BaselineError as error:
            without = [f"the report is without histories: {error}"]
        return [*files.write(report, options.report, Path(job) if job else None), *without]

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self._unmet:
            terminalreporter.write_line(terminal_line(f"ERROR: {self._unmet}"), red=True)
        results = self._config.stash.get(RESULTS, None)
        if results is None:
            return
        if self._lines:
            terminalreporter.ensure_newline()
        if self._lines and self._config.get_verbosity() > QUIET:
            terminalreporter.section("ocrsweep")
        for line in self._lines:
            _write_line(terminalreporter, terminal_line(line))
        for problem in results.problems:
            terminalreporter.write_line(terminal_line(f"ERROR: {problem}"), red=True)


def _few(names: Sequence[str]) -> str:
    more = f" and {len(names) - FEW} more" if len(names) > FEW else ""
    return f"{', '.join(names[:FEW])}{more}"


def _summary(results: Results, verbosity: int) -> list[str]:
    """`-q` has one line, `-qq` none, and `-v` every column, however narrow the terminal is."""
    from ..report import summary, table

    if verbosity < QUIET:
        return []
    if verbosity == QUIET:
        return summary.short(results)
    return summary.lines(results, table.width() if verbosity == 0 else None)


def _write_line(terminalreporter: pytest.TerminalReporter, line: str) -> None:
    """With the verdict that ends it in its colour, where pytest's own verdicts have one."""
    from ..report import terminal

    before, verdict, colour = terminal.verdict_of(line)
    terminalreporter.write(before)
    terminalreporter.write_line(verdict, **({colour: True} if colour else {}))


def _results(config: pytest.Config) -> Results:
    if RESULTS not in config.stash:
        from ..sweep.results import Results

        config.stash[RESULTS] = results = Results(sweep_of(config))
        if config.option.ocrsweep_update:
            from ..sweep.journals import Journals

            results.journals = Journals(results.sweep, lambda: results.revision(config.rootpath).name)
            config.add_cleanup(results.journals.close)
    return config.stash[RESULTS]
