"""Each layer lists the vendor's kernels in the order they run, and frees all that it allocates but its result."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace

import pytest

from pytest_ocrsweep import CropGrid, Model, Workload, load_model
from pytest_ocrsweep.model.attention import ATTENTION
from pytest_ocrsweep.model.kernels import Kernel, allocated
from pytest_ocrsweep.model.layers import (
    attention,
    clip,
    decoder,
    decoder_parts,
    moe,
    projector,
    sam,
    sam_positions,
)
from pytest_ocrsweep.model.stages import STAGES
from pytest_ocrsweep.model.symbolic import Size, symbol

MODEL = load_model("deepseek-ocr")
SAM, CLIP, DECODER = MODEL.architecture.sam, MODEL.architecture.clip, MODEL.architecture.decoder
IMAGES, MANY = symbol("images"), symbol("many")
every_attention = pytest.mark.parametrize("mode", ATTENTION)
every_way = pytest.mark.parametrize("experts", moe.EXPERTS)


# Names: who selects a part of a ledger, or reads its lines, leans on them

EAGER = "scores scale {mask}to_float softmax to_half {copy_v}values merge_heads"
TABLE = "resize query_range query_scale key_range key_scale distance shift index gather"
REL_POS = f"table:({TABLE}) copy_rows rows columns sum merge"
SAM_EAGER = f"scale scores rel_pos:({REL_POS}) bias to_float softmax to_half values merge_heads"
QKV = "q_proj k_proj v_proj rope_q:(cos negate swap sin add) rope_k:(cos negate swap sin add) cache_k cache_v"
LINES = {
    "positions, trained size": (sam.absolute_positions(SAM, 5, 64), "add"),
    "positions, other size": (sam.absolute_positions(SAM, 5, 40), "to_float resize to_half add"),
    "window": (
        sam.block(SAM, 1, 40, 14, 1, "flash"),
        f"norm1 pad partition attn:(qkv split_heads rel_pos:({REL_POS}) pad_bias fused proj) "
        "unpartition crop residual1 norm2 mlp:(lin1 gelu lin2) residual2",
    ),
    "window, eager": (
        sam.block(SAM, 1, 40, 14, 1, "eager"),
        f"norm1 pad partition attn:(qkv split_heads {SAM_EAGER} proj) "
        "unpartition crop residual1 norm2 mlp:(lin1 gelu lin2) residual2",
    ),
    "whole map": (
        sam.block(SAM, 1, 40, 0, 1, "flash"),
        f"norm1 attn:(qkv split_heads rel_pos:({REL_POS}) fused proj) residual1 norm2 mlp:(lin1 gelu lin2) residual2",
    ),
    "neck": (sam.neck(SAM, 1, 40), "conv1 norm1 conv2 norm2"),
    "downsample": (sam.downsample(SAM, 1, 40), "conv1 conv2"),
    "CLIP's embeddings": (clip.embeddings(CLIP, 1, 16), "class_token positions add"),
    "CLIP's embeddings, other size": (
        clip.embeddings(CLIP, 1, 10),
        "class_token to_float resize to_half positions add",
    ),
    "CLIP's block": (
        clip.block(CLIP, 1, 101, 1, "eager"),
        f"norm1 attn:(q_proj k_proj v_proj copy_q copy_k {EAGER.format(mask='', copy_v='copy_v ')} out_proj) "
        "residual1 norm2 mlp:(fc1 gelu:(scale sigmoid mul) fc2) residual2",
    ),
    "decoder's attention": (
        decoder_parts.self_attention(DECODER, 2, 5, 5, 0, 1, "eager"),
        f"{QKV} copy_q {EAGER.format(mask='mask ', copy_v='')} o_proj",
    ),
    "decoder's attention, fused": (
        decoder_parts.self_attention(DECODER, 2, 5, 5, 0, 1, "flash"),
        f"{QKV} fused o_proj",
    ),
    "decoder's attention, one token": (
        decoder_parts.self_attention(DECODER, 2, 1, 5, 4, 1, "eager"),
        f"{QKV} scores scale mask to_float softmax to_half values o_proj",
    ),
    "grouped experts": (
        moe.grouped_experts(DECODER, 3),
        "sort token gather gather_weights to_int count offsets gate_up gate:(silu mul) down weigh "
        "positions invert restore sum to_half",
    ),
    "batched experts": (
        moe.batched_experts(DECODER, 3),
        "repeat gather_gate_up gate_up gate:(silu mul) gather_down down weigh sum to_half",
    ),
    "rotary tables": (
        decoder_parts.rotary_tables(3, 128),
        "to_float angles repeat cos cos_scale sin sin_scale cos_to_half sin_to_half",
    ),
    "RMS norm": (decoder_parts.rms_norm(3, 128), "to_float square mean epsilon rsqrt scale to_half weight"),
    "gated MLP": (decoder_parts.gated_mlp(3, 128, 5), "gate_proj silu up_proj mul down_proj"),
    "router": (moe.router(DECODER, 3), "to_float weight_to_float logits softmax top_k scale"),
    "scatter": (projector.scatter(1, 273, 283, 1280), "concatenate find scatter"),
}


def names(nested: str) -> list[str]:
    """`a b:(c d)` as a, b/c, b/d."""
    found, prefixes = [], [""]
    for prefix, name, closed in re.findall(r"(?:(\w+):\()|(\w+)|(\))", nested):
        if prefix:
            prefixes.append(f"{prefixes[-1]}{prefix}/")
        elif closed:
            prefixes.pop()
        else:
            found.append(prefixes[-1] + name)
    return found


@pytest.mark.parametrize("name", LINES)
def test_a_layer_runs_the_vendors_kernels_in_their_order(name):
    kernels, lines = LINES[name]
    assert [k.path for k in kernels if k.read_bytes != 0 or k.write_bytes != 0] == names(lines)


PARTS = {
    "vision": "sam:(patch_embed positions window global neck downsample) "
    "clip:(embeddings pre_norm norm1 attn residual1 norm2 mlp residual2) "
    "projector:(join linear global_lines place_crops crop_lines pages)",
    "decode": "embed decoder:(rope norm1 attn residual1 norm2 mlp residual2 router experts shared_experts add_shared "
    "final_norm) head",
}
PARTS["prefill"] = PARTS["decode"].replace("embed ", f"embed {PARTS['vision'][:-1]} concatenate find scatter) ", 1)


@every_attention
@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_runs_its_parts_in_their_order(stage, mode):
    paths = MODEL.ledger(stage, Workload(CropGrid(2, 3)), mode).paths
    assert list(dict.fromkeys("/".join(path.split("/")[:2]) for path in paths)) == names(PARTS[stage])


# Memory


def left(kernels: Iterable[Kernel]) -> Size:
    """Bytes allocated and not freed again; what a layer was given and freed counts against it."""
    total: Size = 0
    for k in kernels:
        total = total + k.allocates - k.frees
    return total


def half(*tensors: Size) -> Size:
    """What tensors of so many two-byte elements take."""
    return allocated(tuple(2 * elements for elements in tensors))


@every_attention
@pytest.mark.parametrize("side", [640, 1024, 1280])
def test_an_encoder_leaves_its_features_and_nothing_else(side, mode):
    q, grid = side // 64, side // 16
    assert left(sam.encoder(SAM, IMAGES, side, MANY, mode)) == half(IMAGES * q * q * 1024)
    assert left(clip.encoder(CLIP, IMAGES, q, MANY, mode)) == half(IMAGES * (q * q + 1) * 1024)
    stream = half(IMAGES * grid * grid * 256)
    assert left(sam.neck(SAM, IMAGES, grid)) == stream - half(IMAGES * grid * grid * 768)
    assert left(sam.downsample(SAM, IMAGES, grid)) == half(IMAGES * q * q * 1024) - stream


@every_attention
def test_a_block_replaces_the_stream_that_it_was_given(mode):
    for window in (14, 0):
        assert left(sam.block(SAM, IMAGES, 40, window, MANY, mode)) == 0
    assert left(sam.absolute_positions(SAM, IMAGES * 40 * 40 * 768, 40)) == 0
    assert left(sam.absolute_positions(SAM, IMAGES * 64 * 64 * 768, 64)) == 0
    assert left(clip.block(CLIP, IMAGES, 101, MANY, mode)) == 0
    mlp = decoder_parts.gated_mlp(IMAGES * 37, 1280, 64)
    cached = decoder_parts.self_attention(DECODER, IMAGES, 37, 37, 0, MANY, mode)
    kept = attention.probabilities(IMAGES, 10, 37, 37, mode)
    keys = half(IMAGES * 37 * 1280) * 2
    assert left([*decoder.layer(IMAGES * 37, 1280, cached, mlp), *kept]) == keys


@every_attention
def test_attention_leaves_its_output_the_cache_and_eager_its_probabilities(mode):
    eager = mode == "eager"
    for side, trained in ((14, 14), (40, 64)):
        scores = half(IMAGES * 12 * side**4) if eager else 0
        output = half(IMAGES * side * side * 768)
        assert left(sam.self_attention(SAM, IMAGES, side, trained, MANY, mode)) == output + scores
    scores = half(IMAGES * 16 * 101**2) if eager else 0
    assert left(clip.self_attention(CLIP, IMAGES, 101, MANY, mode)) == half(IMAGES * 101 * 1024) + scores
    for q, past in ((37, 0), (1, 36)):
        scores = half(IMAGES * 10 * q * 37) if eager else 0
        grown = 2 * (half(IMAGES * 37 * 1280) - half(IMAGES * past * 1280))
        found = left(decoder_parts.self_attention(DECODER, IMAGES, q, 37, past, MANY, mode))
        assert found == half(IMAGES * q * 1280) + grown + scores


def test_small_layers_leave_their_results():
    rows = IMAGES * 37
    assert left(sam.mlp(rows, 768, 3072)) == half(rows * 768)
    assert left(clip.mlp(rows, 1024, 4096)) == half(rows * 1024)
    assert left(clip.embeddings(CLIP, IMAGES, 16)) == half(IMAGES * 257 * 1024)
    assert left(clip.embeddings(CLIP, IMAGES, 10)) == half(IMAGES * 101 * 1024)
    assert left(decoder_parts.rms_norm(rows, 1280)) == half(rows * 1280)
    assert left(decoder_parts.rotary_tables(rows, 128)) == half(rows * 128, rows * 128)
    assert left(decoder_parts.rotate(rows, 128, 5)) == half(rows * 128)
    assert left(decoder_parts.gated_mlp(rows, 1280, 64)) == half(rows * 1280)
    assert left(moe.gate(rows, 896)) == half(rows * 896) - half(rows * 2 * 896)
    assert left([*sam_positions.position_table(40, 64, 64)]) == half(40 * 40 * 64)
    assert left([projector.join(IMAGES, 10, 1024, 256)]) == half(IMAGES * 100 * 1280) - half(
        IMAGES * 101 * 1024, IMAGES * 100 * 256
    )
    found = allocated(IMAGES * 283)  # to the stage's end
    assert left(projector.scatter(IMAGES, 273, 283, 1280)) == half(IMAGES * 273 * 1280) + found


@every_way
def test_a_mixture_leaves_its_output(experts):
    rows = IMAGES * 37
    assert left(moe.mixture(DECODER, rows, experts)) == half(rows * 1280)
    assert left(moe.EXPERTS[experts](DECODER, rows)) == half(rows * 1280)
    scores, weights, choices = (allocated(rows * n) for n in (64 * 4, 6 * 4, 6 * 8))
    assert left(moe.router(DECODER, rows)) == scores + weights + choices


@every_way
@every_attention
def test_a_decoder_leaves_its_output_and_the_cache_and_frees_the_rotary_tables_that_it_was_given(mode, experts):
    """The output takes the place of the embedded tokens, which it was given too."""
    found = left(decoder.layers(DECODER, IMAGES, 37, 37, 0, MANY, mode, experts))
    assert found == 12 * 2 * half(IMAGES * 37 * 1280)


@every_attention
def test_vision_leaves_the_pages_tokens_and_the_features_that_it_returns_beside_them(mode):
    batch, rows, columns, tokens = map(symbol, ("batch", "rows", "columns", "image_tokens"))
    whole, crops = half(batch * 256 * 2048), half(batch * rows * columns * 100 * 2048)
    for cut, features in ((False, whole), (True, whole + crops)):
        kernels = STAGES["vision"].kernels(MODEL.architecture, "gundam", cut, mode)
        assert left(kernels) == features + half(batch * tokens * 1280)


# Copies that a layout needs or not


def copied(stage: str, part: str, **workload: int) -> int:
    work = Workload(CropGrid(1, 1), **workload)
    ledger = MODEL.ledger(stage, work, "eager")
    return ledger.total(part).read_bytes if part in ledger.paths else 0


def test_queries_are_copied_for_the_products_of_a_batch_only():
    assert copied("prefill", "decoder/attn/copy_q") == 0
    assert copied("prefill", "decoder/attn/copy_q", batch=3) == 12 * 3 * 283 * 1280 * 2
    assert copied("decode", "decoder/attn/copy_q", batch=3) == 0
    for operand in ("copy_q", "copy_k", "copy_v"):
        assert copied("vision", f"clip/attn/{operand}") == 0
        assert copied("vision", f"clip/attn/{operand}", batch=3) == 24 * 3 * 257 * 1024 * 2


def test_one_maps_columns_are_copied_and_those_of_several_lie_ready():
    part = "sam/global/attn/rel_pos/copy_columns"
    assert copied("vision", part) == 4 * 64 * 64 * 768 * 2
    assert copied("vision", part, batch=2) == 0
    assert copied("vision", "sam/global/attn/split_heads") == 0
    assert copied("vision", "sam/global/attn/split_heads", batch=2) == 4 * 2 * 3 * 64 * 64 * 768 * 2


# Other sizes


def test_the_experts_of_a_stage_are_run_as_the_model_says():
    swapped = replace(DECODER, prefill_experts="batched_mm", decode_experts="grouped_mm")
    other = Model(replace(MODEL.architecture, decoder=swapped))
    for model, prefill, decode in ((MODEL, "offsets", "repeat"), (other, "repeat", "offsets")):
        assert f"decoder/experts/{prefill}" in model.ledger("prefill", Workload(CropGrid(1, 1))).paths
        assert f"decoder/experts/{decode}" in model.ledger("decode", Workload(CropGrid(1, 1))).paths
