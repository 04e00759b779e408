"""How often the judgement of pairs is right, in small, and as docs/gate.md shows it."""

from __future__ import annotations

import re
from math import comb
from pathlib import Path

import paired_worlds as worlds
import pytest

from pytest_ocrsweep.baselines import paired, paired_group

PAGE = Path(__file__).parents[2] / "docs" / "gate.md"


RUNS = 12


def chance(red: int, of_runs: float) -> float:
    """That so many of RUNS, or a rarer number on the same side, are red if this share of all runs is."""
    each = [comb(RUNS, k) * of_runs**k * (1 - of_runs) ** (RUNS - k) for k in range(RUNS + 1)]
    return min(sum(each[: red + 1]), sum(each[red:]))


@pytest.mark.parametrize("world", worlds.rows(), ids=lambda world: f"{world.name}, {world.slower}")
def test_pairs_keep_their_bounds(world: worlds.PairedWorld) -> None:
    red = round(RUNS * world.red(RUNS))
    if world.most_red < 1 and red / RUNS > world.most_red:
        assert chance(red, world.most_red) > 0.001
    if red / RUNS < world.least_red:
        assert chance(red, world.least_red) > 0.001


def test_a_judgement_that_asks_for_no_margin_is_red_unchanged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paired, "SMALLEST", 0.0)
    monkeypatch.setattr(paired, "FALSE_RED", 4.0)  # of 138 points, two may exceed their margin
    assert worlds.QUIET.red(10) > 0.5


def test_a_judgement_that_leaves_no_process_out_does_not_see_through_an_odd_one(monkeypatch) -> None:
    monkeypatch.setattr(paired_group, "OUTLYING", 10.0)
    assert worlds.replace(worlds.ODD, whole=0.03).red(5) == 0


def test_the_page_shows_every_world_and_its_numbers_keep_the_bounds() -> None:
    text = PAGE.read_text(encoding="utf-8").partition("paired_worlds.py")[2]
    shown = re.findall(r"^\| (\d.*|one .*|the .*) \| (.*) \| ([\d.]+)% \| (.*) \|$", text, re.M)
    assert [(name, slower, bound) for name, slower, _, bound in shown] == [
        (world.name, world.slower, world.bound) for world in worlds.rows()
    ]
    for world, (_, _, red, _) in zip(worlds.rows(), shown, strict=True):
        assert world.least_red <= float(red) / 100 <= world.most_red
