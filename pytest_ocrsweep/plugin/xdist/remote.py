"""What begins a worker of another host or interpreter, where this module is sent as source: needs nothing but Python.

pytest-xdist gives each worker that a `popen` starts the `sys.path` of the controller, which is another interpreter's,
and its folder for temporary files, which may be another host's; see its issue 1049.
"""

from __future__ import annotations

import sys
from typing import Any


class Own:
    """An execnet channel, but for the message it begins with."""

    def __init__(self, channel: Any) -> None:
        self._channel = channel

    def __getattr__(self, name: str) -> Any:
        return getattr(self._channel, name)

    def receive(self) -> tuple[Any, ...]:
        """What pytest-xdist tells a worker, with this process's own path and temporary files."""
        workerinput, arguments, _, path = self._channel.receive()
        return workerinput, arguments, {}, path and [folder for folder in sys.path if folder]


def begin(channel: Any, source: str, file: str) -> None:
    """Be the worker that `source`, the module xdist.remote of the controller, makes of a process."""
    exec(compile(source, file, "exec"), {"__name__": "__channelexec__", "channel": Own(channel)})
