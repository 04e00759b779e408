"""A worker that is lost costs its running point one more try, and its host none of the run.

pytest-xdist replaces a worker that died by another on the same host, and promises nothing of the inside that we use
for what it does not do (seen in 3.8; tests/test_hosts.py tells when it changes): its plugin "dsession" starts each
worker by `nodemanager.setup_node`, keeps those that live in `_active_nodes`, and forgets one that says
"workerfinished" on its `queue`.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
from execnet.gateway_base import RemoteError
from execnet.gateway_bootstrap import HostNotFound

from . import hosts, schedule

FAILURES = (OSError, EOFError, AssertionError, RemoteError, HostNotFound)  # what execnet has for no connection
RETRIED = "retried"  # the outcome of an item whose worker was lost


@dataclass(eq=False)
class Missing:
    """In the place of a worker that could not be started."""

    gateway: Any
    workerinput: dict[str, Any] = field(default_factory=dict)
    workeroutput: dict[str, Any] = field(
        default_factory=lambda: {"exitstatus": 0, "shouldfail": False, "shouldstop": False}
    )
    shutting_down = True


class Workers:
    """Has a lost worker's point retried, once, and says which points nobody was left to run."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._victims: dict[str, list[str]] = {}  # workers lost, by the item that each ran
        self._hopeless: dict[Any, str] = {}  # specs of which no worker can be started any more, and why
        self._tried: set[Any] = set()  # specs that were tried since a point was finished
        self._left = -1  # points then
        self._unrun: list[str] = []
        self._start: Callable[..., Any]

    @property
    def _session(self) -> Any:
        return self._config.pluginmanager.get_plugin("dsession")

    def _say(self, text: str) -> None:
        terminal = self._config.pluginmanager.get_plugin("terminalreporter")
        if terminal:
            terminal.ensure_newline()
            terminal.write_line(text)

    def pytest_xdist_setupnodes(self, specs: list[Any]) -> None:
        manager = self._session.nodemanager
        self._start, expected = manager.setup_node, len(specs)

        def start(spec: Any, putevent: Callable[..., Any]) -> Any:
            nonlocal expected
            expected -= 1
            return self._first(spec, putevent) if expected >= 0 else self._again(spec, putevent)

        manager.setup_node = start

    def _first(self, spec: Any, putevent: Callable[..., Any]) -> Any:
        if hosts.plain(spec):
            return self._start(spec, putevent)
        try:
            with hosts.soon(spec):
                return self._start(spec, putevent)
        except FAILURES as error:
            raise pytest.UsageError(f"--tx {_shown(spec)}: no worker can be started there: {_why(error)}") from None

    def _again(self, spec: Any, putevent: Callable[..., Any]) -> Any:
        """A replacement, or a Missing that goes at once."""
        if hosts.plain(spec):
            return self._start(spec, putevent)
        why = self._hopeless.get(spec)
        if why is None:
            try:
                with hosts.soon(spec):
                    return self._start(spec, putevent)
            except FAILURES as error:
                why = self._hopeless[spec] = _why(error)
        self._say(f"{spec.id} cannot replace a lost worker, the others go on: {_shown(spec)}: {why}")
        missing = Missing(SimpleNamespace(id=spec.id, spec=spec))
        putevent(("workerfinished", {"node": missing}))
        return missing

    @pytest.hookimpl(tryfirst=True)
    def pytest_testnodedown(self, node: Any, error: object) -> None:
        session = self._session
        scheduler = session.sched
        if error:
            collected = isinstance(node.workerinput[schedule.TOLD], schedule.Told)
            if not collected and not hosts.plain(node.gateway.spec):
                self._hopeless[node.gateway.spec] = f"it ended before it had collected: {_last(error)}"
            return  # pytest-xdist replaces it, or ends the run
        if isinstance(node, Missing):
            scheduler.numnodes -= 1  # of which the collection is waited for
            if scheduler.nodes and scheduler.collection_is_completed:
                scheduler.schedule()
        if session._active_nodes == {node}:
            if isinstance(scheduler, schedule.TimedScheduling):
                self._last_went(scheduler)
            elif isinstance(node, Missing):
                session.shouldstop = f"no worker is left: {self._why_none}"

    @property
    def _why_none(self) -> str:
        return "; ".join(f"{_shown(spec)}: {why}" for spec, why in self._hopeless.items())

    def _last_went(self, scheduler: schedule.TimedScheduling) -> None:
        """What is left after the last worker goes to one more, wherever one can be started."""
        session, left = self._session, scheduler.points
        if scheduler.collection is None and self._hopeless:
            raise pytest.UsageError(f"no worker is left: {self._why_none}")
        if not left or session.shouldstop:
            return
        if len(left) != self._left:
            self._left, self._tried = len(left), set()
        for spec in session.nodemanager.specs:
            if spec in self._tried or spec in self._hopeless:
                continue
            self._tried.add(spec)
            for gateway in [each for each in session.nodemanager.group if each.spec == spec]:
                gateway.exit()  # a socket server has one worker at a time
            other = copy.copy(spec)
            other.id = None
            session.nodemanager.group.allocate_id(other)
            self._say(f"{other.id} takes what lost workers left: {_shown(spec)}")
            started = self._again(other, session.queue.put)
            session._active_nodes.add(started)
            session.shuttingdown = False
            return
        session.triggershutdown()

    def pytest_handlecrashitem(self, crashitem: str, report: pytest.TestReport, sched: Any) -> None:
        """One more try: what was killed is measured yet, and what kills its workers does not get all of them."""
        if not isinstance(sched, schedule.TimedScheduling) or not sched.is_point(crashitem):
            return
        victims = self._victims.setdefault(crashitem, [])
        victims.append(schedule.named(report.node))
        if len(victims) > 1:
            report.longrepr = f"{' and then '.join(victims)} died while running {crashitem}; it is not tried again"
            return
        report.outcome = RETRIED  # type: ignore[assignment]  # as plugins that rerun tests do
        self._say(f"{victims[0]} was lost while running {crashitem}, which is tried once more")
        sched.mark_test_pending(crashitem)

    def pytest_report_teststatus(self, report: Any) -> tuple[str, str, str] | None:
        return (RETRIED, "R", "RETRIED") if report.outcome == RETRIED else None

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        scheduler = getattr(self._session, "sched", None)  # neither is there where nothing is distributed
        if isinstance(scheduler, schedule.TimedScheduling) and exitstatus in (0, 1):
            self._unrun = scheduler.points
            if self._unrun:
                session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self._unrun:
            terminalreporter.section("lost points", red=True)
            terminalreporter.write_line(f"no worker was left to run {len(self._unrun)} points:")
            for item in self._unrun:
                terminalreporter.write_line(item)


def _shown(spec: Any) -> str:
    """A spec as it was typed."""
    return str(spec).removeprefix("execmodel=main_thread_only//")


def _why(error: BaseException) -> str:
    if isinstance(error, HostNotFound):
        return "there is no such host, or it does not let us in"
    if isinstance(error, TimeoutError):
        return f"nobody answers within {hosts.CONNECT_S} s (a socket server has one worker at a time)"
    if isinstance(error, OSError):
        return error.strerror or "the connection is closed"
    return _last(error) if isinstance(error, RemoteError) else "no Python begins there"


def _last(error: object) -> str:
    """The last line of what may be a whole traceback."""
    return ([line.strip() for line in str(error).splitlines() if line.strip()] or ["for no known reason"])[-1]
