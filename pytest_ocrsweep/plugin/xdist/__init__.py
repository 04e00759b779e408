"""Points under pytest-xdist: which worker runs which test, and what a lost worker costs."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest

from ...files.text import terminal_line
from .. import compat


def register(config: pytest.Config, alike: Callable[[], Mapping[str, str]]) -> None:
    """For `pytest_configure` of a controller; its workers send `worker.Collected` when they have collected.

    `alike` gives what all processes must have in common for their results to be of one sweep, by name.
    """
    from . import lost, start, workers

    if problem := compat.problem(("pytest-xdist", "execnet")):
        raise pytest.UsageError(terminal_line(problem))
    known = workers.Workers(config, alike)
    config.pluginmanager.register(known, "ocrsweep-workers")
    config.pluginmanager.register(start.Start(config, known), "ocrsweep-start")
    config.pluginmanager.register(lost.Lost(config, known), "ocrsweep-lost")
