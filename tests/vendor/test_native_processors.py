"""The tiles of a page at its own resolution are those of each model's own processor, at thousands of sizes."""

from __future__ import annotations

import random
from collections.abc import Iterator
from types import SimpleNamespace

import pytest

pytest.importorskip("transformers", reason="the processors need the extra [vendor]")
pytest.importorskip("PIL", reason="the processors need Pillow")

import numpy as np
import torch
from PIL import Image
from transformers.models.glm46v import image_processing_pil_glm46v as glm
from transformers.models.glm46v.processing_glm46v import Glm46VProcessor
from transformers.models.paddleocr_vl import image_processing_pil_paddleocr_vl as paddle
from transformers.models.paddleocr_vl.processing_paddleocr_vl import PaddleOCRVLProcessor

from pytest_ocrsweep import Workload, load_model
from pytest_ocrsweep.vendor_model.pixels import page_pixels

# The sizes of the checkpoints' own preprocessor_config.json. The classes have others by default: 28² · 15,000 for
# GLM-OCR's most, 384² and 1536² for PaddleOCR-VL's.
GLM_SIZES = {"shortest_edge": 12544, "longest_edge": 9633792}
PADDLE_SIZES = {"shortest_edge": 147384, "longest_edge": 2822400}
IMAGES = {
    "glm-ocr": glm.Glm46VImageProcessorPil(size=GLM_SIZES),
    "paddleocr-vl": paddle.PaddleOCRVLImageProcessorPil(size=PADDLE_SIZES),
}
PROMPTS = {"glm-ocr": Glm46VProcessor, "paddleocr-vl": PaddleOCRVLProcessor}
every_model = pytest.mark.parametrize("name", IMAGES)


def resized(name: str, width: int, height: int) -> tuple[int, int]:
    """Height and width to which the processor resizes a page. Raises ValueError as it does."""
    if name == "glm-ocr":
        edges = GLM_SIZES["shortest_edge"], GLM_SIZES["longest_edge"]
        return glm.smart_resize(2, height, width, min_pixels=edges[0], max_pixels=edges[1])
    edges = PADDLE_SIZES["shortest_edge"], PADDLE_SIZES["longest_edge"]
    return paddle.smart_resize(height, width, min_pixels=edges[0], max_pixels=edges[1])


def vendor(name: str, width: int, height: int) -> str:
    """The grid of tiles of 28 pixels; "refused" for a page that the processor refuses."""
    try:
        height, width = resized(name, width, height)
    except ValueError:
        return "refused"
    assert height % 28 == width % 28 == 0
    return f"{height // 28}x{width // 28}"


def ours(name: str, width: int, height: int) -> str:
    model = load_model(name)
    try:
        grid = model.grid_of(width, height)
    except ValueError as error:
        return "refused" if "at most 200 times the shorter" in str(error) else str(error)
    assert model.ledger("vision", Workload(grid)).work.image_tokens == grid.rows * grid.columns
    return str(grid)


def sizes(count: int) -> Iterator[tuple[int, int]]:
    """Random pages; a third with a side below that of a tile or two, a third with sides that end on half a tile."""
    rng = random.Random(21)
    for number in range(count):
        match number % 3:
            case 0:
                yield rng.randint(1, 6000), rng.randint(1, 6000)
            case 1:
                page = [rng.randint(1, 60), rng.randint(1, 6000)]
                rng.shuffle(page)
                yield page[0], page[1]
            case _:
                yield 14 * rng.randint(1, 300) + rng.randint(-1, 1), 14 * rng.randint(1, 300)


@pytest.mark.parametrize("count", [400, pytest.param(5000, marks=pytest.mark.slow)])
@every_model
def test_pages_get_the_tiles_of_the_models_own_processor(name, count):
    found = {size: (ours(name, *size), vendor(name, *size)) for size in sizes(count)}
    assert {size: grids for size, grids in found.items() if grids[0] != grids[1]} == {}
    assert "refused" in {grids[0] for grids in found.values()}


@every_model
def test_the_smallest_and_the_largest_pages_have_the_tiles_that_a_model_names(name):
    native = load_model(name).architecture.tiling.resolutions["native"].native
    assert native is not None
    tiles = []
    for size in sizes(2000):
        if (grid := ours(name, *size)) != "refused":
            rows, columns = map(int, grid.split("x"))
            tiles.append(rows * columns)
    assert native.least_tiles <= min(tiles) < 2 * native.least_tiles
    assert 0.97 * native.most_tiles < max(tiles) <= native.most_tiles == load_model(name).architecture.most_crops


@every_model
def test_a_prompt_has_an_image_token_for_each_tile(name):
    images = IMAGES[name]
    for width, height in ((300, 500), (1000, 400)):
        page = Image.fromarray(np.full((height, width, 3), 200, np.uint8))
        found = images(page, return_tensors="pt")
        grid = load_model(name).grid_of(width, height)
        assert found["image_grid_thw"].tolist() == [[1, 2 * grid.rows, 2 * grid.columns]]
        itself = SimpleNamespace(image_processor=images, image_token="i")
        tokens = PROMPTS[name].replace_image_token(itself, found, 0)
        assert len(tokens) == grid.rows * grid.columns


@every_model
def test_a_page_of_a_file_becomes_the_processors_patches(name, tmp_path):
    """To a shade: the processor resizes in another library's arithmetic, or rounds at another place."""
    rng = np.random.default_rng(5)
    rows = rng.integers(0, 256, (30, 40, 3), np.uint8)
    page = Image.fromarray(rows).resize((560, 420), Image.Resampling.BILINEAR)  # already in whole tiles
    page.save(tmp_path / "page.png")
    model = load_model(name)
    work = Workload(model.grid_of(*page.size), batch=2).cut_by(model.architecture.tiling)
    pages = page_pixels(tmp_path / "page.png", work, torch.empty(0, dtype=torch.float32), model.architecture)
    theirs = IMAGES[name](page, return_tensors="pt")["pixel_values"]
    assert pages.views.shape == (2 * len(theirs), *theirs.shape[1:])
    for one in pages.views.split(len(theirs)):
        assert (one - theirs).abs().max() < 0.02
