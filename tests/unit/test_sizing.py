"""What fits, what a target requires, and which device serves how many pages in time."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_ocrsweep import CropGrid, Workload, load_model
from pytest_ocrsweep.hardware.devices import Device
from pytest_ocrsweep.hardware.roofline import floor
from pytest_ocrsweep.hardware.sizing import (
    Requirement,
    Target,
    batches,
    fits,
    input_bytes,
    largest,
    largest_batch,
    largest_page,
    memory,
    requirements,
    serves,
)
from pytest_ocrsweep.model.attention import ATTENTION
from pytest_ocrsweep.sweep.config import devices

MODEL = load_model()
DEVICES = devices()
H200, RTX_4090 = DEVICES["h200"], DEVICES["rtx-4090"]
TWO_BY_THREE = Workload(CropGrid(2, 3))
TARGET = Target(ttft_s=0.1, tpot_s=0.002)
WEIGHTS = 2 * 3_335_504_128  # the vendor's parameters, without the patch embedding that nothing uses

grids = st.builds(CropGrid, st.integers(1, 15), st.integers(1, 15))


def of_memory(device: Device, size: int) -> Device:
    return replace(device, memory_bytes=size)


# Memory


def test_the_inputs_are_every_views_pixels_and_every_tokens_id() -> None:
    assert input_bytes(MODEL, TWO_BY_THREE) == (1024**2 + 6 * 640**2) * 3 * 2 + 903 * 8
    assert input_bytes(MODEL, Workload(CropGrid(1, 1), resolution="tiny")) == 512**2 * 3 * 2 + (8 * 9 + 1 + 10) * 8


def test_each_page_has_its_own_inputs_and_a_decode_one_token_of_each() -> None:
    three = replace(TWO_BY_THREE, batch=3)
    assert input_bytes(MODEL, three) == 3 * input_bytes(MODEL, TWO_BY_THREE)
    assert [part.input_bytes for part in memory(MODEL, three)] == [input_bytes(MODEL, three), 3 * 8]


def test_prefill_and_decode_hold_the_weights_of_the_whole_model() -> None:
    prefill, decode = memory(MODEL, TWO_BY_THREE)
    assert prefill.weight_bytes == decode.weight_bytes == WEIGHTS
    assert prefill.kv_cache_bytes == 903 * 2 * 12 * 1280 * 2
    assert decode.kv_cache_bytes == 1003 * 2 * 12 * 1280 * 2
    peak = MODEL.ledger("prefill", TWO_BY_THREE).peak_activation_bytes
    assert prefill.total_bytes == WEIGHTS + prefill.kv_cache_bytes + prefill.input_bytes + peak


def test_a_workload_fits_to_the_byte() -> None:
    needed = max(part.total_bytes for part in memory(MODEL, TWO_BY_THREE))
    found = fits(MODEL, TWO_BY_THREE, of_memory(H200, needed))
    assert (found.fits, found.needed_bytes) == (True, needed)
    assert not fits(MODEL, TWO_BY_THREE, of_memory(H200, needed - 1)).fits


def test_what_is_fuller_decides() -> None:
    short = fits(MODEL, TWO_BY_THREE, H200)
    assert short.needed_bytes == short.parts[0].total_bytes
    long = fits(MODEL, replace(TWO_BY_THREE, new_tokens=30_000), H200)
    assert long.needed_bytes == long.parts[1].total_bytes


@given(st.integers(0, 300))
def test_the_largest_is_found_exactly(limit: int) -> None:
    assert largest(lambda n: n <= limit) == (limit or None)


@pytest.mark.parametrize("attention", ["eager", "flash"])
@pytest.mark.parametrize("name", DEVICES)
def test_the_largest_batch_fits_and_one_page_more_does_not(name: str, attention: str) -> None:
    batch = largest_batch(MODEL, TWO_BY_THREE, DEVICES[name], attention)
    assert batch is not None
    assert fits(MODEL, replace(TWO_BY_THREE, batch=batch), DEVICES[name], attention).fits
    assert not fits(MODEL, replace(TWO_BY_THREE, batch=batch + 1), DEVICES[name], attention).fits


def test_the_largest_page_fits_and_the_next_squarest_does_not() -> None:
    needed = fits(MODEL, Workload(CropGrid(3, 3)), H200).needed_bytes
    assert largest_page(MODEL, TWO_BY_THREE, of_memory(H200, needed)) == CropGrid(3, 3)
    assert largest_page(MODEL, TWO_BY_THREE, of_memory(H200, needed - 1)) == CropGrid(2, 3)


@pytest.mark.parametrize(
    ("name", "overrides", "grid"),
    [
        ("deepseek-ocr", [], "3x3"),  # of 9 crops
        ("deepseek-ocr-2", [], "2x3"),  # of 6
        ("unlimited-ocr", [], "5x6"),  # of 32
        ("deepseek-ocr", ["model.most_crops=12"], "3x4"),
    ],
)
def test_no_page_is_larger_than_the_model_cuts_it(name: str, overrides: list[str], grid: str) -> None:
    model = load_model(name, overrides=overrides)
    assert str(largest_page(model, Workload(CropGrid(1, 2)), H200)) == grid
    assert str(largest_page(model, Workload(CropGrid(4, 9)), H200)) == grid  # whatever was asked about


@pytest.mark.parametrize("grid", ["1x1", "1x2", "2x2", "2x3", "3x3"])
def test_pages_grow_by_a_column_and_then_by_a_row(grid: str) -> None:
    needed = fits(MODEL, Workload(CropGrid.parse(grid)), H200).needed_bytes
    assert str(largest_page(MODEL, TWO_BY_THREE, of_memory(H200, needed))) == grid


def test_fused_attention_fits_larger_pages_than_scores_in_memory() -> None:
    wide = load_model(overrides=["model.most_crops=100"])
    eager, flash = (largest_page(wide, TWO_BY_THREE, RTX_4090, attention) for attention in ("eager", "flash"))
    assert eager is not None
    assert flash is not None
    assert flash.crops > eager.crops


def test_nothing_fits_where_the_weights_alone_do_not() -> None:
    small = of_memory(H200, WEIGHTS)
    assert largest_batch(MODEL, TWO_BY_THREE, small) is None
    assert largest_page(MODEL, TWO_BY_THREE, small) is None
    assert batches(MODEL, TWO_BY_THREE, [small], TARGET) == {H200.name: None}


def test_a_resolution_without_crops_has_one_page() -> None:
    assert largest_page(MODEL, Workload(CropGrid(1, 1), resolution="base"), H200) == CropGrid(1, 1)
    assert largest_page(MODEL, Workload(CropGrid(1, 1), resolution="base"), of_memory(H200, 1)) is None


def test_whether_the_one_page_fits_is_asked_of_the_attention() -> None:
    work = Workload(CropGrid(1, 1), resolution="base", prompt_tokens=4000)
    flash, eager = (fits(MODEL, work, H200, attention).needed_bytes for attention in ("flash", "eager"))
    assert flash < eager
    assert largest_page(MODEL, work, of_memory(H200, flash), "eager") is None
    assert largest_page(MODEL, work, of_memory(H200, flash), "flash") == CropGrid(1, 1)


@given(grids, st.integers(1, 64), st.sampled_from(["eager", "flash"]))
def test_more_pages_and_more_crops_never_need_less(grid: CropGrid, batch: int, attention: str) -> None:
    work = Workload(grid, batch=batch)
    needed = fits(MODEL, work, H200, attention).needed_bytes
    assert fits(MODEL, replace(work, batch=batch + 1), H200, attention).needed_bytes > needed
    for more in (replace(grid, rows=grid.rows + 1), replace(grid, columns=grid.columns + 1)):
        assert fits(MODEL, replace(work, grid=more), H200, attention).needed_bytes > needed


# Targets


def test_a_target_requires_work_over_time() -> None:
    prefill, decode = requirements(MODEL, TWO_BY_THREE, TARGET)
    first, rest = (MODEL.ledger(stage, TWO_BY_THREE) for stage in ("prefill", "decode"))
    assert prefill.tensor_flops_per_s == pytest.approx(first.needed().tensor_flops / 0.1)
    assert prefill.bandwidth_bytes_per_s == pytest.approx(first.needed().moved_bytes / 0.1)
    assert decode.tensor_flops_per_s == pytest.approx(rest.needed().tensor_flops / 100 / 0.002)
    assert decode.bandwidth_bytes_per_s == pytest.approx(rest.needed().moved_bytes / 100 / 0.002)
    assert prefill.vector_flops_per_s == pytest.approx(first.needed().vector_flops / 0.1)
    assert decode.vector_flops_per_s == pytest.approx(rest.needed().vector_flops / 100 / 0.002)
    assert [prefill.memory_bytes, decode.memory_bytes] == [p.total_bytes for p in memory(MODEL, TWO_BY_THREE)]


@pytest.mark.parametrize("name", ["h100", "mi300x"])
@pytest.mark.parametrize("batch", [1, 8])
def test_a_target_is_met_at_the_floor_and_not_below_it(name: str, batch: int) -> None:
    device, work = replace(DEVICES[name], memory_bytes=10**15), replace(TWO_BY_THREE, batch=batch)
    ttft, decode = (floor(MODEL.ledger(stage, work), device).time_ns / 1e9 for stage in ("prefill", "decode"))
    for factor, met in ((1.001, True), (0.999, False)):
        assert serves(MODEL, work, device, Target(ttft * factor, decode / 100 * 1.001)) is met
        assert serves(MODEL, work, device, Target(ttft * 1.001, decode / 100 * factor)) is met


def test_attentions_need_the_same_rates_and_other_memory() -> None:
    for flash, eager in zip(
        *(requirements(MODEL, TWO_BY_THREE, TARGET, mode) for mode in reversed(ATTENTION)), strict=True
    ):
        assert replace(flash, memory_bytes=eager.memory_bytes) == eager
        assert flash.memory_bytes < eager.memory_bytes
        ledgers = [MODEL.ledger(flash.stage, TWO_BY_THREE, mode) for mode in ATTENTION]
        assert len({each.needed() for each in ledgers}) == 1


def test_what_is_needed_is_set_against_what_a_device_has() -> None:
    device = replace(H200, tensor_flops_per_s=8, vector_flops_per_s=16, bandwidth_bytes_per_s=32, memory_bytes=64)
    shares = {"tensor": 0.25, "vector": 0.5, "bandwidth": 0.125, "memory": 1}
    assert Requirement("decode", 2, 8, 4, 64).shares(device) == shares
    assert Requirement("decode", 2, 8, 4, 64).constraint(device) == "vector", "of the rates, whatever the memory"
    assert Requirement("decode", 8, 8, 4, 64).constraint(device) == "tensor"


def test_a_device_serves_what_fits_it_to_the_byte_in_the_attention_that_is_asked_for() -> None:
    loose = Target(10, 10)
    flash, eager = (fits(MODEL, TWO_BY_THREE, H200, attention).needed_bytes for attention in ("flash", "eager"))
    assert flash < eager
    for memory_bytes, served in ((flash - 1, (0, 0)), (flash, (1, 0)), (eager - 1, (1, 0)), (eager, (1, 1))):
        device = of_memory(H200, memory_bytes)
        assert serves(MODEL, TWO_BY_THREE, device, loose) == served[0]
        assert serves(MODEL, TWO_BY_THREE, device, loose, "eager") == served[1]
        found = batches(MODEL, TWO_BY_THREE, [device], loose, "eager")
        assert (found[device.name] or 0) == served[1]


@pytest.mark.parametrize("name", DEVICES)
def test_bandwidth_is_what_a_decode_runs_out_of_on_every_device(name: str) -> None:
    decode = requirements(MODEL, TWO_BY_THREE, TARGET)[1]
    assert decode.constraint(DEVICES[name]) == "bandwidth"
    assert decode.constraint(DEVICES[name]) == floor(MODEL.ledger("decode", TWO_BY_THREE), DEVICES[name]).bound


@given(grids, st.sampled_from(list(DEVICES)), st.floats(0.001, 1), st.floats(0.0001, 0.1))
def test_a_device_serves_what_fits_and_whose_floors_are_in_time(
    grid: CropGrid, name: str, ttft_s: float, tpot_s: float
) -> None:
    work, device = Workload(grid), DEVICES[name]
    first, rest = (floor(MODEL.ledger(stage, work), device).time_ns for stage in ("prefill", "decode"))
    in_time = first < ttft_s * 1e9 and rest < tpot_s * 1e9 * work.new_tokens
    found = serves(MODEL, work, device, Target(ttft_s, tpot_s))
    assert found == (in_time and fits(MODEL, work, device).fits)


@pytest.mark.parametrize("name", DEVICES)
def test_the_largest_batch_served_is_in_time_and_one_page_more_is_not(name: str) -> None:
    batch = batches(MODEL, TWO_BY_THREE, [DEVICES[name]], TARGET)[DEVICES[name].name]
    assert batch is not None
    assert serves(MODEL, replace(TWO_BY_THREE, batch=batch), DEVICES[name], TARGET)
    assert not serves(MODEL, replace(TWO_BY_THREE, batch=batch + 1), DEVICES[name], TARGET)


def test_a_tighter_target_never_serves_more() -> None:
    loose = batches(MODEL, TWO_BY_THREE, DEVICES.values(), TARGET)
    for tighter in (Target(0.05, 0.002), Target(0.1, 0.001)):
        for name, batch in batches(MODEL, TWO_BY_THREE, DEVICES.values(), tighter).items():
            assert (batch or 0) <= (loose[name] or 0)


@pytest.mark.parametrize("values", [(0, 1), (1, 0), (-1, 1), (float("nan"), 1)])
def test_a_target_is_a_positive_time(values: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match=r"^t(tf|po)t_s must be a positive number of seconds, got (0|-1|nan)$"):
        Target(*values)
