"""How a run ends that was asked for something wrong."""

from __future__ import annotations

import pytest

from ..files.text import terminal_line


def usage_error(problem: str) -> pytest.UsageError:
    """Each line of it becomes an ERROR of its own: a checkpoint may have several problems."""
    return pytest.UsageError(*map(terminal_line, problem.split("\n")))
