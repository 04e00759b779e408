"""What somebody meant, guessed in one place."""

from __future__ import annotations

import pytest

from pytest_ocrsweep.files import near_miss

DEVICES = ("a100-40", "h100", "h100-pcie", "h200", "l40s", "rtx-4090", "rtx-5090")


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("H100-SXM", "h100"),
        ("rtx4090", "rtx-4090"),
        ("RTX_5090", "rtx-5090"),
        ("h1000", "h100"),
        ("GH200", "h200"),
        ("L40", "l40s"),
        ("tpu", None),
        ("", None),
    ],
)
def test_case_and_separators_make_no_other_word(word, meant):
    assert near_miss.nearest(word, DEVICES) == meant
    assert near_miss.did_you_mean(word, DEVICES) == (f"; did you mean {meant!r}?" if meant else "")


@pytest.mark.parametrize("text", ["2*3", "2,3", "2 3", "2 × 3", "2 by 3", "2-3", " 2x3 "])
def test_a_grid_in_another_spelling_is_known(text):
    assert near_miss.grid(text) == "; did you mean 2x3?"


@pytest.mark.parametrize("text", ["page.png", "2", "2x", "2x3x4", "1,2,3"])
def test_what_is_no_grid_is_none_in_any_spelling(text):
    assert near_miss.grid(text) == ""
