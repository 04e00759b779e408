"""A floor stands on what no implementation leaves out: each omission at its exact value, counted apart."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_ocrsweep import CropGrid, Workload, load_model
from pytest_ocrsweep.hardware.roofline import floor, kernel_limit
from pytest_ocrsweep.model.attention import ATTENTION
from pytest_ocrsweep.model.stages import STAGES
from pytest_ocrsweep.sweep.config import devices

MODEL = load_model("deepseek-ocr")
SAM, CLIP, DECODER = MODEL.architecture.sam, MODEL.architecture.clip, MODEL.architecture.decoder
PAGE = Workload(CropGrid(2, 3), batch=2, prompt_tokens=37)
grids = st.builds(CropGrid, st.integers(1, 3), st.integers(1, 3))
works = st.builds(Workload, grids, prompt_tokens=st.integers(1, 3000), batch=st.integers(1, 16))


def left_out(stage: str, path: str, work: Workload = PAGE, attention: str = "flash") -> int:
    ledger = MODEL.ledger(stage, work, attention)
    return ledger.total(path).tensor_flops - ledger.needed(path).tensor_flops


def test_only_each_pages_last_logits_are_needed() -> None:
    tokens = PAGE.batch * PAGE.context_tokens
    assert left_out("prefill", "head") == 2 * (tokens - PAGE.batch) * DECODER.width * DECODER.vocabulary
    assert left_out("decode", "head") == 0


@pytest.mark.parametrize("attention", ATTENTION)
def test_a_key_after_its_query_is_not_needed_nor_another_query_in_the_last_layer(attention: str) -> None:
    tokens, layers = PAGE.context_tokens, DECODER.layers
    pairs = (layers - 1) * (tokens * (tokens + 1) // 2) + tokens  # in the last layer one query, all keys
    needed = PAGE.batch * 4 * pairs * DECODER.width
    ledger = MODEL.ledger("prefill", PAGE, attention)
    paths = ["decoder/attn/fused"] if attention == "flash" else ["decoder/attn/scores", "decoder/attn/values"]
    assert sum(ledger.needed(path).tensor_flops for path in paths) == needed
    assert sum(ledger.total(path).tensor_flops for path in paths) == PAGE.batch * 4 * layers * tokens**2 * DECODER.width


def test_the_last_layer_needs_keys_and_values_of_all_tokens_and_else_the_last_ones() -> None:
    tokens, square = PAGE.batch * PAGE.context_tokens, 2 * DECODER.width**2
    for name, in_last in (("q_proj", PAGE.batch), ("k_proj", tokens), ("v_proj", tokens), ("o_proj", PAGE.batch)):
        needed = MODEL.ledger("prefill", PAGE).needed(f"decoder/attn/{name}").tensor_flops
        assert needed == ((DECODER.layers - 1) * tokens + in_last) * square
    expert = 2 * 3 * DECODER.width * DECODER.expert_width * DECODER.experts_per_token
    routed = MODEL.ledger("prefill", PAGE).needed("decoder/experts").tensor_flops
    assert routed == ((DECODER.layers - DECODER.dense_layers - 1) * tokens + PAGE.batch) * expert


@pytest.mark.parametrize("attention", ATTENTION)
def test_what_pads_sams_windows_is_not_needed(attention: str) -> None:
    work = Workload(CropGrid(1, 1))  # a map of 64 x 64: windows of 14 and one of 8 each way
    edges = [14, 14, 14, 14, 8]
    pairs = sum((high * wide) ** 2 for high in edges for wide in edges)
    windowed = SAM.layers - len(SAM.global_layers)
    ledger = MODEL.ledger("vision", work, attention)
    names = ["fused"] if attention == "flash" else ["scores", "values"]
    needed = sum(ledger.needed(f"sam/window/attn/{name}").tensor_flops for name in names)
    assert needed == windowed * 4 * pairs * SAM.width
    assert ledger.needed("sam/window/attn/qkv").tensor_flops == windowed * 2 * 64**2 * SAM.width * 3 * SAM.width
    lines = sum(high * wide * high for high in edges for wide in edges)
    assert ledger.needed("sam/window/attn/rel_pos/rows").tensor_flops == windowed * 2 * lines * SAM.width
    assert left_out("vision", "sam/global", work, attention) == 0


def test_what_pads_a_convolution_is_not_needed() -> None:
    work = Workload(CropGrid(1, 1))
    for path, side, stride, channels, out in (("neck/conv2", 64, 1, 256, 256), ("downsample/conv1", 64, 2, 256, 512)):
        taps = sum(0 <= stride * i + tap < side for i in range(side // stride) for tap in (-1, 0, 1))
        assert MODEL.ledger("vision", work).needed(f"sam/{path}").tensor_flops == 2 * taps**2 * channels * out
    assert left_out("vision", "sam/neck/conv1", work) == left_out("vision", "sam/patch_embed", work) == 0


def test_the_class_token_is_not_needed_in_clips_last_block() -> None:
    work, tokens = Workload(CropGrid(1, 1)), 257
    row = 2 * (2 * CLIP.width**2 + 2 * CLIP.width * CLIP.mlp_width) + 4 * tokens * CLIP.width
    assert left_out("vision", "clip", work) == row


@pytest.mark.parametrize("batch", [1, 8, 64])
def test_a_routing_may_reach_no_more_experts_than_one_token_does(batch: int) -> None:
    ledger = MODEL.ledger("decode", Workload(CropGrid(2, 3), batch=batch, new_tokens=1))
    sparse = DECODER.layers - DECODER.dense_layers
    least = sparse * DECODER.experts_per_token * 3 * DECODER.width * DECODER.expert_width * 2
    assert ledger.needed("decoder/experts").moved_bytes == least
    assert ledger.compulsory("decoder/experts") >= least


def test_an_l2_may_hold_weights_from_the_step_before() -> None:
    ledger, h200 = MODEL.ledger("decode", Workload(CropGrid(2, 3))), devices()["h200"]
    kept = ledger.needed().moved_bytes - 100 * h200.l2_bytes
    assert floor(ledger, h200).bandwidth_ns == int(kept * 1e9 / h200.bandwidth_bytes_per_s)
    assert floor(ledger, replace(h200, l2_bytes=2**60)).bandwidth_ns == 0


@given(works, st.sampled_from(sorted(STAGES)), st.sampled_from(sorted(devices())))
def test_a_floor_is_the_same_for_every_attention_and_below_the_kernel_limit(
    work: Workload, stage: str, name: str
) -> None:
    device = devices()[name]
    ledgers = [MODEL.ledger(stage, work, attention) for attention in ATTENTION]
    assert len({floor(ledger, device).tensor_ns for ledger in ledgers}) == 1
    for ledger in ledgers:
        needed, total = ledger.needed(), ledger.total()
        assert 0 < needed.tensor_flops <= total.tensor_flops
        assert 0 <= needed.vector_flops <= total.vector_flops
        assert 0 < needed.moved_bytes <= ledger.compulsory_bytes
        assert floor(ledger, device).time_ns <= kernel_limit(ledger, device)


@given(works, st.sampled_from(sorted(STAGES)))
def test_more_pages_never_have_a_lower_floor(work: Workload, stage: str) -> None:
    h100 = devices()["h100"]
    one, more = (floor(MODEL.ledger(stage, w), h100) for w in (work, replace(work, batch=work.batch + 1)))
    assert one.time_ns <= more.time_ns
