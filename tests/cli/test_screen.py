"""Colours of the command line, by the variables that pytest obeys."""

from __future__ import annotations

import io

import pytest

from pytest_ocrsweep.cli import flags, screen


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("variables", "on_terminal", "elsewhere"),
    [
        ({}, True, False),
        ({"NO_COLOR": "1"}, False, False),
        ({"FORCE_COLOR": "1"}, True, True),
        ({"NO_COLOR": "1", "FORCE_COLOR": "1"}, False, False),
        ({"PY_COLORS": "1", "NO_COLOR": "1"}, True, True),
        ({"PY_COLORS": "0", "FORCE_COLOR": "1"}, False, False),
        ({"NO_COLOR": ""}, True, False),
        ({"TERM": "dumb"}, False, False),
    ],
)
def test_colours_are_where_they_are_wanted(monkeypatch, variables, on_terminal, elsewhere):
    monkeypatch.setenv("TERM", "xterm")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert (screen.wanted(Terminal()), screen.wanted(io.StringIO())) == (on_terminal, elsewhere)


def test_verdicts_and_what_a_gate_comes_to_are_coloured_and_nothing_else(monkeypatch):
    monkeypatch.setenv("PY_COLORS", "1")
    out = Terminal()
    flags.show("TTFT ms  1,592  PASS", "RED: slower", "no verdict", "\x1b[31mhostile", file=out)
    assert out.getvalue().splitlines() == [
        "TTFT ms  1,592  \x1b[32mPASS\x1b[0m",
        "\x1b[31mRED\x1b[0m: slower",
        "no verdict",
        "\\x1b[31mhostile",
    ]
