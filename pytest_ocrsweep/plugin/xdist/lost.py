"""A lost worker's point is run once more. If no worker is left to run some points, they are listed and fail the run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from ...files.text import terminal_line
from .. import compat
from ..state import say

if TYPE_CHECKING:
    from ..compat import Node
    from .workers import Workers

RETRIED = "retried"  # the outcome of a test whose worker was lost


class Lost:
    """Retries the point of a lost worker once. If it loses a second worker it fails, or it could kill every worker."""

    def __init__(self, config: pytest.Config, workers: Workers) -> None:
        self._config = config
        self._workers = workers
        self._victims: dict[str, list[str]] = {}  # workers lost, by the test that each ran
        self._finished: set[str] = set()
        self._any = False  # worker was lost
        self._unrun: list[str] = []

    def pytest_testnodedown(self, node: Node, error: object) -> None:
        self._any = self._any or bool(error)

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        self._finished.add(nodeid)

    @pytest.hookimpl(trylast=True)  # another plugin may have the test run again, as pytest-rerunfailures does
    def pytest_handlecrashitem(self, crashitem: str, report: pytest.TestReport, sched: Any) -> None:
        if crashitem not in self._workers.points:
            return
        victims = self._victims.setdefault(crashitem, [])
        victims.append(self._workers.named(report.node))  # pytest-xdist adds it
        if report.outcome != "failed":
            return
        if len(victims) > 1:
            report.longrepr = f"{' and then '.join(victims)} died while running {crashitem}; it is not tried again"
            self._finished.add(crashitem)
            return
        try:
            sched.mark_test_pending(crashitem)
        except NotImplementedError:  # --dist=loadscope and the like fail a test and take it back by themselves
            del self._victims[crashitem]
            return
        report.outcome = RETRIED  # type: ignore[assignment]  # as pytest-xdist documents it for this hook
        say(self._config, f"{victims[0]} was lost while running {crashitem}, which is tried once more")

    def pytest_report_teststatus(self, report: pytest.TestReport) -> tuple[str, str, str] | None:
        return (RETRIED, "R", "RETRIED") if report.outcome == RETRIED else None

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        if not self._any or exitstatus == pytest.ExitCode.USAGE_ERROR:
            return
        self._unrun = [item for item in self._workers.points if item not in self._finished]
        if self._unrun and exitstatus == pytest.ExitCode.OK:
            compat.end_with(session, pytest.ExitCode.TESTS_FAILED)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self._unrun:
            terminalreporter.section("lost points", red=True)
            terminalreporter.write_line(f"no worker was left to run {len(self._unrun)} points:")
            for item in self._unrun:
                terminalreporter.write_line(terminal_line(item))
