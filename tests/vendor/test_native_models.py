"""Models that read pages at their own resolution: each counts what its own class of transformers does, at its grids."""

from __future__ import annotations

from dataclasses import replace

import pytest

pytest.importorskip("torch", reason="the reference model needs the extra [vendor]")
pytest.importorskip("transformers", reason="the reference model needs the extra [vendor]")

import torch

from pytest_ocrsweep import Model, Workload, load_model
from pytest_ocrsweep.errors import ConfigError, MeasureError
from pytest_ocrsweep.model.attention import ATTENTION
from pytest_ocrsweep.model.native_resolution import LONGEST_STRIP
from pytest_ocrsweep.model.stages import STAGES
from pytest_ocrsweep.sweep.config import compose
from pytest_ocrsweep.sweep.grid_sources import entries
from pytest_ocrsweep.sweep.made_for import SweptFor
from pytest_ocrsweep.vendor_model import build, forward, slowed, witness
from pytest_ocrsweep.vendor_model.layer_calls import layer_calls
from pytest_ocrsweep.vendor_model.stage_calls import stage_flops

PARAMETERS = {"glm-ocr": 1_107_405_824, "paddleocr-vl": 905_601_648}
MODULES = {  # of each part, by its name in the class
    "glm-ocr": {
        "patch_encoder": ["visual.patch_embed", "visual.blocks", "visual.post_layernorm"],
        "projector": ["visual.downsample", "visual.merger"],
        "embed": ["language_model.embed_tokens"],
        "decoder": ["language_model.layers", "language_model.norm"],
    },
    "paddleocr-vl": {
        "patch_encoder": ["visual"],
        "projector": ["projector"],
        "embed": ["language_model.embed_tokens"],
        "decoder": ["language_model.layers", "language_model.norm"],
    },
}
QUICK = {
    *(("glm-ocr", "63x44", 1, "flash"), ("glm-ocr", "44x63", 4, "eager")),
    *(("paddleocr-vl", "63x44", 1, "flash"), ("paddleocr-vl", "44x63", 4, "eager")),
}
GLM = load_model("glm-ocr-tiny").architecture
PADDLE = load_model("paddleocr-vl").architecture
assert GLM.patch_encoder is not None
assert PADDLE.patch_encoder is not None
SMALL = {  # of each class
    "glm_ocr": GLM,
    "paddleocr_vl": replace(
        PADDLE,
        patch_encoder=replace(PADDLE.patch_encoder, width=32, layers=2, heads=2, mlp_width=70, position_side=5),
        decoder=replace(
            PADDLE.decoder,
            width=48,
            layers=2,
            dense_layers=2,
            heads=4,
            kv_heads=2,
            head_dim=20,
            dense_width=90,
            vocabulary=300,
            rope_sections=(2, 3, 5),
        ),
        tiling=replace(PADDLE.tiling, least_pixels=6272),
    ),
}
SHAPES = {  # sizes of the patch encoder, of the decoder, and of the tiles
    "as it is": ({}, {}, 28),
    "one layer": ({"layers": 1}, {"layers": 1, "dense_layers": 1}, 28),
    "no groups": ({}, {"kv_heads": 4}, 28),
    "one head": ({"heads": 1}, {"heads": 1, "kv_heads": 1}, 28),
    "odd widths": ({"width": 72, "heads": 6, "mlp_width": 101}, {"width": 50, "dense_width": 77}, 28),
    "larger patches": ({"patch": 16}, {}, 32),
    "larger tiles": ({"merge": 3}, {}, 42),
}


def grids(name: str) -> list[str]:
    """Those of its sweep, its smallest pages, which are strips, its longest strip, and a page of nearly all tiles."""
    native = load_model(name).architecture.tiling.resolutions["native"].native
    assert native is not None
    least, most = native.least_tiles, native.most_tiles
    swept = [str(entry.grid) for entry in entries("vendor", SweptFor.of(compose([f"model={name}"])))]
    return [*swept, f"1x{least}", f"{least}x1", f"{LONGEST_STRIP}x1", f"{most // 64}x64"]


CASES = [
    pytest.param(*case, marks=() if case in QUICK else pytest.mark.long)
    for case in ((n, g, b, a) for n in PARAMETERS for g in grids(n) for b in (1, 4) for a in ATTENTION)
]
every_model = pytest.mark.parametrize("name", PARAMETERS)


