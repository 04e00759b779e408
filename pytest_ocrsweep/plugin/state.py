"""This process's sweep and what it knows of the run so far, in the stash of pytest's config."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from . import compat, options

if TYPE_CHECKING:
    from ..sweep.session import Sweep

SWEEP = pytest.StashKey["Sweep"]()
COLLECTED = pytest.StashKey[int]()  # tests that check points
TO_RUN = pytest.StashKey[int]()  # those of them that are left after plugins had the list
PROBLEM = pytest.StashKey[str]()  # found while tests were generated
GROUPS = pytest.StashKey[str]()  # why this run's group of tests may not be what other groups leave
SKIPPED = pytest.StashKey[dict[str, None]]()  # files of points that were skipped whole, if points are demanded
FILTERED = pytest.StashKey[str]()  # why it is not known which recorded points are unused


def sweep_of(config: pytest.Config) -> Sweep:
    """This process's sweep; nothing of it is composed before it is used."""
    if SWEEP not in config.stash:
        from ..sweep.session import Sweep

        config.stash[SWEEP] = Sweep(options.read(config), say=lambda text: say(config, text))
    return config.stash[SWEEP]


def leave_out(config: pytest.Config, why: str) -> None:
    """Note that some test was left out, or came to no point; the first reason stays."""
    config.stash.setdefault(FILTERED, why)


def say(config: pytest.Config, text: str) -> None:
    """Shows a line at once, past pytest's capture, which keeps all that a test writes.

    The stdout of a pytest-xdist worker leads nowhere, so a worker writes to stderr, which its controller shares.
    """
    from ..files.text import terminal_line

    terminal, text = compat.terminal(config), terminal_line(text)
    with compat.uncaptured(config):
        if compat.worker_input(config) is not None or terminal is None:
            print(text, file=sys.stderr, flush=True)
        else:
            terminal.ensure_newline()
            terminal.write_line(text, flush=True)
