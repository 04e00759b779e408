"""The dimensions that a layer can have, and what follows from them alone."""

from __future__ import annotations

from pytest_ocrsweep import load_model
from pytest_ocrsweep.model.architecture import DTYPES

REAL = load_model("deepseek-ocr").architecture


def test_clips_own_patch_embedding_takes_colours_and_is_used_by_nothing():
    assert REAL.clip.unused_patch_embedding == 1024 * 3 * 14 * 14


def test_every_type_of_number_takes_two_bytes():
    assert DTYPES == ("bf16", "fp16")
