"""Workers on other hosts and of other interpreters (`--tx`): each uses what is installed there, where it lies there.

pytest-xdist 3 would send them its pytest, refuse `suites/` ("not relative to an rsync root") and wait for ever for a
host whose network is gone; see its issues 1081 and 1049. Its deprecated --rsyncdir still has its way: then workers are
started as it wants.
"""

from __future__ import annotations

import copy
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from inspect import getsource
from typing import Any

import pytest

from . import remote

# A connection that is idle is asked after so many seconds, and then this often, so many times; a host that is silent
# that long is lost.
IDLE_S, EACH_S, TIMES = 10, 5, 4
ALIVE = f"-o ServerAliveInterval={EACH_S} -o ServerAliveCountMax={TIMES} -o ConnectTimeout=20"
CONNECT_S = 20  # a socket server that does not answer by then is busy with another worker, or gone


class Start:
    """Has pytest-xdist start workers in place."""

    def __init__(self, config: pytest.Config) -> None:
        self._in_place = not (config.getoption("rsyncdir") or config.getini("rsyncdirs"))
        self._spec: Any = None  # of the worker that is being started, if it is in place

    @pytest.hookimpl(tryfirst=True)
    def pytest_xdist_setupnodes(self, config: pytest.Config, specs: Sequence[Any]) -> None:
        session: Any = config.pluginmanager.get_plugin("dsession")
        manager = session.nodemanager
        for gateway in manager.group:  # those of --px are there already
            keep_alive(gateway)
        for spec in specs:
            if spec.ssh and "ServerAlive" not in spec.ssh:
                spec.ssh = f"{ALIVE} {spec.ssh}"
            if self._in_place and _elsewhere(spec) and "chdir=" not in str(spec):
                spec.chdir = str(config.invocation_params.dir)  # pytest-xdist has set a folder of its own
        if self._in_place:
            manager.roots = []  # nothing is sent

    def pytest_xdist_newgateway(self, gateway: Any) -> None:
        """What comes next rewrites the arguments of workers that are elsewhere, so this one is shown as local."""
        keep_alive(gateway)
        if gateway.spec.via:
            gateway._io.kill = _if_there(gateway._io.kill)
        self._spec = gateway.spec if self._in_place and not plain(gateway.spec) else None
        if self._spec:
            gateway.spec = copy.copy(self._spec)
            gateway.spec.popen, gateway.spec.chdir = True, None

    @pytest.hookimpl(tryfirst=True)
    def pytest_configure_node(self, node: Any) -> None:
        if self._spec:
            node.gateway.spec = self._spec

    def pytest_xdist_getremotemodule(self) -> str | None:
        """What execnet is to run there, in place of the module xdist.remote."""
        if not self._spec:
            return None
        from xdist import remote as theirs  # type: ignore[import-untyped]  # as in schedule.py

        return f"{getsource(remote)}\nbegin(channel, {getsource(theirs)!r}, {theirs.__file__!r})"


def plain(spec: Any) -> bool:
    """Whether a worker is what `-n` starts: this interpreter on this host, here."""
    return bool(spec.popen and not (spec.via or spec.python or spec.chdir))


def _elsewhere(spec: Any) -> bool:
    return not spec.popen


def _if_there(kill: Callable[[], object]) -> Callable[[], None]:
    """At the end execnet has a worker's proxy kill it, and fails where that is gone too."""

    def tried() -> None:
        with suppress(OSError):
            kill()

    return tried


@contextmanager
def soon(spec: Any) -> Iterator[None]:
    """In the block a connection is made in CONNECT_S, or fails."""
    before = socket.getdefaulttimeout()
    if spec.socket:
        socket.setdefaulttimeout(CONNECT_S)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def keep_alive(gateway: Any) -> None:
    """Have the kernel find out that the other side of a socket is gone, and the process end or go on then."""
    connection = getattr(gateway._io, "sock", None)
    if connection is None:
        return  # a pipe: to a process of this host, or to ssh, which asks by itself
    connection.settimeout(None)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    silent_ms = 1000 * (IDLE_S + EACH_S * TIMES)  # also for what was sent and is not acknowledged
    options = {"TCP_KEEPIDLE": IDLE_S, "TCP_KEEPINTVL": EACH_S, "TCP_KEEPCNT": TIMES, "TCP_USER_TIMEOUT": silent_ms}
    for name, value in options.items():
        if hasattr(socket, name):  # not on every system
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
