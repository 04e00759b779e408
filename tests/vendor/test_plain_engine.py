"""An engine's ledger beside the same work in plain torch, counted at the dispatcher: every number, to the byte."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import pytest

pytest.importorskip("torch", reason="the reference model needs the extra [vendor]")
pytest.importorskip("transformers", reason="the reference model needs the extra [vendor]")

from pytest_ocrsweep import CropGrid, Workload, load_model
from pytest_ocrsweep.model.stages import STAGES
from pytest_ocrsweep.vendor_model.plain_engine import PlainEngine

VLLM = load_model(overrides=["engine=vllm"])
WORKS = [
    Workload("1x1"),
    Workload("2x3"),
    Workload("6x1", batch=3),
    Workload("1x2", batch=5, prompt_tokens=37),
    Workload("1x1", batch=2, resolution="tiny"),
    Workload("2x2", resolution="gundam-m"),
]


@cache
def plain(name: str = "deepseek-ocr") -> PlainEngine:
    model = load_model(name, overrides=["engine=vllm"])
    return PlainEngine(model.architecture, model.engine)


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("work", WORKS, ids=str)
def test_every_number_of_vllm_is_that_of_plain_torch(stage: str, work: Workload) -> None:
    work = replace(work, new_tokens=1)
    ledger = VLLM.ledger(stage, work)
    tensor_flops, counts = plain().counts(stage, work)
    assert ledger.tensor_flops == tensor_flops
    assert ledger.vector_flops == counts.vector_flops
    assert ledger.read_bytes == counts.read_bytes
    assert ledger.write_bytes == counts.write_bytes
    assert ledger.peak_activation_bytes == counts.peak_bytes


@pytest.mark.slow
@pytest.mark.parametrize("stage", STAGES)
def test_every_grid_that_vllm_cuts_and_a_tiny_model_too(stage: str) -> None:
    tiny = load_model("deepseek-ocr-tiny", overrides=["engine=vllm"])
    points = [(VLLM, plain(), Workload(grid, new_tokens=1)) for grid in CropGrid.upto(6)]
    points += [(tiny, plain(tiny.name), Workload(grid, new_tokens=1, batch=9)) for grid in CropGrid.upto(6)]
    for model, engine, work in points:
        ledger = model.ledger(stage, work)
        tensor_flops, counts = engine.counts(stage, work)
        found = (counts.vector_flops, counts.read_bytes, counts.write_bytes, counts.peak_bytes)
        cost = ledger.total()
        assert ledger.tensor_flops == tensor_flops, work
        assert (cost.vector_flops, cost.read_bytes, cost.write_bytes, ledger.peak_activation_bytes) == found, work
