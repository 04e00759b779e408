"""How a run ends that was asked for something wrong."""

from __future__ import annotations

import pytest


def usage_error(problem: str) -> pytest.UsageError:
    """Each line of it becomes an ERROR of its own: a checkpoint may have several problems."""
    from ..files.text import terminal_line  # every run imports this module, and few end in an error

    return pytest.UsageError(*map(terminal_line, problem.split("\n")))


def one_line(text: object) -> str:
    """The text as it may stand in a usage error's line."""
    from ..files.text import printable

    return printable(str(text))
