"""A window of new tokens beside a prompt that stays, and several pages in a prompt: Unlimited-OCR."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_ocrsweep import CropGrid, Model, Workload, load_model
from pytest_ocrsweep.baselines.result import FloorResult
from pytest_ocrsweep.errors import ConfigError
from pytest_ocrsweep.hardware.estimate_columns import estimates
from pytest_ocrsweep.hardware.sizing import input_bytes
from pytest_ocrsweep.model.positions import needed
from pytest_ocrsweep.model.stages import STAGES
from pytest_ocrsweep.sweep.config import compose, devices
from pytest_ocrsweep.sweep.grid_sources import entries
from pytest_ocrsweep.sweep.made_for import SweptFor

V1, UNLIMITED = load_model(), load_model("unlimited-ocr")
WINDOW, A_KEY = 128, 61_440
NAMES = ("tensor_flops", "vector_flops", "read_bytes", "write_bytes", "weight_bytes", "kv_cache_bytes")
STEPS = st.one_of(st.integers(1, 300), st.sampled_from([127, 128, 129, 500, 20_000]))
WITHOUT_CROPS = ("base", "tiny", "small", "large")


def step(model: Model, number: int, work: Workload) -> object:
    """What one step costs: all steps up to it, less those before it."""
    upto = [model.ledger("decode", replace(work, new_tokens=n)).total() for n in (number, number - 1) if n]
    return upto[0] + -1 * upto[1] if number > 1 else upto[0]


def test_without_its_window_it_is_deepseek_ocr() -> None:
    decoder = replace(UNLIMITED.architecture.decoder, window=None, max_positions=8192)
    same = replace(UNLIMITED.architecture, name="deepseek-ocr", decoder=decoder, most_crops=9, joins_pages=False)
    assert same == V1.architecture


@pytest.mark.parametrize("stage", ["vision", "prefill"])
def test_only_a_decode_differs_but_for_the_size_that_goes_to_the_device(stage: str) -> None:
    ours, theirs = (m.ledger(stage, Workload("2x3", batch=2)) for m in (UNLIMITED, V1))
    layers = 12 * (stage == "prefill")
    assert ours.total() == theirs.total() + replace(theirs.total() * 0, read_bytes=8 * layers, write_bytes=8 * layers)


def test_a_step_attends_to_its_prompt_and_to_the_window_at_most() -> None:
    """Two products of 10 heads of 128 in each of 12 layers for each key."""
    work = Workload("2x3")
    for number in (1, 2, 100, 127, 128, 129, 130, 500):
        decode = replace(work, new_tokens=number)
        attended = UNLIMITED.ledger("decode", decode).total("decoder/attn/fused").tensor_flops
        before = (
            UNLIMITED.ledger("decode", replace(work, new_tokens=number - 1)).total("decoder/attn/fused").tensor_flops
            if number > 1
            else 0
        )
        assert attended - before == 4 * 1280 * 12 * (min(number, WINDOW) + 903)


def test_all_steps_after_the_window_is_full_cost_the_same() -> None:
    work = Workload("2x3", batch=3)
    assert step(UNLIMITED, 129, work) == step(UNLIMITED, 500, work) == step(UNLIMITED, 20_000, work)
    assert step(UNLIMITED, 128, work) != step(UNLIMITED, 127, work)


def test_a_steady_step_of_2x3_is_what_transformers_counts() -> None:
    """shared figures of a run on the meta device: 1,211,535,360 FLOPs and 2.275 GB."""
    cost = step(UNLIMITED, 129, Workload("2x3"))
    assert (cost.tensor_flops, cost.moved_bytes) == (1_211_535_360, 2_275_322_560)


@pytest.mark.parametrize(("steps", "keys"), [(1, 904), (100, 1003), (127, 1030), (128, 1030), (129, 1030), (500, 1030)])
def test_the_cache_stops_growing(steps: int, keys: int) -> None:
    assert UNLIMITED.ledger("decode", Workload("2x3", new_tokens=steps)).kv_cache_bytes == keys * A_KEY
    assert V1.ledger("decode", Workload("2x3", new_tokens=steps)).kv_cache_bytes == (903 + steps) * A_KEY


@given(steps=STEPS, batch=st.integers(1, 9), grid=st.sampled_from(CropGrid.upto(32)))
@pytest.mark.parametrize("stage", STAGES)
def test_columns_are_the_ledgers_with_a_window_too(stage: str, steps: int, batch: int, grid: CropGrid) -> None:
    columns = UNLIMITED.sweep(stage, rows=grid.rows, cols=grid.columns, batch=batch, new_tokens=[1, steps])
    ledgers = [UNLIMITED.ledger(stage, Workload(grid, new_tokens=n, batch=batch)) for n in (1, steps)]
    for name in (*NAMES, "peak_activation_bytes", "compulsory_bytes"):
        assert columns[name].tolist() == [getattr(ledger, name) for ledger in ledgers], name


@given(pages=st.integers(1, 60), batch=st.integers(1, 9), steps=STEPS, resolution=st.sampled_from(WITHOUT_CROPS))
@pytest.mark.parametrize("stage", STAGES)
def test_columns_of_several_pages_are_their_ledgers(
    stage: str, pages: int, batch: int, steps: int, resolution: str
) -> None:
    columns = UNLIMITED.sweep(
        stage, rows=1, cols=1, batch=[batch], new_tokens=steps, resolution=resolution, pages=pages
    )
    ledger = UNLIMITED.ledger(stage, Workload("1x1", 10, steps, batch, resolution, pages))
    for name in (*NAMES, "peak_activation_bytes", "compulsory_bytes"):
        assert columns[name].tolist() == [getattr(ledger, name)], name
    assert columns["image_tokens"].tolist() == [ledger.work.image_tokens]


def test_pages_of_a_prompt_go_through_the_tower_as_those_of_a_batch() -> None:
    together = UNLIMITED.ledger("vision", Workload("1x1", resolution="base", pages=6))
    batch = UNLIMITED.ledger("vision", Workload("1x1", resolution="base", batch=6))
    assert together.lines == batch.lines
    assert (together.work.image_tokens, batch.work.image_tokens) == (6 * 273, 273)
    assert together.peak_activation_bytes == batch.peak_activation_bytes


def test_a_decode_over_several_pages_has_their_keys() -> None:
    work = Workload("1x1", resolution="base", pages=20, new_tokens=1000)
    assert UNLIMITED.ledger("decode", work).kv_cache_bytes == (20 * 273 + 10 + 127) * A_KEY
    assert needed("decode", work) == 20 * 273 + 10 + 1000  # positions go on, whatever the window lets go
    assert input_bytes(UNLIMITED, work) == 20 * 1024**2 * 3 * 2 + (20 * 273 + 10) * 8


REFUSED = {
    "workload.pages=3": "3 pages in a prompt need a mode without crops: tiny, small, base, large; got gundam",
    "workload.pages=0": "workload.pages must be a whole number of at least 1, got 0",
    "engine=vllm": "engine vllm has another KV cache than transformers, and nobody has counted how it lets go of what "
    "leaves the window of unlimited-ocr: use engine=transformers",
    "engine=original": "engine original has another KV cache than transformers, and nobody has counted how it lets go "
    "of what leaves the window of unlimited-ocr: use engine=transformers",
    "model.decoder.window=1": "model.decoder.window must be a whole number of at least 2, got 1",
}


@pytest.mark.parametrize("override", REFUSED)
def test_what_cannot_be_is_refused_in_one_line(override: str) -> None:
    with pytest.raises((ConfigError, ValueError)) as caught:
        compose(["model=unlimited-ocr", override]).workload.on("1x1")
    assert str(caught.value) == REFUSED[override]


def test_a_model_without_joined_pages_refuses_them_and_names_the_batch() -> None:
    with pytest.raises(ConfigError) as caught:
        V1.ledger("prefill", Workload("1x1", resolution="base", pages=4))
    says = "deepseek-ocr reads one page in a prompt, got workload.pages=4: workload.batch=4 prices as many prompts"
    assert str(caught.value) == says
    with pytest.raises(ConfigError, match="reads one page in a prompt"):
        V1.sweep("decode", rows=1, cols=1, resolution="base", pages=4)


def test_dram_traffic_of_a_window_is_refused_and_no_point_holds_it() -> None:
    decode, prefill = (UNLIMITED.ledger(stage, Workload("2x3")) for stage in ("decode", "prefill"))
    with pytest.raises(ValueError, match="DRAM traffic is not known for steps with a window of 128 new tokens"):
        decode.dram_bytes("h200")
    h200 = devices()["h200"]
    assert FloorResult.of(decode, h200, measured_ns=10**9).dram_bytes is None
    assert FloorResult.of(prefill, h200, measured_ns=10**9).dram_bytes == prefill.dram_bytes("h200")


def test_an_estimate_of_a_window_is_wider_and_says_so() -> None:
    work = Workload("2x3", new_tokens=50)
    ours, theirs = (m.ledger("decode", work).estimate("h200") for m in (UNLIMITED, V1))
    assert ours.reasons == (*theirs.reasons, "nobody calibrated steps with a window of 128 new tokens")
    assert ours.high_ns / ours.time_ns == pytest.approx(1.2 * theirs.high_ns / theirs.time_ns, rel=1e-6)
    assert (
        UNLIMITED.ledger("prefill", work).estimate("h200").reasons
        == V1.ledger("prefill", work).estimate("h200").reasons
    )
    columns = UNLIMITED.sweep("decode", rows=2, cols=3, new_tokens=[50, 500])
    found = estimates(UNLIMITED, columns, devices()["h200"])
    each = [UNLIMITED.ledger("decode", Workload("2x3", new_tokens=n)).estimate("h200") for n in (50, 500)]
    assert found.high_ns.tolist() == pytest.approx([one.high_ns for one in each], rel=1e-9)


@pytest.mark.parametrize(
    ("page", "grid", "tokens"), [((2480, 3508), "6x4", 2733), ((1654, 2339), "3x2", 903), ((1275, 1650), "4x3", 1513)]
)
def test_usual_pages_get_the_crops_of_its_own_processor(page: tuple[int, int], grid: str, tokens: int) -> None:
    assert str(UNLIMITED.grid_of(*page)) == grid
    assert Workload(grid).image_tokens == tokens


def test_its_default_sweep_is_the_usual_grids_of_up_to_32_crops() -> None:
    settings = compose(["model=unlimited-ocr"])
    grids = [entry.grid for entry in entries("vendor", SweptFor.of(settings))]
    assert len(grids) == 43
    assert set(CropGrid.upto(9)) < set(grids)
    assert {str(grid) for grid in grids} >= {"6x4", "4x6", "1x32", "32x1", "4x8"}
    assert max(grid.crops for grid in grids) == 32
