"""Whatever a file, a name or an environment holds is shown, and obeyed by nothing that shows it."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_ocrsweep.files.text import markdown, terminal_line, terminal_lines

HOSTILE = [
    "\x1b[31mred",
    "::error file=a.py::stop",
    "  ::set-output name=x::y",
    "a ##[error]b",
    "##[group]c",
    "one\ntwo\r::warning::three",
    "\u202eright to left",
    "\x9b2J",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_a_terminal_and_a_job_obey_nothing_of_a_line(text):
    line = terminal_line(text)
    assert line.isprintable()
    assert not line.lstrip().startswith("::")
    assert "##[" not in line


@given(st.text(max_size=60))
def test_every_line_of_a_message_is_safe_and_no_line_is_lost(text):
    lines = terminal_lines(text).split("\n")
    assert len(lines) == text.count("\n") + 1
    assert all(line.isprintable() and "##[" not in line and not line.lstrip().startswith("::") for line in lines)


@pytest.mark.parametrize("text", ["decode 2x3 flash on NVIDIA H200: +2.0 %", "├─ head  33.10", "a::b", "C:\\x", "## x"])
def test_a_plain_line_stays_as_it_is(text):
    assert terminal_line(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "@octocat",
        "see #12",
        "GH-7",
        "https://evil.example/x",
        "www.evil.example",
        "<img src=x>",
        "[a](b)",
        "$x$",
        "`c`",
        "a|b",
    ],
)
def test_markdown_has_no_mention_link_or_markup_of_a_value(text):
    shown = markdown(text)
    assert not re.search(r"@\w|#\d|GH-\d|://|www\.\w", shown)
    assert not re.search(r"(?<!\\)[`*_\[\]<>|~$]", shown)
    assert shown.replace("\\", "").replace("\u200b", "") == text


def test_markdown_of_a_plain_value_is_the_value():
    assert markdown("NVIDIA H200, torch 2.11.0") == "NVIDIA H200, torch 2.11.0"
