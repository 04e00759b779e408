"""The geometry against token counts derived by hand, and against the laws that every grid obeys."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pytest_ocrsweep.model.geometry import RESOLUTIONS, TILING, CropGrid, Tiling, Workload, queries

SIDES = st.integers(1, 40)
GRIDS = st.builds(CropGrid, SIDES, SIDES)
WITH_CROPS = st.sampled_from([name for name, sides in RESOLUTIONS.items() if sides.crop_side])


@pytest.mark.parametrize(
    ("resolution", "grid", "tokens"),
    [
        # 1024 / 16 / 4 = 16 queries a side: 16 rows of 16 and a newline, then the separator.
        ("gundam", "1x1", 16 * 17 + 1),  # 273
        # 640 / 16 / 4 = 10 queries a side of a crop: 20 rows of 30 and a newline.
        ("gundam", "2x3", 273 + 20 * 31),  # 893
        ("gundam", "3x2", 273 + 30 * 21),  # 903
        ("gundam", "1x2", 273 + 10 * 21),
        ("gundam", "3x3", 273 + 30 * 31),
        ("tiny", "1x1", 8 * 9 + 1),
        ("small", "1x1", 10 * 11 + 1),
        ("base", "1x1", 16 * 17 + 1),
        ("large", "1x1", 20 * 21 + 1),
        ("gundam-m", "1x1", 20 * 21 + 1),
        ("gundam-m", "2x3", 421 + 32 * 49),
    ],
)
def test_image_tokens_equal_the_hand_count(resolution, grid, tokens):
    assert Workload(CropGrid.parse(grid), resolution=resolution).image_tokens == tokens


def test_each_mode_has_the_sides_of_its_name():
    sides = {name: (mode.base_side, mode.crop_side) for name, mode in RESOLUTIONS.items()}
    whole = {"tiny": (512, None), "small": (640, None), "base": (1024, None), "large": (1280, None)}
    assert sides == {"gundam": (1024, 640), **whole, "gundam-m": (1280, 1024)}


@pytest.mark.parametrize(("side", "tokens"), [(640, 10), (1024, 16), (1000, 16), (1023, 16), (1039, 16), (1040, 17)])
def test_a_token_is_four_patches_a_side_begun_and_a_patch_sixteen_pixels_full(side, tokens):
    assert queries(side) == tokens


@given(GRIDS, WITH_CROPS)
def test_a_page_is_its_rows_of_queries_each_with_a_newline_and_a_separator(grid, resolution):
    """Counted row by row, as the vendor lays them out."""
    sides = RESOLUTIONS[resolution]
    views = [(1, 1, sides.base_side)]
    views += [(grid.rows, grid.columns, sides.crop_side)] if grid.crops else []
    rows = [columns * queries(side) + 1 for rows, columns, side in views for _ in range(rows * queries(side))]
    assert Workload(grid, resolution=resolution).image_tokens == sum(rows) + 1


def test_a_workload_is_one_page_of_ten_prompt_tokens_and_a_hundred_new_ones():
    assert Workload(CropGrid(2, 3)) == Workload(CropGrid(2, 3), 10, 100, 1, "gundam")


@given(GRIDS, st.integers(0, 5000))
def test_context_is_the_image_and_the_prompt(grid, prompt):
    work = Workload(grid, prompt_tokens=prompt)
    assert work.context_tokens == work.image_tokens + prompt


@given(GRIDS, WITH_CROPS)
def test_one_more_row_or_column_always_adds_tokens(grid, resolution):
    def tokens(rows, columns):
        return Workload(CropGrid(rows, columns), resolution=resolution).image_tokens

    assert tokens(grid.rows + 1, grid.columns) > tokens(grid.rows, grid.columns)
    assert tokens(grid.rows, grid.columns + 1) > tokens(grid.rows, grid.columns)


@given(GRIDS)
def test_turning_a_grid_changes_only_its_newlines(grid):
    turned = CropGrid(grid.columns, grid.rows)
    newlines = 10 * (turned.rows - grid.rows)  # ten rows of queries a crop, a newline each
    assert Workload(turned).image_tokens - Workload(grid).image_tokens == newlines


@given(GRIDS, st.integers(1, 64), st.integers(1, 9000))
def test_tokens_of_a_page_do_not_depend_on_batch_or_answer(grid, batch, new_tokens):
    assert Workload(grid, batch=batch, new_tokens=new_tokens).image_tokens == Workload(grid).image_tokens


@given(GRIDS)
def test_a_grid_reads_back_what_it_prints(grid):
    assert CropGrid.parse(str(grid)) == grid


def test_one_by_one_has_no_crops_and_every_other_grid_has_its_product():
    assert CropGrid(1, 1).crops == 0
    assert CropGrid(1, 2).crops == 2
    assert CropGrid(2, 3).crops == 6


@pytest.mark.parametrize("crops", [1, 2, 9, 29])
def test_upto_holds_each_grid_within_the_limit_once(crops):
    grids = CropGrid.upto(crops)
    assert grids == sorted(set(grids))
    within = {(r, c) for r in range(1, crops + 1) for c in range(1, crops + 1) if r * c <= crops}
    assert {(grid.rows, grid.columns) for grid in grids} == within


def test_there_are_23_grids_with_at_most_9_crops():
    assert len(CropGrid.upto()) == 23


@given(st.integers(1, 20_000), st.integers(1, 20_000))
def test_a_page_gets_no_crops_or_two_to_nine(width, height):
    crops = CropGrid.for_image(width, height).crops
    assert (crops == 0) == (max(width, height) <= 640)
    assert crops <= 9


@given(st.integers(641, 20_000))
def test_a_wide_page_gets_columns_and_a_tall_page_rows(long):
    assert CropGrid.for_image(10 * long, long) == CropGrid(rows=1, columns=9)
    assert CropGrid.for_image(long, 10 * long) == CropGrid(rows=9, columns=1)


@pytest.mark.parametrize(
    ("width", "height", "grid"),
    [
        (640, 640, "1x1"),
        (641, 640, "2x2"),  # the nearest of two to nine; 3x3 is as near, and too large for it
        (1280, 640, "1x2"),
        (640, 1920, "3x1"),
        (1000, 700, "2x3"),
        (1357, 1357, "2x2"),  # half of 3x3 crops of 640² is 1357.6²
        (1358, 1358, "3x3"),
        (1280, 1280, "2x2"),
        (1810, 905, "1x2"),  # half of 2x4 is 1810.2 x 905.1
        (1812, 906, "2x4"),
        (905, 1810, "2x1"),
        (906, 1812, "4x2"),
        (1238, 991, "2x2"),  # as far from 2:2 as from 3:2, within a thousandth: the nearer
        (20_000, 10, "1x9"),
    ],
)
def test_a_page_gets_the_grid_nearest_to_its_shape_and_of_equal_ones_the_largest_that_it_half_fills(
    width, height, grid
):
    assert str(CropGrid.for_image(width, height)) == grid


@pytest.mark.parametrize(("side", "grid"), [(1024, "2x2"), (512, "3x3")])
def test_what_a_page_half_fills_depends_on_the_side_of_a_crop(side, grid):
    assert str(CropGrid.for_image(1500, 1500, side)) == grid
    assert CropGrid.for_image(side, 1, side) == CropGrid(1, 1) != CropGrid.for_image(side + 1, 1, side)


@given(st.integers(1, 4000), st.integers(1, 4000), st.integers(2, 5))
@example(1830, 244, 2)  # 7.5 wide: 1x7 and 1x8 are as near
def test_a_page_and_its_enlargement_have_grids_of_a_shape_as_near_to_theirs(width, height, times):
    small, large = CropGrid.for_image(width, height), CropGrid.for_image(times * width, times * height)
    if small.crops:
        assert abs(width / height - small.columns / small.rows) == abs(width / height - large.columns / large.rows)
        assert large.crops >= small.crops


@pytest.mark.parametrize("text", ["", "2", "2x", "x3", "2x3x4", "-1x2", "2.0x3", "2x3;", "٢x٣", "2\n3"])
def test_what_is_not_a_grid_is_told_how_to_write_one(text):
    with pytest.raises(ValueError, match=r"is not a crop grid: write ROWSxCOLUMNS, for example 2x3$"):
        CropGrid.parse(text)


@pytest.mark.parametrize(("rows", "columns"), [(0, 3), (2, -1), (2.0, 3), (True, 2)])
def test_a_grid_needs_whole_rows_and_columns(rows, columns):
    with pytest.raises(ValueError, match=f"at least 1 row and 1 column, .* got {rows}x{columns}"):
        CropGrid(rows, columns)


@pytest.mark.parametrize(("width", "height"), [(0, 10), (10, 0), (-5, 10)])
def test_a_page_without_area_has_no_grid(width, height):
    with pytest.raises(ValueError, match=f"positive size, got {width}x{height} pixels"):
        CropGrid.for_image(width, height)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"batch": 0}, "batch must be a whole number of at least 1, got 0"),
        ({"batch": True}, "batch must be a whole number of at least 1, got True"),
        ({"new_tokens": 0}, "new_tokens must be a whole number of at least 1, got 0"),
        ({"prompt_tokens": -1}, "prompt_tokens must be a whole number of at least 0, got -1"),
        ({"prompt_tokens": 1.5}, "prompt_tokens must be a whole number of at least 0, got 1.5"),
        ({"resolution": "huge"}, "unknown resolution 'huge': choose from gundam, tiny"),
        ({"resolution": "tiny"}, "resolution 'tiny' has no crops: use grid 1x1, got 2x3"),
    ],
)
def test_a_wrong_workload_says_what_it_got_and_what_it_needs(wrong, message):
    with pytest.raises(ValueError, match=message):
        Workload(CropGrid(2, 3), **wrong)


def test_a_workload_takes_its_grid_as_text_too():
    assert Workload("2x3") == Workload(CropGrid(2, 3))
    assert Workload(" 10 X 2 ").grid == CropGrid(10, 2)
    for wrong in ("23", (2, 3), 6, None):
        with pytest.raises(ValueError, match="is not a crop grid: write ROWSxCOLUMNS, for example 2x3"):
            Workload(wrong)


@pytest.mark.parametrize("name", RESOLUTIONS)
def test_a_page_no_larger_than_a_crop_is_one_view(name):
    side = RESOLUTIONS[name].crop_side or 10_000
    assert RESOLUTIONS[name].grid_of(side, side) == CropGrid(1, 1)
    assert (RESOLUTIONS[name].grid_of(side + 1, side) == CropGrid(1, 1)) is (RESOLUTIONS[name].crop_side is None)


OCR_2 = Tiling(modes=("gundam", "base"), view_sides=(1024, 1024), crop_sides=(768, 0), newlines=False)


@pytest.mark.parametrize(("grid", "tokens"), [("1x1", 16 * 16 + 1), ("1x2", 257 + 2 * 144), ("3x2", 257 + 6 * 12 * 12)])
def test_a_model_without_newlines_has_the_queries_of_its_views_and_a_separator(grid, tokens):
    """By hand: 768 / 16 / 4 = 12 queries a side of a crop."""
    work = Workload(grid)
    assert work.cut_by(OCR_2).image_tokens == tokens
    assert work.cut_by(OCR_2) == work  # the same pages: the model says what they become
    assert work.cut_by(OCR_2).cut_by(TILING).image_tokens == work.image_tokens
    assert work.cut_by(TILING) is work


def test_a_model_refuses_a_mode_that_it_does_not_have():
    with pytest.raises(ValueError, match="unknown resolution 'tiny': choose from gundam, base"):
        Workload("1x1", resolution="tiny").cut_by(OCR_2)
    with pytest.raises(ValueError, match="resolution 'base' has no crops: use grid 1x1, got 1x2"):
        Workload("1x2", resolution="base", tiling=OCR_2)
