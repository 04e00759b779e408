"""A worker that cannot be started is one line, at the start of a run and when a lost one is to be replaced."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import TYPE_CHECKING

import pytest
from execnet import HostNotFound, RemoteError, XSpec

from ...files.text import terminal_line

if TYPE_CHECKING:
    from ..compat import Node
    from .workers import Workers

NO_CONNECTION = (OSError, EOFError, RemoteError, HostNotFound)
FAILURES = (*NO_CONNECTION, AssertionError, ValueError)  # no Python answers; pytest-xdist would send the project there


class Start:
    """Watches pytest-xdist start workers. It limits what `-n` starts again and again, but not what `--tx` starts."""

    def __init__(self, config: pytest.Config, workers: Workers) -> None:
        self._config = config
        self._workers = workers
        self._specs: Sequence[XSpec] = ()
        self._started = 0
        self._lost = ""  # the worker that is to be replaced

    @pytest.hookimpl(wrapper=True)
    def pytest_sessionstart(self) -> Generator[None, object, object]:
        try:
            return (yield)
        except FAILURES as error:
            if self._specs and self._started == len(self._specs):
                raise
            raise pytest.UsageError(f"{self._starting}: no worker can be started there: {_why(error)}") from None

    @pytest.hookimpl(wrapper=True)
    def pytest_runtestloop(self) -> Generator[None, object, object]:
        try:
            return (yield)
        except NO_CONNECTION as error:
            if not self._lost:
                raise
            pytest.exit(f"{self._lost} was lost and cannot be replaced: {_why(error)}")

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_sessionfinish(self) -> Generator[None, object, object]:
        """pytest-xdist fails to end workers behind a proxy that is gone; the summary comes all the same."""
        try:
            return (yield)
        except NO_CONNECTION:
            if not self._lost:
                raise
            return None

    def pytest_xdist_setupnodes(self, specs: Sequence[XSpec]) -> None:
        self._specs = specs

    @pytest.hookimpl(trylast=True)
    def pytest_configure_node(self) -> None:
        self._started += 1
        self._lost = ""

    def pytest_testnodedown(self, node: Node, error: object) -> None:
        if not error:
            return
        self._lost = self._workers.named(node)
        if self._workers[node].collected is None and not self._config.getoption("numprocesses"):
            told = f"{self._lost} ended before it had collected: {_last(error)}"
            if self._workers.items:
                pytest.exit(told)  # others have run tests
            raise pytest.UsageError(terminal_line(told))

    @property
    def _starting(self) -> str:
        """What is being started, as it was typed."""
        if self._specs:
            return f"--tx {str(self._specs[self._started]).removeprefix('execmodel=main_thread_only//')}"
        return " ".join(f"--px {proxy}" for proxy in self._config.getoption("px"))


def _why(error: BaseException) -> str:
    if isinstance(error, HostNotFound):
        return "there is no such host, or it does not let us in"
    if isinstance(error, OSError):
        return error.strerror or "the connection is closed"
    if isinstance(error, ValueError):
        return f"{error}; start it through a proxy (--px), which sends nothing there"
    return _last(error) if isinstance(error, RemoteError) else "no Python begins there"


def _last(error: object) -> str:
    """The last line of what may be a whole traceback."""
    return ([line.strip() for line in str(error).splitlines() if line.strip()] or ["for no known reason"])[-1]
