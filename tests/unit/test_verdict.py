"""Verdicts: which fail, which is worst, and texts that another version wrote."""

from __future__ import annotations

import json

import pytest

from pytest_ocrsweep.baselines.verdict import FAILED, Verdict, worst


def test_the_words_are_those_of_every_report() -> None:
    words = ["FAIL", "NO SAMPLE", "NO BASELINE", "IMPROVED", "RECORDED", "PASS", "COUNTED", "NOT TIMED"]
    assert [str(verdict) for verdict in Verdict] == words
    assert json.dumps([Verdict.NO_SAMPLE]) == '["NO SAMPLE"]'


def test_two_of_them_fail() -> None:
    assert FAILED == (Verdict.FAIL, Verdict.NO_SAMPLE)
    assert [verdict for verdict in Verdict if verdict.failed] == list(FAILED)


@pytest.mark.parametrize(
    ("parts", "whole"),
    [
        ([Verdict.PASS], Verdict.PASS),
        ([Verdict.PASS, Verdict.RECORDED], Verdict.RECORDED),
        ([Verdict.IMPROVED, Verdict.NO_BASELINE, Verdict.PASS], Verdict.NO_BASELINE),
        ([Verdict.NO_SAMPLE, Verdict.FAIL], Verdict.FAIL),
    ],
)
def test_a_point_gets_the_worst_of_its_verdicts(parts: list[Verdict], whole: Verdict) -> None:
    assert worst(*parts) is whole


@pytest.mark.parametrize("text", ["", "FLAKY", "fail", "NO_SAMPLE"])
def test_a_text_of_another_version_is_kept_fails_nothing_and_comes_last(text: str) -> None:
    other = Verdict(text)
    assert (str(other), other.failed, {other: 1}[Verdict(text)]) == (text, False, 1)
    assert worst(other, Verdict.COUNTED) is Verdict.COUNTED
    assert other not in set(Verdict)


def test_a_verdict_is_found_by_its_text() -> None:
    """Also in a dictionary: Python's own enums are hashed by their names."""
    assert Verdict("NO SAMPLE") is Verdict.NO_SAMPLE
    assert {Verdict.NO_SAMPLE: 1}["NO SAMPLE"] == 1
