"""The crop grid of a page equals the vendor's own: its tiling function decides, on every kind of size."""

from __future__ import annotations

import ast
import math
import random
from collections.abc import Callable, Iterator
from fractions import Fraction
from importlib.util import find_spec
from itertools import combinations_with_replacement
from math import isqrt
from pathlib import Path
from types import SimpleNamespace

import pytest

from pytest_ocrsweep import CropGrid, Workload, load_model

VENDOR = find_spec("transformers")  # found, not imported: that takes seconds, and collection needs none of it
pytestmark = pytest.mark.skipif(
    VENDOR is None, reason="needs transformers, whose tiling is the reference: install the vendor extra"
)

CROP = 640
CROPS = (2, 9)  # DeepSeek-OCR's own limits
FEWER = 6  # what vLLM, SGLang and DeepSeek's own script for vLLM cut a page into at most
TILING = ("get_all_supported_aspect_ratios", "get_optimal_tiled_canvas")
Tiling = Callable[[int, int], CropGrid]


def vendor_source(model: str, module: str, name: str) -> str:
    """One function of a vendor module as text: unlimited_ocr's cannot be imported without torchvision."""
    path = Path(VENDOR.origin).parent / "models" / model / f"{module}.py"
    (found,) = (
        node
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef) and node.name == name
    )
    return ast.unparse(found)


@pytest.fixture(scope="module")
def got_ocr2(pytestconfig):
    """A vendor module that holds the same tiling and imports without torchvision."""
    if pytestconfig.getoption("ocrsweep_analytic_only"):
        pytest.skip("--ocrsweep-analytic-only: the vendor's tiling is not imported")
    from transformers.models.got_ocr2 import image_processing_pil_got_ocr2

    return image_processing_pil_got_ocr2


@pytest.fixture(scope="module")
def vendor_grid(got_ocr2) -> Tiling:
    """The vendor's choice for a page larger than one crop; it takes rows first and gives columns first."""

    def choose(width: int, height: int) -> CropGrid:
        columns, rows = got_ocr2.get_optimal_tiled_canvas((height, width), (CROP, CROP), *CROPS)
        return CropGrid(rows=rows, columns=columns)

    return choose


def differences(sizes: Iterator[tuple[int, int]], vendor_grid: Tiling) -> list[str]:
    pages = [(width, height) for width, height in sizes if max(width, height) > CROP]
    assert pages
    return [
        f"{width}x{height}: ours {CropGrid.for_image(width, height)}, vendor's {vendor_grid(width, height)}"
        for width, height in pages
        if CropGrid.for_image(width, height) != vendor_grid(width, height)
    ]


@pytest.mark.parametrize("name", TILING)
def test_the_tiling_used_here_is_the_models_own_to_the_letter(name):
    used = vendor_source("got_ocr2", "image_processing_pil_got_ocr2", name)
    assert used == vendor_source("unlimited_ocr", "image_processing_unlimited_ocr", name)


def test_random_pages_get_the_vendors_grid(vendor_grid):
    rng = random.Random(2)
    sizes = ((rng.randint(CROP + 1, 6000), rng.randint(1, 6000)) for _ in range(3000))
    assert differences(sizes, vendor_grid) == []


def test_extreme_pages_get_the_vendors_grid(vendor_grid):
    rng = random.Random(3)
    long = [CROP + 1, 10_000, 65_535, 2**31 - 1, *(rng.randint(CROP + 1, 10**6) for _ in range(200))]
    short = [1, 2, 3, 7, 50, CROP]
    sizes = ((a, b) for one in long for other in short for a, b in ((one, other), (other, one)))
    assert differences(sizes, vendor_grid) == []


def test_an_engine_that_allows_fewer_crops_gets_what_the_vendors_function_gives_then(got_ocr2):
    rng = random.Random(6)
    sizes = [*((rng.randint(1, 6000), rng.randint(1, 6000)) for _ in range(3000)), *tied_pages()]
    for width, height in sizes:
        if max(width, height) > CROP and min(width, height) > 0:
            columns, rows = got_ocr2.get_optimal_tiled_canvas((height, width), (CROP, CROP), CROPS[0], FEWER)
            assert CropGrid.for_image(width, height, most_crops=FEWER) == CropGrid(rows, columns), (width, height)


