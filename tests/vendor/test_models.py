"""Models beside DeepSeek-OCR: each counts what its own class of transformers does, at every grid and mode it has."""

from __future__ import annotations

from dataclasses import replace

import pytest

pytest.importorskip("torch", reason="the reference model needs the extra [vendor]")
pytest.importorskip("transformers", reason="the reference model needs the extra [vendor]")

import architectures

from pytest_ocrsweep import CropGrid, Model, Workload, load_model
from pytest_ocrsweep.model.attention import ATTENTION
from pytest_ocrsweep.model.stages import STAGES
from pytest_ocrsweep.sweep.config import compose
from pytest_ocrsweep.vendor_model import build, forward, witness
from pytest_ocrsweep.vendor_model.layer_calls import layer_calls
from pytest_ocrsweep.vendor_model.stage_calls import StageCall, stage_flops

MODEL = load_model("deepseek-ocr-2")
TINY = load_model("deepseek-ocr-2-tiny")
WORKLOADS = {f"gundam-{grid}": Workload(grid) for grid in CropGrid.upto(MODEL.architecture.most_crops)}
WORKLOADS["base-1x1"] = Workload("1x1", resolution="base")
QUICK = {("gundam-2x3", 1, "flash")}
CASES = [
    pytest.param(name, batch, attention, marks=() if (name, batch, attention) in QUICK else pytest.mark.long)
    for name in WORKLOADS
    for batch in (1, 4)
    for attention in ATTENTION
]


def differences(model: Model, work: Workload, attention: str) -> dict[str, list[int]]:
    """By stage: tensor and vector FLOPs, bytes read and written, and peak bytes, ours less the vendor's."""
    work = work.cut_by(model.architecture.tiling)
    return {
        stage: [
            model.ledger(stage, work, attention).tensor_flops - stage_flops(model.architecture, stage, work, attention),
            *witness.other_differences(model, stage, work, attention),
        ]
        for stage in STAGES
    }


@pytest.mark.parametrize(("name", "batch", "attention"), CASES)
def test_every_grid_and_mode_counts_what_the_vendors_model_does(name, batch, attention):
    work = replace(WORKLOADS[name], batch=batch)
    assert differences(MODEL, work, attention) == dict.fromkeys(STAGES, [0] * 5)


@pytest.mark.parametrize(
    ("batch", "attention"),
    [
        (1, "flash"),
        (3, "eager"),
        pytest.param(1, "eager", marks=pytest.mark.slow),
        pytest.param(3, "flash", marks=pytest.mark.slow),
    ],
)
def test_a_tiny_one_counts_what_the_vendors_model_does(batch, attention):
    work = Workload("3x1", prompt_tokens=3, batch=batch)
    assert differences(TINY, work, attention) == dict.fromkeys(STAGES, [0] * 5)


@pytest.mark.parametrize("attention", ATTENTION)
@pytest.mark.parametrize("name", [pytest.param("deepseek-ocr-2", marks=pytest.mark.long), "deepseek-ocr-2-tiny"])
def test_every_layer_type_counts_what_the_vendors_does(name, attention):
    model, seen = load_model(name).architecture, set()
    for layer in layer_calls(model, attention, "grouped_mm"):
        found = witness.counted(layer.call, model.decoder.experts_per_token)
        assert witness.analytic(layer.kernels) == found, layer.name
        seen.add(type(layer.module).__name__)
    assert len(seen) >= 20
    assert {"DeepseekOcr2VisionAttention", "DeepseekOcr2VisionMLP", "DeepseekOcr2VisionRMSNorm"} <= seen


@pytest.mark.parametrize(
    ("grid", "flops"), [("1x1", 1_366_157_361_152), ("1x2", 2_822_201_606_144), ("2x3", 5_734_290_096_128)]
)
def test_vision_has_the_flops_that_were_counted_before_anything_was_written_here(grid, flops):
    for attention in ATTENTION:
        assert MODEL.ledger("vision", Workload(grid), attention).tensor_flops == flops


@pytest.mark.parametrize(
    ("grid", "flops"), [("1x1", 310_946_918_400), ("1x2", 656_170_905_600), ("2x3", 1_377_195_356_160)]
)
def test_the_decoder_and_the_head_have_theirs(grid, flops):
    ledger = MODEL.ledger("prefill", Workload(grid))
    assert ledger.total("decoder").tensor_flops + ledger.total("head").tensor_flops == flops
    work = Workload(grid).cut_by(MODEL.architecture.tiling)
    assert StageCall(MODEL.architecture, "language", work, "flash", "grouped_mm").tensor_flops() == flops


def test_weights_equal_the_vendors_parameters_part_by_part():
    built = build.on_meta(MODEL.architecture, "flash", "grouped_mm")
    tower, text = built.model.vision_tower, built.model.language_model
    tables = [tower.query_768_resolution.weight, tower.query_1024_resolution.weight]
    theirs = {
        "sam": [*tower.sam_encoder.parameters()],
        "query_encoder": [*tower.vision_encoder.parameters(), *tables],
        "projector": [*built.model.multi_modal_projector.parameters(), built.model.view_separator],
        "embed": [*text.embed_tokens.parameters()],
        "decoder": [*text.layers.parameters(), *text.norm.parameters()],
        "head": [*built.lm_head.parameters()],
    }
    parts = {part: sum(p.numel() * p.element_size() for p in parameters) for part, parameters in theirs.items()}
    for grid in ("1x1", "2x3"):
        ledger = MODEL.ledger("prefill", Workload(grid))
        assert {part: ledger.weights(part) for part in parts} == parts
        assert ledger.weight_bytes == sum(p.numel() * p.element_size() for p in built.parameters()) == 2 * 3_389_119_360


@pytest.mark.parametrize("batch", [1, 4])
def test_the_kv_cache_equals_the_vendors_tensors(batch):
    work = Workload("2x3", batch=batch).cut_by(MODEL.architecture.tiling)
    built = build.on_meta(MODEL.architecture, "flash", "grouped_mm")
    for stage, keys in (("prefill", work.context_tokens), ("decode", work.context_tokens + work.new_tokens)):
        cache = forward.filled_cache(built, batch, keys)
        theirs = sum(t.numel() * t.element_size() for layer in cache.layers for t in (layer.keys, layer.values))
        assert MODEL.ledger(stage, work).kv_cache_bytes == theirs


SHAPES = {
    "groups of four": {"heads": 8, "kv_heads": 2, "mlp_width": 700},
    "no groups": {"heads": 4, "kv_heads": 4},
    "one head": {"heads": 1, "kv_heads": 1},
    "one layer": {"layers": 1},
}


@pytest.mark.parametrize(
    "name", [name if name == "groups of four" else pytest.param(name, marks=pytest.mark.long) for name in SHAPES]
)
def test_an_encoder_of_another_shape_counts_what_the_vendors_does_where_memory_peaks_in_it(name):
    """SAM is made so small that the peaks of vision lie in the encoder with queries."""
    tiny, settings = TINY.architecture, compose(["model=deepseek-ocr-2-tiny"])
    small = replace(tiny.sam, global_layers=(), window=2, layers=1, mlp_width=1, neck_width=1, width=4)
    model = replace(tiny, sam=small, query_encoder=replace(tiny.query_encoder, **SHAPES[name]))
    work = replace(settings.workload, batch=2).on("1x2")
    for attention in ATTENTION:
        assert Model(model).ledger("vision", work, attention).peak_path.startswith("query_encoder/")
    assert list(architectures.differences(model, work)) == []
