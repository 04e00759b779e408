"""Predicts times of points that nobody measured yet, so that they can be committed before a GPU judges them.

python dev/profiles/predict.py h100 > dev/profiles/predicted-h100.json
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace

from pytest_ocrsweep import CropGrid, Workload, load_model
from pytest_ocrsweep.hardware.devices import Device
from pytest_ocrsweep.hardware.estimate import estimate
from pytest_ocrsweep.model.analytic import Model
from pytest_ocrsweep.sweep.config import devices

# Chosen before any of them was measured: none is among those that a calibration fits or is judged by.
UNSEEN = [
    *(("vision", grid, "flash", {}) for grid in ("1x3", "2x2", "4x2", "5x1")),
    *(("vision", grid, "eager", {}) for grid in ("1x3", "2x2", "4x1")),
    ("vision", "1x2", "flash", {"batch": 3}),
    ("vision", "1x3", "flash", {"batch": 6}),
    ("vision", "1x1", "flash", {"batch": 12, "resolution": "small"}),
    ("vision", "1x1", "flash", {"batch": 24, "resolution": "tiny"}),
    ("vision", "1x1", "flash", {"batch": 5, "resolution": "large"}),
    ("vision", "1x2", "flash", {"resolution": "gundam-m"}),
    ("vision", "1x1", "eager", {"batch": 4, "resolution": "small"}),
    *(("prefill", grid, "flash", {}) for grid in ("1x3", "2x2", "4x2")),
    *(("prefill", grid, "eager", {}) for grid in ("1x3", "2x2")),
    ("prefill", "1x2", "flash", {"batch": 3}),
    ("prefill", "1x1", "flash", {"batch": 6, "prompt_tokens": 800}),
    ("prefill", "1x1", "flash", {"batch": 16, "resolution": "tiny"}),
    ("prefill", "1x1", "flash", {"batch": 12, "resolution": "small", "prompt_tokens": 300}),
    ("prefill", "1x2", "flash", {"resolution": "gundam-m", "prompt_tokens": 100}),
    ("prefill", "1x1", "flash", {"prompt_tokens": 3000}),
    ("prefill", "3x3", "flash", {"prompt_tokens": 5500}),
    ("prefill", "1x1", "flash", {"prompt_tokens": 6500, "resolution": "tiny"}),
    ("prefill", "1x1", "eager", {"prompt_tokens": 700}),
    ("prefill", "1x1", "eager", {"batch": 4, "resolution": "small"}),
    *(("decode", grid, "flash", {}) for grid in ("1x3", "4x2")),
    *(("decode", grid, "eager", {}) for grid in ("1x3", "2x2")),
    *(("decode", "1x3", "flash", {"batch": batch}) for batch in (3, 6, 12, 24, 48)),
    *(("decode", "1x2", "eager", {"batch": batch}) for batch in (3, 16, 32)),
    ("decode", "1x1", "flash", {"batch": 16, "resolution": "small"}),
    ("decode", "1x1", "eager", {"batch": 32, "resolution": "tiny"}),
    ("decode", "2x2", "flash", {"resolution": "gundam-m"}),
    ("decode", "1x1", "flash", {"prompt_tokens": 3000}),
    ("decode", "1x2", "flash", {"prompt_tokens": 5500, "batch": 4}),
    ("decode", "1x1", "eager", {"prompt_tokens": 6500}),
]


def last_call_ns(model: Model, device: Device, stage: str, work: Workload, attention: str) -> tuple[int, int, int]:
    """What a profile measures: a call of the stage, or a decode's last step; and its interval."""
    whole = estimate(model.ledger(stage, work, attention), device)
    before = 0
    if stage == "decode":
        before = estimate(model.ledger(stage, replace(work, new_tokens=work.new_tokens - 1), attention), device).time_ns
    time_ns = whole.time_ns - before
    return time_ns, round(time_ns * whole.low_ns / whole.time_ns), round(time_ns * whole.high_ns / whole.time_ns)


def main(name: str) -> None:
    model, device = load_model(), devices()[name]
    rows = []
    for stage, grid, attention, sizes in UNSEEN:
        work = Workload(CropGrid.parse(grid), **sizes)  # type: ignore[arg-type]
        time_ns, low_ns, high_ns = last_call_ns(model, device, stage, work, attention)
        about = {"stage": stage, "grid": grid, "attention": attention, **sizes}
        rows.append(json.dumps({**about, "time_ns": time_ns, "low_ns": low_ns, "high_ns": high_ns}))
    print("[\n" + ",\n".join(rows) + "\n]")


if __name__ == "__main__":
    main(sys.argv[1])
