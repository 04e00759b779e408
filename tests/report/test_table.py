"""Tables as wide as the terminal."""

from __future__ import annotations

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_ocrsweep.report import table, terminal

CELLS = [["name", "time ms", "bytes", "verdict"], ["one", "1.000", "2,000", "PASS"], ["two", "12.00", "3", "FAIL"]]
IMPORTANT = ("time ms", "bytes")


def shown(most: int | None) -> tuple[list[str], list[str]]:
    return table.fitted(CELLS, (0, -1), most, IMPORTANT)


def test_a_table_without_a_width_has_every_column():
    assert shown(None) == (table.aligned(CELLS, (0, -1)), [])


def test_the_least_important_column_goes_first():
    assert shown(29)[1] == []
    assert shown(28) == (["name  time ms  verdict", "one     1.000  PASS", "two     12.00  FAIL"], ["bytes"])
    assert shown(13) == (["name  verdict", "one   PASS", "two   FAIL"], ["time ms", "bytes"])


def test_a_column_that_has_room_is_shown_though_a_wider_one_has_none():
    assert shown(20)[1] == ["time ms"]


@given(st.integers(13, 200))
def test_a_table_is_never_wider_than_the_terminal_if_its_own_columns_fit(most):
    lines, absent = shown(most)
    assert max(map(len, lines)) <= most
    assert set(absent) <= set(IMPORTANT)


def test_a_sentence_in_the_last_column_is_cut():
    cells = [["name", "why"], ["one", "a sentence that is longer than the terminal has room for"]]
    assert table.fitted(cells, (0, -1), 30, ()) == (["name  why", "one   a sentence that is long…"], [])


@pytest.mark.parametrize(
    ("columns", "width"), [("100", 100), ("1", 40), ("0", None), ("-3", None), ("wide", None), ("", None)]
)
def test_columns_sets_the_width_and_a_pipe_has_none(monkeypatch, columns, width):
    monkeypatch.setenv("COLUMNS", columns)
    assert table.width() == width


def test_a_closed_output_has_no_width(monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    assert table.width() is None


def test_a_verdict_ends_a_line_of_a_table():
    assert terminal.verdict_of("decode  2x3  NO SAMPLE") == ("decode  2x3  ", "NO SAMPLE", "red")
    for line in ("PASS", "a note that ends with FAIL", "decode  2x3  COUNTED", ""):
        assert terminal.verdict_of(line) == (line, "", None)
