"""An engine's ledger beside the same work in plain torch, counted at the dispatcher: every number, to the byte."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import pytest

pytest.importorskip("torch", reason="the reference model needs the extra [vendor]")
pytest.importorskip("transformers", reason="the reference model needs the extra [vendor]")

from pytest_ocrsweep import CropGrid, Model, Workload, load_model
from pytest_ocrsweep.model.engine import REFERENCE
from pytest_ocrsweep.model.stages import STAGES
from pytest_ocrsweep.vendor_model.plain_engine import PlainEngine

VLLM = load_model(overrides=["engine=vllm"])
WORKS = [
    Workload("1x1"),
    Workload("2x3"),
    Workload("1x1", batch=2, resolution="tiny"),
    *(
        pytest.param(work, marks=pytest.mark.slow)
        for work in (
            Workload("6x1", batch=3),
            Workload("1x2", batch=5, prompt_tokens=37),
            Workload("1x1", prompt_tokens=6000, resolution="tiny"),  # memory peaks in the decoder
            Workload("2x2", resolution="gundam-m"),
        )
    ),
]

QUANTISED = [
    Workload("2x3"),
    Workload("2x3", batch=4),
    pytest.param(Workload("1x1", prompt_tokens=6000, resolution="tiny"), marks=pytest.mark.slow),
    pytest.param(Workload("1x2", batch=5, prompt_tokens=37), marks=pytest.mark.long),
]
ORIGINALS = [
    Workload("2x3"),
    *(
        pytest.param(work, marks=pytest.mark.long)
        for work in (
            Workload("1x1", batch=3),
            Workload("3x1", batch=2, prompt_tokens=2000),
            Workload("1x1", batch=2, resolution="tiny"),
            Workload("2x2", resolution="gundam-m"),
        )
    ),
]


@cache
def plain(name: str = "deepseek-ocr", engine: str = "vllm") -> PlainEngine:
    model = load_model(name, engine=engine)
    return PlainEngine(model.architecture, model.engine)


@cache
def quantised() -> PlainEngine:
    return PlainEngine(VLLM.architecture, replace(VLLM.engine, fp8_products=True))


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("work", WORKS, ids=str)
def test_every_number_of_vllm_is_that_of_plain_torch(stage: str, work: Workload) -> None:
    work = replace(work, new_tokens=1)
    assert numbers(VLLM, stage, work) == plain().counts(stage, work)


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("work", ORIGINALS, ids=str)
def test_every_number_of_the_original_is_that_of_plain_torch(stage: str, work: Workload) -> None:
    work = replace(work, new_tokens=1)
    assert numbers(load_model(engine="original"), stage, work) == plain(engine="original").counts(stage, work)


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("work", QUANTISED, ids=str)
def test_every_number_of_vllm_with_8_bit_products_is_that_of_plain_torch(stage: str, work: Workload) -> None:
    ours, engine = load_model(overrides=["engine=vllm", "precision=fp8-w8a8"]), quantised()
    work = replace(work, new_tokens=1)
    assert numbers(ours, stage, work) == engine.counts(stage, work)
    assert ours.ledger(stage, work).fp8_tensor_flops == engine.fp8_tensor_flops(stage, work)


@pytest.mark.long
@pytest.mark.parametrize("stage", STAGES)
def test_every_grid_that_vllm_cuts_and_a_tiny_model_too(stage: str) -> None:
    tiny = load_model("deepseek-ocr-tiny", overrides=["engine=vllm"])
    points = [(VLLM, plain(), Workload(grid, new_tokens=1)) for grid in CropGrid.upto(6)]
    points += [(tiny, plain(tiny.name), Workload(grid, new_tokens=1, batch=9)) for grid in CropGrid.upto(6)]
    for model, engine, work in points:
        assert numbers(model, stage, work) == engine.counts(stage, work), work


def numbers(model: Model, stage: str, work: Workload) -> tuple[int, ...]:
    """In the order of `PlainEngine.counts`."""
    ledger = model.ledger(stage, work)
    cost = ledger.total()
    return cost.tensor_flops, cost.vector_flops, cost.read_bytes, cost.write_bytes, ledger.peak_activation_bytes


SWITCHES: dict[str, dict[str, object]] = {
    name: {name: True}
    for name in (
        *("last_logits", "pages_alone", "original_sam", "original_clip"),
        *("padded_bias", "linear_patches", "indexed_places"),
        *("original_tower", "looped_experts", "product_rope", "keeps_first_keys", "float_logits"),
        *("fused_norms", "fused_rope", "fused_qkv", "fused_gate_up", "fused_experts"),
    )
}
SWITCHES |= {
    "none": {},
    "grouped_router": {"fused_experts": True, "grouped_router": True},
    "fused_norms_of_experts": {"fused_experts": True, "fused_norms": True},
    "kv_block_tokens": {"kv_block_tokens": 16},
    "captured_batches": {"captured_batches": (1, 4, 8)},
    "padded_prompts": {
        **dict.fromkeys(("last_logits", "indexed_places", "fused_rope"), True),
        "captured_batches": (4, 1000, 2000),
    },
}


@pytest.mark.slow
@pytest.mark.parametrize("switch", SWITCHES)
def test_each_switch_alone_is_that_of_plain_torch(switch: str) -> None:
    """On a tiny model, so that all of them are fast; sizes differ, formulas do not."""
    engine = replace(REFERENCE, attentions=("flash",), **SWITCHES[switch])  # type: ignore[arg-type]
    tiny = replace(load_model("deepseek-ocr-tiny"), engine=engine)
    alone = PlainEngine(tiny.architecture, engine)
    for stage in STAGES:
        for work in (Workload("2x3", new_tokens=1), Workload("1x2", batch=3, new_tokens=1)):
            assert numbers(tiny, stage, work) == alone.counts(stage, work), (stage, work)