MANY = 32  # Unlimited-OCR's own limit


@pytest.mark.parametrize("count", [400, pytest.param(5000, marks=pytest.mark.slow)])
def test_unlimited_ocr_gets_the_grids_and_tokens_of_its_own_processor(got_ocr2, count):
    """Grids by the tiling function, token counts by the processor's own method, run from its text."""
    scope = {"math": math}
    exec(vendor_source("unlimited_ocr", "processing_unlimited_ocr", "replace_image_token"), scope)
    sides = SimpleNamespace(size={"height": 1024, "width": 1024}, tile_size=CROP)
    processor = SimpleNamespace(image_processor=sides, patch_size=16, downsample_ratio=4, image_token="i")
    model, rng = load_model("unlimited-ocr"), random.Random(count)
    for width, height in ((rng.randint(1, 6000), rng.randint(1, 6000)) for _ in range(count)):
        columns, rows = 1, 1
        if max(width, height) > CROP:
            columns, rows = got_ocr2.get_optimal_tiled_canvas((height, width), (CROP, CROP), CROPS[0], MANY)
        crops = rows * columns if rows * columns > 1 else 0
        grid = model.grid_of(width, height)
        assert grid == CropGrid(rows, columns), f"{width}x{height}"
        inputs = {"patches_grid": [(columns, rows)], "num_local_patches": [crops]}
        assert Workload(grid).image_tokens == len(scope["replace_image_token"](processor, inputs, 0))


def tied_aspects() -> list[Fraction]:
    """Page aspects as near to one grid's aspect as to another's, equal aspects included."""
    aspects = [Fraction(grid.columns, grid.rows) for grid in CropGrid.upto(CROPS[1]) if grid.crops]
    return sorted({(one + other) / 2 for one, other in combinations_with_replacement(aspects, 2)})


def tied_pages() -> Iterator[tuple[int, int]]:
    """Every tie at many sizes, and around each area of which a tied grid covers exactly the double."""
    for aspect in tied_aspects():
        width, height = aspect.numerator, aspect.denominator
        at_half = (isqrt(CROP * CROP * crops // (2 * width * height)) for crops in range(1, CROPS[1] + 1))
        near = {scale + step for scale in at_half for step in (-1, 0, 1)}
        for scale in sorted(near | set(range(1, 1500, 37))):
            yield from ((width * scale + off, height * scale) for off in (-1, 0, 1) if scale > 0)


def test_ties_get_the_vendors_grid(vendor_grid):
    assert differences(tied_pages(), vendor_grid) == []


def test_ties_are_decided_by_area(vendor_grid):
    """A witness that sees no tie broken both ways would prove nothing about ties."""
    square = {str(vendor_grid(side, side)) for side in range(CROP + 1, 2000)}
    assert square == {"2x2", "3x3"}
    assert {str(vendor_grid(2 * side, side)) for side in range(400, 1500)} == {"1x2", "2x4"}


def test_the_half_area_threshold_gets_the_vendors_grid(vendor_grid):
    """Pages whose area is exactly, or one pixel row off, half of what some grid's crops hold."""
    half = [CROP * CROP * crops // 2 for crops in range(CROPS[0], CROPS[1] + 1)]
    exact = [(width, area // width) for area in half for width in range(1, area + 1) if area % width == 0]
    sizes = ((width, height + off) for width, height in exact for off in (-1, 0, 1) if height + off > 0)
    assert differences(sizes, vendor_grid) == []


def test_a_page_gets_crops_exactly_when_the_vendor_cuts_it(got_ocr2):
    """At most 640x640 pixels stay whole; the model's own method says so and is run from its text."""
    count = "get_number_of_image_patches"
    scope = {"get_optimal_tiled_canvas": got_ocr2.get_optimal_tiled_canvas}
    exec(vendor_source("unlimited_ocr", "image_processing_unlimited_ocr", count), scope)
    processor = SimpleNamespace(min_patches=CROPS[0], max_patches=CROPS[1], tile_size=CROP, crop_to_patches=True)
    sides = [1, 2, 100, 320, 639, 640, 641, 642, 1280]
    for width in sides:
        for height in sides:
            views = scope[count](processor, height, width)
            assert 1 + CropGrid.for_image(width, height).crops == views, f"{width}x{height}"
