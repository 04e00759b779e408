"""Counted peaks equal what a GPU's allocator measured, to the byte, at points that nobody tuned to."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from pytest_ocrsweep import CropGrid, Workload, load_model

RECORDED = Path(__file__).parents[2] / "dev/profiles/nvidia-h100-80gb-hbm3.jsonl.gz"
POINTS = [json.loads(line) for line in gzip.decompress(RECORDED.read_bytes()).splitlines()]
SIZES = ("batch", "resolution", "prompt_tokens")


def name_of(point: dict[str, object]) -> str:
    return "-".join(str(point[key]) for key in ("stage", "grid", "attention", *SIZES) if key in point)


@pytest.mark.parametrize("point", POINTS, ids=name_of)
def test_a_counted_peak_is_the_measured_one(point):
    work = Workload(CropGrid.parse(point["grid"]), **{size: point[size] for size in SIZES if size in point})
    ledger = load_model().ledger(point["stage"], work, point["attention"])
    assert ledger.peak_activation_bytes == point["peak_bytes"]


def test_the_points_are_of_every_stage_mode_and_batch():
    assert len(POINTS) == 88
    assert {point["stage"] for point in POINTS} == {"vision", "prefill", "decode"}
    assert {point.get("batch", 1) for point in POINTS} == {1, 2, 4, 8, 16, 32, 64}
    assert len({point.get("resolution", "gundam") for point in POINTS}) == 6