def differences(model: Model, work: Workload, attention: str, step: int = 1) -> dict[str, list[int]]:
    """By stage: tensor and vector FLOPs, bytes read and written, and peak bytes, ours less the vendor's."""
    work = work.cut_by(model.architecture.tiling)
    return {
        stage: [
            model.ledger(stage, work, attention).tensor_flops - stage_flops(model.architecture, stage, work, attention),
            *witness.other_differences(model, stage, work, attention, step if STAGES[stage].per_token else 1),
        ]
        for stage in STAGES
    }


NONE = dict.fromkeys(STAGES, [0] * 5)


@pytest.mark.parametrize(("name", "grid", "batch", "attention"), CASES)
def test_every_grid_counts_what_the_vendors_model_does(name, grid, batch, attention):
    assert differences(load_model(name), Workload(grid, batch=batch), attention) == NONE


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize(
    ("kind", "shape"),
    [
        pytest.param(kind, shape, marks=() if shape in ("as it is", "odd widths") else pytest.mark.slow)
        for kind in SMALL
        for shape in SHAPES
    ],
)
def test_one_of_another_shape_counts_what_the_vendors_model_does(kind, shape, batch):
    small, (encoder, decoder, tile) = SMALL[kind], SHAPES[shape]
    assert small.patch_encoder is not None
    changed = replace(
        small,
        patch_encoder=replace(small.patch_encoder, **encoder),
        decoder=replace(small.decoder, **decoder),
        tiling=replace(small.tiling, crop_sides=(tile,), most_pixels=10**6),
    )
    for attention in ATTENTION:
        assert differences(Model(changed), Workload("7x8", prompt_tokens=3, batch=batch), attention) == NONE


@pytest.mark.parametrize("kind", SMALL)
def test_grids_of_numpy_and_positions_made_before_give_what_the_class_computes_by_itself(kind):
    model = SMALL[kind]
    work = Workload("4x3", batch=2).cut_by(model.tiling)
    built = build.build(model, "flash", "grouped_mm", "cpu")
    page = forward.pages(work, build.like(built), model)
    ours = forward.vision_call(built, page)()
    grids = torch.tensor([[1, 8, 6]] * 2)
    theirs = built.model.get_image_features(page.views, image_grid_thw=grids)
    assert len(ours.pooler_output) == len(theirs.pooler_output) == 2
    for one, other in zip(ours.pooler_output, theirs.pooler_output, strict=True):
        assert one.shape == (12, model.decoder.width)
        assert torch.equal(one, other)
    prompt = forward.prefill_call(built, page, "flash")()
    assert prompt.logits.shape == (2, work.context_tokens, model.decoder.vocabulary)
    step = forward.decode_call(built, 2, work.context_tokens, 3, "flash")()
    assert step.logits.shape == (2, 1, model.decoder.vocabulary)
    assert prompt.logits.isfinite().all()
    assert step.logits.isfinite().all()


@pytest.mark.parametrize("kind", SMALL)
def test_each_component_can_be_slowed_and_no_other(kind):
    built = build.build(SMALL[kind], "flash", "grouped_mm", "meta")
    ledger = Model(SMALL[kind]).ledger("prefill", Workload("4x3"))
    late = ["decoder/attn_norm", "decoder/mlp_norm"] * SMALL[kind].decoder.late_norms
    ours = ["patch_encoder", "projector", "decoder/norm1", "decoder/attn", "decoder/norm2", "decoder/mlp", *late]
    for component in (*ours, "decoder/final_norm", "head"):
        assert slowed.Slowed(built, slowed.Delay(component, 1), torch.device("cpu"))._modules, component
        assert ledger.total(component).flops > 0
    for component in ("sam", "decoder/router", "decoder/experts"):
        with pytest.raises(
            MeasureError, match=f"this model has no {component}; choose one of projector, .*patch_encoder"
        ):
            slowed.Slowed(built, slowed.Delay(component, 1), torch.device("cpu"))
    with pytest.raises(MeasureError, match="this model has no clip; its encoder is patch_encoder"):
        slowed.Slowed(built, slowed.Delay("clip", 1), torch.device("cpu"))


@pytest.mark.parametrize(
    ("name", "batch", "attention"),
    [
        pytest.param(*case, marks=() if case[1:] == (3, "flash") else pytest.mark.long)
        for case in ((n, b, a) for n in PARAMETERS for b in (1, 3) for a in ATTENTION)
    ],
)
def test_so_do_long_prompts_whose_peak_is_the_decoders_and_later_steps(name, batch, attention):
    work = Workload("14x14", prompt_tokens=3001, batch=batch)
    assert differences(load_model(name), work, attention, step=37) == NONE
    assert load_model(name).ledger("prefill", work, attention).peak_path.startswith(("head", "decoder/attn/"))


