"""How often the gate is right, in small, and as docs/gate.md shows it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import worlds

from pytest_ocrsweep.baselines import gate

PAGE = Path(__file__).parents[2] / "docs" / "gate.md"


def test_the_gate_keeps_its_bounds_in_every_world(capsys: pytest.CaptureFixture[str]) -> None:
    assert worlds.main(["--judgements", "460"]) == 0, capsys.readouterr().out


def test_a_gate_that_leaves_no_process_out_does_not_keep_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pytest_ocrsweep.baselines.evidence.OUTLYING", 10.0)
    assert worlds.BAD.red(230) == 0
    assert worlds.replace(worlds.BAD, slower=0.03).red(230) < 0.5


def test_a_gate_with_a_margin_below_the_noise_is_red_unchanged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "FLOOR", 0.001)
    monkeypatch.setattr(gate, "T_QUANTILES", dict.fromkeys(gate.T_QUANTILES, 0.5))
    assert worlds.QUIET.red(230) > 0.05


def test_the_page_shows_every_world_and_its_numbers_keep_the_bounds() -> None:
    shown = re.findall(r"^\| (\D.*) \| (\d+)% \| ([\d.]+)% \| (.*) \|$", PAGE.read_text(encoding="utf-8"), re.M)
    known = worlds.rows()
    assert [(name, int(slower)) for name, slower, _, _ in shown] == [(w.name, round(100 * w.slower)) for w in known]
    for world, (_, _, red, bound) in zip(known, shown, strict=True):
        assert world.least_red <= float(red) / 100 <= world.most_red
        assert bound == world.bound
