"""The grid of a page and its image tokens are those of each model's own processor, at thousands of sizes."""

from __future__ import annotations

import random
from collections.abc import Iterator
from types import SimpleNamespace

import pytest

pytest.importorskip("transformers", reason="the processors need the extra [vendor]")

import numpy as np
from transformers.models.deepseek_ocr2.image_processing_pil_deepseek_ocr2 import DeepseekOcr2ImageProcessorPil
from transformers.models.deepseek_ocr2.processing_deepseek_ocr2 import DeepseekOcr2Processor

from pytest_ocrsweep import CropGrid, Workload, load_model

MODEL = load_model("deepseek-ocr-2")


def blank(width: int, height: int) -> np.ndarray:
    """A page of that size, in no memory."""
    return np.broadcast_to(np.uint8(0), (3, height, width))


class WithoutPixels(DeepseekOcr2ImageProcessorPil):
    """The processor as it is, but that it resizes pages of no pixels; `made` are the sizes that it asks for."""

    made: tuple[tuple[int, int], ...] = ()

    def resize(self, image, size, **_):
        self.made += ((size.width, size.height),)
        return blank(size.width, size.height)

    def pad_to_square(self, image, **_):
        return blank(*[max(image.shape[1:])] * 2)


IMAGES = WithoutPixels(do_rescale=False, do_normalize=False)
# As the processor's own __init__ sets it; it would need a tokenizer, which decides nothing here.
SELF = SimpleNamespace(image_processor=IMAGES, patch_size=16, downsample_ratio=4, image_token="i")


def vendor(width: int, height: int) -> tuple[str, int]:
    """The grid into which the processor cuts a page, and the image tokens that it puts into the prompt."""
    IMAGES.made = ()
    sizes = {"size": IMAGES.size, "resample": None, "rescale_factor": 1, "image_mean": None, "image_std": None}
    found = IMAGES._preprocess(
        [blank(width, height)], do_rescale=False, do_normalize=False, return_tensors=None, **sizes
    )
    (crops,) = found["num_local_patches"]
    assert [view.shape for view in found["pixel_values"]] == [(3, 1024, 1024)]
    assert {crop.shape for crop in found.get("pixel_values_local", ())} <= {(3, 768, 768)}
    canvas = IMAGES.made[0] if crops else (768, 768)
    grid = CropGrid(canvas[1] // 768, canvas[0] // 768)
    assert grid.crops == crops
    tokens = DeepseekOcr2Processor.replace_image_token(SELF, {"num_local_patches": [crops]}, 0)
    return str(grid), len(tokens)


def ours(width: int, height: int) -> tuple[str, int]:
    grid = MODEL.grid_of(width, height)
    return str(grid), MODEL.ledger("vision", Workload(grid)).work.image_tokens


def sizes(count: int) -> Iterator[tuple[int, int]]:
    """Random pages, half of them with a side near that of a crop."""
    rng = random.Random(21)
    for number in range(count):
        near = 768 + rng.randint(-3, 3)
        yield (rng.randint(1, 6000), rng.randint(1, 6000)) if number % 2 else (near, rng.randint(1, 4000))


@pytest.mark.parametrize("count", [400, pytest.param(5000, marks=pytest.mark.slow)])
def test_pages_get_the_grid_and_the_tokens_of_the_models_own_processor(count):
    assert [(size, ours(*size), vendor(*size)) for size in sizes(count) if ours(*size) != vendor(*size)] == []


def test_ties_and_pages_that_half_fill_a_grid_get_the_processors_grid():
    pages = [(side, side) for side in range(700, 3200, 7)] + [(2 * side, side) for side in range(380, 1700, 7)]
    half = [768 * 768 * crops // 2 for crops in range(2, 7)]
    pages += [(width, area // width + off) for area in half for width in range(400, 1600, 50) for off in (-1, 0, 1)]
    assert {vendor(*page)[0] for page in pages} >= {"1x1", "1x2", "2x2", "2x3", "3x2"}
    assert [page for page in pages if ours(*page) != vendor(*page)] == []


def test_the_processor_cuts_what_the_model_says():
    architecture = MODEL.architecture
    sides = architecture.tiling.sides("gundam")
    assert (sides.base_side, sides.crop_side) == (IMAGES.size.height, IMAGES.tile_size)
    assert architecture.most_crops == IMAGES.max_patches
    assert IMAGES.min_patches == 2
