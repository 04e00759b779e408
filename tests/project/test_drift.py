"""How soon the gate reports a drift, in small, and as docs/gate.md shows it."""

from __future__ import annotations

import re
from pathlib import Path

import drift
import pytest

from pytest_ocrsweep.baselines import gate

PAGE = Path(__file__).parents[2] / "docs" / "gate.md"


def test_updates_that_each_move_a_point_by_little_are_told_by_the_fourth() -> None:
    assert drift.share_told(300) >= 0.97
    assert drift.share_told(100, by=drift.UPDATES) == 1


def test_updates_that_move_nothing_are_told_of_no_drift() -> None:
    assert drift.share_told(150, step=0, by=drift.UPDATES) <= 0.01


def test_a_margin_that_is_too_wide_would_not_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "FLOOR", 0.03)
    assert drift.share_told(50) < 0.5


def test_the_page_shows_the_bounds_and_numbers_that_keep_them() -> None:
    text = PAGE.read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\+0.5%|unchanged) \| (\d+) \| ([\d.]+)% \| (.*) \|$", text, re.M)
    shown = {(step, int(by)): (float(share) / 100, bound) for step, by, share, bound in rows}
    assert shown["+0.5%", drift.TOLD_BY][0] >= drift.LEAST_TOLD
    assert shown["+0.5%", drift.TOLD_BY][1] == f"at least {drift.LEAST_TOLD:.0%}"
    assert shown["unchanged", drift.UPDATES][0] <= drift.MOST_FALSE
