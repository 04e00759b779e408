"""Models that read pages at their own resolution: their grids, their rules, and what they cannot do."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pytest_ocrsweep import CropGrid, Workload, load_model
from pytest_ocrsweep.errors import ConfigError, ShapesError
from pytest_ocrsweep.hardware import sizing
from pytest_ocrsweep.model import positions
from pytest_ocrsweep.model.geometry import TILES
from pytest_ocrsweep.model.native_resolution import Native
from pytest_ocrsweep.sweep import shapes
from pytest_ocrsweep.sweep.config import compose, devices
from pytest_ocrsweep.sweep.grid_sources import entries
from pytest_ocrsweep.sweep.made_for import SweptFor

NATIVE = ["glm-ocr", "glm-ocr-tiny", "paddleocr-vl"]
every_model = pytest.mark.parametrize("name", NATIVE)
LIKE_GLM = Native(tile=28, least_pixels=6272, most_pixels=4816896, enlarge="together")
LIKE_PADDLE = Native(tile=28, least_pixels=147384, most_pixels=2822400, enlarge="in_turn")


@pytest.mark.parametrize(
    ("native", "page", "grid"),
    [
        (LIKE_GLM, (1240, 1754), (63, 44)),
        (LIKE_GLM, (2480, 3508), (93, 65)),  # made smaller
        (LIKE_GLM, (28, 28), (3, 3)),  # made larger
        (LIKE_GLM, (42, 700), (25, 2)),  # one tile and a half go to the even number
        (LIKE_GLM, (70, 700), (25, 2)),
        (LIKE_GLM, (10, 100), (10, 1)),
        (LIKE_GLM, (13, 1000), (77, 1)),
        (LIKE_PADDLE, (1240, 1754), (63, 44)),
        (LIKE_PADDLE, (2480, 3508), (71, 50)),
        (LIKE_PADDLE, (10, 100), (44, 5)),
    ],
)
def test_a_page_has_these_tiles(native, page, grid):
    assert native.tiles(*page) == grid


def test_a_strip_that_is_too_long_is_refused_as_the_processors_do():
    for native in (LIKE_GLM, LIKE_PADDLE):
        assert native.tiles(28, 5600)[1] >= 1
        with pytest.raises(ValueError, match="side is at most 200 times the shorter, got 28x5601 pixels"):
            native.tiles(28, 5601)


def test_the_tiles_of_a_page_are_its_image_tokens_and_nothing_is_added():
    model = load_model("glm-ocr")
    work = Workload("63x44").cut_by(model.architecture.tiling)
    assert (work.image_tokens, work.context_tokens, work.resolution) == (2772, 2782, "native")
    assert Workload("63x44", resolution="native").image_tokens == 2772  # of a recorded point, which names no tiling
    assert Workload("1x1", resolution="native").tiling == TILES
    assert model.grid_of(1240, 1754) == model.grid_of(1240, 1754, "native") == CropGrid(63, 44)
    with pytest.raises(ValueError, match="a page needs a positive size, got 0x5 pixels"):
        model.grid_of(0, 5)
    with pytest.raises(ValueError, match="unknown resolution 'base': choose from native"):
        model.grid_of(5, 5, "base")


def test_the_default_mode_is_a_models_own():
    assert compose(["model=glm-ocr"]).workload.resolution == "native"
    assert compose(["model=deepseek-ocr-2"]).workload.resolution == "gundam"
    assert compose(["model=glm-ocr", "workload.resolution=native"]).workload.resolution == "native"


@every_model
def test_a_sweep_has_the_grids_of_usual_pages(name):
    settings = compose([f"model={name}"])
    found = entries("vendor", SweptFor.of(settings))
    grids = [entry.grid for entry in found]
    assert grids == sorted(set(grids))
    assert settings.grid_of(1240, 1754) in grids
    assert all(entry.label and " dpi" in entry.label for entry in found)
    turned = {CropGrid(grid.columns, grid.rows) for grid in grids}
    assert turned == set(grids)


GLM = {
    "model.patch_encoder.norm=batch": "model.patch_encoder.norm must be one of rms_norm, layer_norm: got 'batch'",
    "model.patch_encoder.merger=none": "model.patch_encoder.merger must be one of convolution, mlp: got 'none'",
    "model.decoder.rope=thirds": "model.decoder.rope must be one of halves, pairs: got 'thirds'",
    "model.tiling.enlarge=never": "model.tiling.enlarge must be one of together, in_turn: got 'never'",
    "model.patch_encoder.heads=5": "model.patch_encoder.width 1024 is not divisible by model.patch_encoder.heads 5",
    "model.patch_encoder.heads=512": "model.patch_encoder.width / heads must be a multiple of 4, half for rows and "
    "half for columns, got 2",
    "model.decoder.kv_heads=3": "model.decoder.kv_heads must divide the 16 heads, and be more than one that all share, "
    "which nobody has counted, got 3",
    "model.decoder.kv_heads=1": "model.decoder.kv_heads must divide the 16 heads, and be more than one that all share, "
    "which nobody has counted, got 1",
    "model.decoder.rope_sections=[16,24,23]": "model.decoder.rope_sections must be 3 numbers whose sum is half of a "
    "head, 64, got [16, 24, 23]",
    "model.decoder.dense_layers=3": "model.decoder has no window and no experts with model.patch_encoder: set "
    "dense_layers to layers, experts, experts_per_token, shared_experts and expert_width to 0, and window to null",
    "model.decoder.experts=3": "model.decoder has no window and no experts with model.patch_encoder: set dense_layers "
    "to layers, experts, experts_per_token, shared_experts and expert_width to 0, and window to null",
    "model.most_crops=9": "model.most_crops must be the tiles of model.tiling.most_pixels, 6,144, got 9",
    "model.tiling.least_pixels=4000000": "model.tiling.least_pixels must be of at least 2 tiles, and "
    "model.tiling.most_pixels of twice as many: pages are resized to whole tiles; got 5,103 and 6,144 tiles",
    "model.tiling.crop_sides=[30]": "model.tiling of a patch encoder needs modes [native], view_sides [0], crop_sides "
    "[28], which is patch times merge, newlines false, least_pixels and most_pixels",
    "model.patch_encoder.norm=layer_norm": "no class of the reference model runs this model: glm_ocr needs "
    "model.patch_encoder.norm=rms_norm",
    "model.decoder.late_norms=false": "no class of the reference model runs this model: glm_ocr needs "
    "model.decoder.late_norms=true",
    "model.patch_encoder.position_side=27": "no class of the reference model runs this model: glm_ocr needs "
    "model.patch_encoder.position_side=0",
    "workload.resolution=base": "workload.resolution must be one of native: got 'base'",
    "workload.pages=2": "glm-ocr reads one page in a prompt, got workload.pages=2: workload.batch=2 prices as many "
    "prompts",
}
OTHERS = {
    "model.decoder.head_dim=64": "model.decoder.head_dim is of another model than the one chosen; leave it out",
    "model.patch_encoder.width=64": "model.patch_encoder.width is of another model than the one chosen; leave it out",
    "model.tiling.modes=[native,tiny,small,base,large,gundam-m]": "model.tiling has the mode native, least_pixels or "
    "most_pixels, which need model.patch_encoder",
    "model.decoder.shared_experts=0": "model.decoder.shared_experts must be at least 1 for the 11 layers with experts",
}


@pytest.mark.parametrize("override", [text for text in GLM if text != "workload.pages=2"])
def test_what_no_class_runs_is_one_line(override):
    with pytest.raises(ConfigError) as caught:
        compose(["model=glm-ocr", override])
    assert str(caught.value) == GLM[override]


@pytest.mark.parametrize("override", OTHERS)
def test_a_model_with_views_has_none_of_it(override):
    with pytest.raises(ConfigError) as caught:
        compose([override])
    assert str(caught.value) == OTHERS[override]


@every_model
def test_the_largest_page_that_fits_has_at_least_the_tiles_of_the_smallest(name):
    model = load_model(name)
    native = model.architecture.tiling.resolutions["native"].native
    assert native is not None
    page = sizing.largest_page(model, Workload(model.grid_of(1240, 1754)), devices()["h200"])
    assert page is not None
    assert native.least_tiles <= page.crops <= native.most_tiles < (page.rows + 1) * (page.columns + 1)


def test_the_pixels_of_a_page_are_those_of_all_its_frames():
    for name, frames in (("glm-ocr", 2), ("paddleocr-vl", 1)):
        model = load_model(name)
        assert sizing.input_bytes(model, Workload("14x20", batch=3)) == 3 * (14 * 20 * 28**2 * 3 * frames * 2 + 290 * 8)


def test_a_floor_takes_one_of_the_frames_that_a_page_is_repeated_as():
    for name, frames in (("glm-ocr", 2), ("paddleocr-vl", 1)):
        ledger = load_model(name).ledger("vision", Workload("14x20"))
        whole, needed = (
            ledger.total("patch_encoder/patch_embed").tensor_flops,
            ledger.needed("patch_encoder/patch_embed"),
        )
        assert whole == frames * needed.tensor_flops
        assert ledger.needed().tensor_flops == ledger.tensor_flops - whole + needed.tensor_flops


def test_there_is_no_database_of_its_shapes():
    with pytest.raises(ShapesError, match="glm-ocr has a grid for each size of a page: sweep a YAML file of pages"):
        shapes.shapes([1, 2], compose(["model=glm-ocr"]), 4)


@every_model
def test_estimates_are_wide_and_say_why(name):
    model, work = load_model(name), Workload("14x14") if name != "glm-ocr-tiny" else Workload("7x7")
    reasons = {stage: " ".join(model.ledger(stage, work).estimate("h200").reasons) for stage in ("vision", "decode")}
    assert "nobody calibrated an encoder of patches at a page's own resolution" in reasons["vision"]
    assert "nobody calibrated a decoder without experts" in reasons["decode"]


@every_model
@pytest.mark.parametrize("attention", ["eager", "flash"])
def test_the_same_tiles_cost_the_same_however_they_lie(name, attention):
    model = load_model(name)
    grids = ["14x21", "21x14", "7x42"] if name != "glm-ocr-tiny" else ["4x9", "9x4", "6x6"]
    ledgers = [model.ledger("prefill", Workload(grid, batch=2), attention) for grid in grids]
    assert len({ledger.total() for ledger in ledgers}) == 1
    assert len({ledger.peak_activation_bytes for ledger in ledgers}) == 1


def test_positions_of_tiles_are_those_of_the_larger_side() -> None:
    """transformers' get_rope_index of a page of 96x64 tiles and 10 tokens of text goes up to 105."""
    model = load_model("glm-ocr")
    work = Workload("96x64", new_tokens=100).cut_by(model.architecture.tiling)
    assert [positions.needed(stage, work) for stage in ("vision", "prefill", "decode")] == [0, 106, 206]
    assert positions.beyond(model.architecture, [("decode", replace(work, new_tokens=130_966))]) == []
    (line,) = positions.beyond(model.architecture, [("decode", replace(work, new_tokens=130_967))])
    assert line.endswith("decode of 96x64, 131,073 positions a page")