@pytest.mark.parametrize("attention", ATTENTION)
@pytest.mark.parametrize("name", [*(pytest.param(name, marks=pytest.mark.slow) for name in PARAMETERS), *SMALL])
def test_every_layer_type_counts_what_the_vendors_does(name, attention):
    model, seen = SMALL.get(name) or load_model(name).architecture, set()
    for layer in layer_calls(model, attention, "grouped_mm"):
        assert witness.analytic(layer.kernels) == witness.counted(layer.call, 0), layer.name
        seen.add(type(layer.module).__name__)
    assert len(seen) >= 13


@every_model
def test_weights_equal_the_vendors_parameters_part_by_part(name):
    model = load_model(name)
    built = build.on_meta(model.architecture, "flash", "grouped_mm")
    ledger = model.ledger("prefill", Workload("14x14"))
    for part, modules in MODULES[name].items():
        found = [p for module in modules for p in built.model.get_submodule(module).parameters()]
        assert ledger.weights(part) == sum(p.numel() * p.element_size() for p in found), part
    assert ledger.weights("head") == built.lm_head.weight.numel() * 2
    assert ledger.weight_bytes == sum(p.numel() * p.element_size() for p in built.parameters()) == 2 * PARAMETERS[name]


@pytest.mark.parametrize("batch", [1, 4])
@every_model
def test_the_kv_cache_equals_the_vendors_tensors(name, batch):
    model = load_model(name)
    work = Workload("44x63", batch=batch).cut_by(model.architecture.tiling)
    built = build.on_meta(model.architecture, "flash", "grouped_mm")
    for stage, keys in (("prefill", work.context_tokens), ("decode", work.context_tokens + work.new_tokens)):
        cache = forward.filled_cache(built, batch, keys)
        theirs = sum(t.numel() * t.element_size() for layer in cache.layers for t in (layer.keys, layer.values))
        assert model.ledger(stage, work).kv_cache_bytes == theirs


@every_model
def test_a_sweep_in_columns_has_the_numbers_of_each_ledger(name):
    model = load_model(name)
    columns = model.sweep("prefill", rows=[14, 44], cols=[20, 63], batch=2)
    for place, grid in enumerate(("14x20", "44x63")):
        ledger = model.ledger("prefill", Workload(grid, batch=2))
        for number in ("image_tokens", "context_tokens"):
            assert columns[number][place] == getattr(ledger.work, number)
        for number in ("tensor_flops", "vector_flops", "read_bytes", "write_bytes", "peak_activation_bytes"):
            assert columns[number][place] == getattr(ledger, number), number


@every_model
def test_what_nobody_has_counted_is_refused_in_one_line(name, tmp_path):
    model = load_model(name)
    native = model.architecture.tiling.resolutions["native"].native
    assert native is not None
    for grid in ("1x1", f"1x{native.least_tiles - 1}", f"2x{native.most_tiles}"):
        with pytest.raises(ConfigError, match=f"makes from {native.least_tiles} to {native.most_tiles:,} tiles"):
            model.ledger("vision", Workload(grid))
        rows, columns = map(int, grid.split("x"))
        with pytest.raises(ConfigError, match=f"tiles of a page, and {grid} has"):
            model.sweep("vision", rows=[14, rows], cols=[14, columns])
    for overrides, refused in (
        (["engine=vllm"], f"nobody has counted {name}'s patch encoder on vllm: use engine=transformers"),
        (["engine=original"], f"nobody has counted {name}'s patch encoder on original: use engine=transformers"),
        (["precision=fp8"], f"nobody has counted {name} in fp8: use precision=native"),
    ):
        with pytest.raises(ConfigError, match=refused):
            load_model(name, overrides=overrides).ledger("decode", Workload("14x14"))
    with pytest.raises(ValueError, match="2 pages in a prompt are not counted of a model with the mode native"):
        compose([f"model={name}", "workload.pages=2"]).workload.on("14x14")
    ledger = model.ledger("vision", Workload("14x14"))
    with pytest.raises(ValueError, match="DRAM traffic is not known for an encoder of patches"):
        ledger.dram_bytes("h200")
