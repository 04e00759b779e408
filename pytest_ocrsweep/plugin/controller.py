"""The process that sees every report: the only one, or the one that drives pytest-xdist's workers."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ..files.text import terminal_line
from . import compat
from .interrupt import Stopping
from .state import FILTERED, sweep_of

if TYPE_CHECKING:
    from ..baselines.result import PointResult
    from ..baselines.sweep_report import Report
    from ..sweep.results import Results
    from .benchmark import Entry

RESULTS = pytest.StashKey["Results"]()


class Controller:
    """Takes what each report brings, and finishes the run: judges, records, writes, and says so."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._stopping = Stopping()
        config.add_cleanup(self._stopping.as_before)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        points: list[PointResult] | None = getattr(report, "ocrsweep", None)
        if points:
            self._stopping.as_interrupt()  # not before: there was nothing to tell
            _results(self._config).take(points, report.failed, getattr(report, "ocrsweep_environment", None))
            timed: list[Entry] = getattr(report, "ocrsweep_benchmarks", [])
            if timed:
                from . import benchmark

                for entry in timed:
                    benchmark.add(self._config, entry)
        elif report.failed or (points is not None and (report.skipped or report.when == "call")):
            self._config.stash[FILTERED] = True  # its point is not known

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self._config.stash[FILTERED] = True  # its tests are not known

    # Before pytest-xdist's own, which gives busy workers ten seconds to end: a CI job that was stopped has no more.
    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        config = self._config
        if exitstatus == pytest.ExitCode.USAGE_ERROR or config.option.collectonly:
            return
        interrupted = exitstatus == pytest.ExitCode.INTERRUPTED
        if RESULTS not in config.stash and (interrupted or not config.option.ocrsweep_report):
            return  # a report of nothing would take the place of an earlier one
        self._stopping.not_now()
        results = _results(config)
        results.filtered = (
            config.stash.get(FILTERED, False)
            or config.getoption("lf", False)  # it also passes over whole files, which deselects nothing
            or any("::" in argument for argument in config.args)
            or bool(session.shouldfail or session.shouldstop)
            or exitstatus not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED)
        )
        results.finish(config.rootpath, self._write if config.option.ocrsweep_report else None)
        if results.problems:
            compat.end_with(session, pytest.ExitCode.USAGE_ERROR)
        elif results.unused and config.getini("ocrsweep_unused") == "fail" and not exitstatus:
            compat.end_with(session, pytest.ExitCode.TESTS_FAILED)

    def _write(self, report: Report) -> list[str]:
        """The report's files; its page is shown below the job too, where GitHub runs one."""
        from ..report import files  # loads sqlite3

        folder, job = sweep_of(self._config).options.report, os.environ.get("GITHUB_STEP_SUMMARY")
        assert folder is not None
        return files.write(report, folder, Path(job) if job else None)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        results = self._config.stash.get(RESULTS, None)
        if results is None:
            return
        from ..report import summary

        if lines := summary.lines(results):
            terminalreporter.section("ocrsweep")
            for line in lines:
                terminalreporter.write_line(terminal_line(line))
        for problem in results.problems:
            terminalreporter.write_line(terminal_line(f"ERROR: {problem}"), red=True)


def _results(config: pytest.Config) -> Results:
    if RESULTS not in config.stash:
        from ..sweep.results import Results

        config.stash[RESULTS] = Results(sweep_of(config))
    return config.stash[RESULTS]
