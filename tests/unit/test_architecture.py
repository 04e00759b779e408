"""The dimensions that a layer can have, and what follows from them alone."""

from __future__ import annotations

from pytest_ocrsweep import load_model
from pytest_ocrsweep.model.architecture import DTYPES

REAL = load_model("deepseek-ocr").architecture


def test_routed_experts_run_one_way_in_a_decode_and_another_in_all_else():
    ways = {stage: REAL.decoder.experts_at(stage) for stage in ("vision", "prefill", "decode")}
    assert ways == {"vision": "grouped_mm", "prefill": "grouped_mm", "decode": "batched_mm"}


def test_clips_own_patch_embedding_takes_colours_and_is_used_by_nothing():
    assert REAL.clip.unused_patch_embedding == 1024 * 3 * 14 * 14


def test_every_type_of_number_takes_two_bytes():
    assert DTYPES == ("bf16", "fp16")
