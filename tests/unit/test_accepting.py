"""The command that records what a run found is one that pytest accepts."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

from pytest_ocrsweep.sweep.options import Options


def options(*words: str) -> Options:
    """Of a run with these arguments; the command needs nothing else of them."""
    nothing = dict.fromkeys(each.name for each in fields(Options))
    return Options(**nothing | {"here": Path(), "command": words})


@pytest.mark.parametrize("slowdown", [["--ocrsweep-slowdown", "3"], ["--ocrsweep-slowdown=decoder/attn:10"]])
def test_a_run_slowed_down_on_purpose_is_recorded_without_that(slowdown):
    words = ["suites/", "-k", "decode and flash"]
    assert options(*words, *slowdown, "-x").accepting_all == options(*words, "-x").accepting_all
    assert options(*words).accepting_all == "pytest suites/ -k 'decode and flash' --ocrsweep-update"
