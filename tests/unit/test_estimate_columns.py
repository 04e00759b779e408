"""Estimates as columns are those of single ledgers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pytest_ocrsweep import CropGrid, Workload, load_model
from pytest_ocrsweep.errors import CalibrationError, ColumnOverflow
from pytest_ocrsweep.hardware.estimate_columns import estimates
from pytest_ocrsweep.model.attention import ATTENTION
from pytest_ocrsweep.model.engine import Engine
from pytest_ocrsweep.model.geometry import RESOLUTIONS
from pytest_ocrsweep.model.stages import STAGES
from pytest_ocrsweep.sweep.config import compose, devices

MODEL = load_model("deepseek-ocr")
POINTS = 600
SLOW = replace(devices()["l40s"], name="slow", tensor_flops_per_s=1e9)  # below whose floor its constants are


def drawn(resolution: str) -> dict[str, np.ndarray]:
    """Sizes of points at random, without crops where the mode has none."""
    random = np.random.default_rng(17)
    most = {"rows": 30, "cols": 30} if RESOLUTIONS[resolution].crop_side else {"rows": 1, "cols": 1}
    most |= {"batch": 200, "prompt_tokens": 7000, "new_tokens": 500}
    sizes = {name: random.integers(1, size, POINTS, endpoint=True) for name, size in most.items()}
    for size in sizes.values():
        size[random.random(POINTS) < 0.3] = 1
    return sizes


@pytest.mark.parametrize("device", [devices()["h100"], devices()["l40s"], SLOW], ids=lambda device: device.name)
@pytest.mark.parametrize("resolution", ["gundam", "tiny"])
@pytest.mark.parametrize("attention", ATTENTION)
@pytest.mark.parametrize("stage", STAGES)
def test_columns_are_the_estimates_of_single_ledgers(stage: str, attention: str, resolution: str, device) -> None:
    columns = MODEL.sweep(stage, attention=attention, resolution=resolution, **drawn(resolution))
    found = estimates(MODEL, columns, device)
    for at in range(0, POINTS, 5):
        rows, cols, batch, prompt, new = (
            int(columns[name][at]) for name in ("rows", "cols", "batch", "prompt_tokens", "new_tokens")
        )
        work = Workload(CropGrid(rows, cols), prompt, new, batch, resolution)
        one = MODEL.ledger(stage, work, attention).estimate(device)
        for name in ("time_ns", "low_ns", "high_ns"):
            assert getattr(found, name)[at] == pytest.approx(getattr(one, name), abs=1, rel=1e-14), (name, work)


@pytest.mark.parametrize(
    "engine", [replace(MODEL.engine, most_crops=6), compose(["engine=vllm"]).engine], ids=["fewer crops", "vllm"]
)
def test_columns_of_an_engine_are_as_sure_as_single_estimates(engine: Engine) -> None:
    model, h100 = replace(MODEL, engine=engine), devices()["h100"]
    found = estimates(model, model.sweep("decode", rows=1, cols=[1, 2]), h100)
    for at, cols in enumerate((1, 2)):
        one = model.ledger("decode", Workload(CropGrid(1, cols))).estimate(h100)
        assert (found.low_ns[at], found.high_ns[at]) == pytest.approx((one.low_ns, one.high_ns), abs=1)


@pytest.mark.parametrize("name", ["deepseek-ocr-tiny", "unlimited-ocr", "deepseek-ocr-2"])
@pytest.mark.parametrize(("stage", "attention"), [("decode", "eager"), ("vision", "flash")])
def test_columns_of_other_models_and_long_answers_are_as_sure_as_single_estimates(
    name: str, stage: str, attention: str
) -> None:
    model, h100, new = load_model(name), devices()["h100"], [1, 100, 4000]
    columns = model.sweep(stage, rows=2, cols=3, prompt_tokens=3000, new_tokens=new, attention=attention)
    found = estimates(model, columns, h100)
    for at, tokens in enumerate(new):
        one = model.ledger(stage, Workload(CropGrid(2, 3), 3000, tokens), attention).estimate(h100)
        assert (found.low_ns[at], found.high_ns[at]) == pytest.approx((one.low_ns, one.high_ns), abs=1, rel=1e-14)


def test_columns_of_a_device_without_a_calibration_are_refused() -> None:
    columns = MODEL.sweep("vision", rows=1, cols=[1, 2])
    with pytest.raises(CalibrationError, match="has no calibration"):
        estimates(MODEL, columns, devices()["mi300x"])


def test_a_time_that_no_column_holds_is_refused() -> None:
    columns = MODEL.sweep("vision", rows=1, cols=[1, 2])
    with pytest.raises(ColumnOverflow, match=r"a time of vision is .* ns: a column holds"):
        estimates(MODEL, columns, replace(SLOW, tensor_flops_per_s=1.0))
