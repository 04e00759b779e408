"""How often the gate is right, in small, and as docs/gate.md shows it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import worlds

from pytest_ocrsweep.baselines import gate

PAGE = Path(__file__).parents[2] / "docs" / "gate.md"


def test_the_gate_keeps_its_bounds_in_every_world(capsys: pytest.CaptureFixture[str]) -> None:
    assert worlds.main(["--judgements", "230", "--runs", "4"]) == 0, capsys.readouterr().out


def test_a_gate_that_leaves_no_process_out_does_not_keep_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pytest_ocrsweep.baselines.evidence.OUTLYING", 10.0)
    assert worlds.replace(worlds.BAD, slower=0.03).red(230, 0) < 0.5


def test_a_gate_that_subtracts_no_offset_is_red_on_another_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pytest_ocrsweep.baselines.shared.LEAST", 100)
    assert worlds.APART.red(0, 20) >= 0.1


def test_a_gate_that_subtracts_all_that_is_shared_loses_a_slower_stage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pytest_ocrsweep.baselines.shared.LIMIT", 1.0)
    assert worlds.replace(worlds.APART, all_slower=0.03).red(230, 0) == 0


def test_a_gate_with_a_margin_below_the_noise_is_red_unchanged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "FLOOR", 0.001)
    monkeypatch.setattr(gate, "CHANCE", 0.3)
    assert worlds.QUIET.red(0, 4) > 0.5


def test_the_page_shows_every_world_and_its_numbers_keep_the_bounds() -> None:
    row = r"^\| (\w.*) \| (-|\d.*%|all .*%|every .*%) \| ([\d.]+)% \| (points|runs) \| (.*) \|$"
    shown = re.findall(row, PAGE.read_text(encoding="utf-8"), re.M)
    known = worlds.rows()
    assert [each[:2] for each in shown] == [(world.name, world.slower_by) for world in known]
    for world, (_, _, red, counted, bound) in zip(known, shown, strict=True):
        assert world.least_red <= float(red) / 100 <= world.most_red
        assert (counted, bound) == (world.counted, world.bound)
