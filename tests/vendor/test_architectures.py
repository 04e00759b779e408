"""Any architecture that the settings accept counts what the reference model does, as integers."""

from __future__ import annotations

from dataclasses import replace

import architectures
import pytest

from pytest_ocrsweep.sweep.config import compose

TINY = compose(["model=deepseek-ocr-tiny", "workload.resolution=tiny"])
CASES = {
    "window of the whole map": ("sam", {"window": 32}),
    "window larger than the map": ("sam", {"window": 40}),
    "map of whole windows": ("sam", {"window": 8}),
    "one head of SAM": ("sam", {"heads": 1}),
    "one head of CLIP": ("clip", {"heads": 1}),
    "one head of the decoder": ("decoder", {"heads": 1, "kv_heads": 1}),
    "one sparse layer": ("decoder", {"layers": 1, "dense_layers": 0}),
    "one dense layer": ("decoder", {"layers": 1, "dense_layers": 1}),
    "dense layers only": ("decoder", {"dense_layers": 3}),
    "few positions": ("decoder", {"max_positions": 100}),
}


ALIKE = {"window larger than the map", "one dense layer"}  # but for sizes like the one before, or the one after


@pytest.mark.parametrize(
    ("name", "batch"),
    [
        pytest.param(name, batch, marks=pytest.mark.slow if name in ALIKE or batch == 1 else ())
        for name in CASES
        for batch in (1, 2)
    ],
)
def test_a_part_that_is_unlike_the_models_counts_what_the_reference_models_does(name: str, batch: int) -> None:
    part, sizes = CASES[name]
    model = replace(TINY.model, **{part: replace(getattr(TINY.model, part), **sizes)})
    assert list(architectures.differences(model, replace(TINY.workload, batch=batch).on("1x1"))) == []


def test_fp16_counts_what_the_reference_model_does_without_grouped_products() -> None:
    decoder = replace(TINY.model.decoder, prefill_experts="batched_mm")
    assert (
        list(architectures.differences(replace(TINY.model, dtype="fp16", decoder=decoder), TINY.workload.on("1x1")))
        == []
    )


@pytest.mark.parametrize("seed", [0, 1, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(2, 20))])
def test_a_random_architecture_counts_what_the_reference_model_does(seed: int) -> None:
    assert list(architectures.differences(*architectures.case(seed))) == []
