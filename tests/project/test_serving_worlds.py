"""How often the gate for wall clocks is right, in small, and as docs/imports.md shows it."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
import serving_worlds

from pytest_ocrsweep.baselines import serving_gate
from pytest_ocrsweep.baselines.serving_metrics import SERVING_METRICS, ServingMetric

PAGE = (Path(__file__).parents[2] / "docs" / "imports.md").read_text(encoding="utf-8")
QUIET = serving_worlds.ServingWorld(0.005, 5)


def test_the_gate_keeps_its_bounds_in_every_world(capsys: pytest.CaptureFixture[str]) -> None:
    assert serving_worlds.main(["--runs", "40"]) == 0, capsys.readouterr().out


def test_a_gate_that_takes_rates_as_lower_is_better_sees_no_fall(monkeypatch: pytest.MonkeyPatch) -> None:
    slower = replace(QUIET, worse=0.05)
    assert slower.red(4) >= 0.9
    monkeypatch.setattr(ServingMetric, "loss", lambda _, change: change)
    assert slower.red(4) < 0.75


def test_a_gate_with_a_margin_below_the_noise_is_red_unchanged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving_gate, "FLOOR", 0.001)
    monkeypatch.setattr(serving_gate, "CHANCE", 0.2)
    assert QUIET.red(20) > 0.5


def test_the_page_shows_every_world_and_its_numbers_keep_the_bounds() -> None:
    row = r"^\| ([\d.]+%) \| (\d+) \| (\d) \| (\d) \| (-|\d+%) \| ([\d.]+)% \| (.*) \|$"
    shown = re.findall(row, PAGE, re.M)
    known = serving_worlds.rows()
    assert len(shown) == len(known)
    for world, (*about, red, bound) in zip(known, shown, strict=True):
        assert serving_worlds.row(world, float(red) / 100).split("|")[1:6] == [f" {each} " for each in about]
        assert world.keeps(float(red) / 100)
        assert bound == world.bound


def test_the_page_names_every_metric_with_its_direction() -> None:
    rows = re.findall(r"^\| (`\w+`(?:, `\w+`)?) \| (lower|higher) \|", PAGE, re.M)
    shown = {name: better for names, better in rows for name in re.findall(r"\w+", names)}
    assert shown == {name: metric.better for name, metric in SERVING_METRICS.items()}
