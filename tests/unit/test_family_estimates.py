"""Times of models that no calibration saw, against what DeepSeek-OCR's constants say of them."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path
from statistics import mean, median

import pytest

from pytest_ocrsweep import CropGrid, Workload, load_model
from pytest_ocrsweep.baselines import timed
from pytest_ocrsweep.hardware.estimate import estimate
from pytest_ocrsweep.model.stages import STAGES
from pytest_ocrsweep.sweep.config import devices

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "estimates.md").read_text(encoding="utf-8")
H200 = devices()["h200"]
RECORDED = [
    *product(["deepseek-ocr-2"], STAGES, ["flash", "eager"]),
    *product(["unlimited-ocr"], STAGES, ["flash"]),
]


@pytest.mark.parametrize(("name", "stage", "attention"), RECORDED)
def test_the_page_shows_how_far_estimates_are_from_recorded_times(name: str, stage: str, attention: str) -> None:
    model = load_model(name)
    file = timed.file_of(ROOT / "baselines", name, "nvidia-h200", stage)
    errors, inside = [], 0
    for key, recorded in timed.read(file, name, "nvidia-h200", stage).items():
        if key.attention == attention:
            time_ns = median(process.median_ns for process in recorded.baseline.processes)
            found = estimate(model.ledger(stage, key.work, attention), H200)
            errors.append(abs(found.time_ns / time_ns - 1))
            inside += found.low_ns <= time_ns <= found.high_ns
    row = f"| {name} | {stage} | {attention} | {len(errors)} | {mean(errors):.2%} | {max(errors):.2%} | {inside} |"
    assert row.replace("%", " %") in PAGE, row


def test_batches_and_long_answers_lie_near_their_estimates() -> None:
    """What the baselines do not sweep: pages four at a time, and answers longer than a window of 128 tokens."""
    measured = json.loads((ROOT / "dev" / "profiles" / "nvidia-h200-family.json").read_text(encoding="utf-8"))
    errors, outside = [], []
    for point in measured:
        work = Workload(CropGrid.parse(point["grid"]), batch=point["batch"], new_tokens=point["new_tokens"])
        found = estimate(load_model(point["model"]).ledger(point["stage"], work, "flash"), H200)
        errors.append(abs(found.time_ns / point["median_ns"] - 1))
        if not found.low_ns <= point["median_ns"] <= found.high_ns:
            outside.append(f"{point['model']} {point['stage']} {point['grid']}")
    told = f"MAPE {mean(errors):.2%}, largest error {max(errors):.2%}".replace("%", " %")
    assert told in PAGE, told
    assert f"{len(measured) - len(outside)} of these {len(measured)} points are inside" in PAGE, outside
