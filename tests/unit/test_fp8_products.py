"""Products of 8-bit floats (W8A8): which lines have them, what quantises for them, and how fast devices do them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_ocrsweep import CropGrid, Model, Workload, load_model
from pytest_ocrsweep.errors import ConfigError
from pytest_ocrsweep.hardware import roofline, sizing
from pytest_ocrsweep.hardware.estimate_columns import estimates
from pytest_ocrsweep.model.bulk import NAMES as COLUMNS
from pytest_ocrsweep.model.cost import Cost
from pytest_ocrsweep.model.stages import STAGES
from pytest_ocrsweep.model.symbolic import poly
from pytest_ocrsweep.sweep.config import devices

W8A8 = load_model(engine="vllm", overrides=["precision=fp8-w8a8"])
FP8 = load_model(engine="vllm", overrides=["precision=fp8"])
NATIVE = load_model(engine="vllm")
DEVICES = {name: device for name, device in devices().items() if device.fp8_flops_per_s}
WORK = Workload("2x3", batch=3)
works = st.builds(
    Workload,
    st.sampled_from(CropGrid.upto(6)),
    prompt_tokens=st.integers(0, 3000),
    new_tokens=st.integers(1, 300),
    batch=st.integers(1, 4),
)
PRODUCTS = {
    *("decoder/attn/qkv_proj", "decoder/attn/o_proj", "decoder/mlp/gate_up_proj", "decoder/mlp/down_proj"),
    *("decoder/shared_experts/gate_up_proj", "decoder/shared_experts/down_proj"),
    *("decoder/experts/gate_up", "decoder/experts/down"),
}
QUANTISE = {
    *("decoder/attn/quantise", "decoder/shared_experts/quantise", "decoder/shared_experts/quantise_hidden"),
    *("decoder/experts/input_scale", "decoder/experts/quantise_input"),
    *("decoder/experts/hidden_scale", "decoder/experts/quantise_hidden"),
}


@pytest.mark.parametrize("stage", STAGES)
@given(work=works)
def test_tensor_flops_are_those_in_8_bits_and_all_others(stage: str, work: Workload) -> None:
    ledger = W8A8.ledger(stage, work)
    lines = ledger.lines
    assert sum((line.cost for line in lines), Cost()) == ledger.total()
    in_8_bits = sum(line.cost.tensor_flops for line in lines if line.path in PRODUCTS)
    assert ledger.fp8_tensor_flops == ledger.total().fp8_tensor_flops == in_8_bits
    assert {line.path for line in lines if line.cost.fp8_tensor_flops} <= PRODUCTS
    assert all(line.cost.fp8_tensor_flops in (0, line.cost.tensor_flops) for line in lines)


@pytest.mark.parametrize("stage", STAGES)
@given(work=works)
def test_products_weights_and_cache_are_those_of_fp8(stage: str, work: Workload) -> None:
    ours, fp8 = W8A8.ledger(stage, work), FP8.ledger(stage, work)
    assert ours.tensor_flops == fp8.tensor_flops
    assert (ours.weight_bytes, ours.kv_cache_bytes) == (fp8.weight_bytes, fp8.kv_cache_bytes)
    assert ours.needed()[:3] == fp8.needed()[:3]
    assert 0 <= ours.needed().fp8_tensor_flops <= ours.fp8_tensor_flops


@pytest.mark.parametrize("stage", STAGES)
def test_lines_that_quantise_are_all_that_is_added(stage: str) -> None:
    ours, fp8 = W8A8.ledger(stage, WORK), FP8.ledger(stage, WORK)
    assert set(ours.paths) - set(fp8.paths) == (QUANTISE if stage != "vision" else set())
    assert not set(fp8.paths) - set(ours.paths)


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("model", [NATIVE, FP8, load_model(), load_model(engine="original")])
def test_no_other_precision_has_any(model: Model, stage: str) -> None:
    ledger = model.ledger(stage, WORK)
    assert ledger.fp8_tensor_flops == ledger.needed().fp8_tensor_flops == 0
    assert tuple(model.sweep(stage, rows=1, cols=2)) == COLUMNS


def test_bytes_of_activations_by_hand() -> None:
    """A step of one page, whose row has 1280 elements, in each of 12 layers; 6 experts of 896 in each of 11."""
    lines = {path: W8A8.ledger("decode", Workload("1x1", new_tokens=1)).total(path) for path in PRODUCTS | QUANTISE}
    quantise, o_proj = lines["decoder/attn/quantise"], lines["decoder/attn/o_proj"]
    assert (quantise.read_bytes, quantise.write_bytes) == (12 * 1280 * 2, 12 * (1280 + 4))
    assert quantise.vector_flops == 12 * (1280 + 2)  # a product an element; the scale and its reciprocal
    assert o_proj.read_bytes == 12 * (1280 + 4 + 1280 * 1280 + 4)
    assert (o_proj.write_bytes, o_proj.vector_flops) == (12 * 1280 * 2, 12 * 1280 * 2)
    scale, whole = lines["decoder/experts/hidden_scale"], lines["decoder/experts/quantise_hidden"]
    assert (scale.read_bytes, scale.write_bytes, scale.vector_flops) == (11 * 6 * 896 * 2, 11 * 4, 11 * 6)
    assert (whole.read_bytes, whole.write_bytes) == (11 * (6 * 896 * 2 + 4), 11 * 6 * 896)
    down = lines["decoder/experts/down"]
    assert down.read_bytes == 11 * (6 * (896 + 1280 * 896 + 4) + 4 + (64 + 6) * 4 + 6 * 4)
    assert down.vector_flops == 11 * 6 * 1280 * 3  # two scales and the router's weight


def test_a_norm_that_quantises_writes_one_byte_and_a_scale_a_row() -> None:
    ours, fp8 = (each.ledger("decode", Workload("1x1", new_tokens=1)) for each in (W8A8, FP8))
    assert fp8.total("decoder/norm1").write_bytes - ours.total("decoder/norm1").write_bytes == 12 * (1280 - 4)
    assert fp8.total("decoder/norm2").write_bytes - ours.total("decoder/norm2").write_bytes == 1280 - 4  # dense alone
    assert fp8.total("decoder/mlp/silu_mul").write_bytes - ours.total("decoder/mlp/silu_mul").write_bytes == 6848 - 4


@pytest.mark.parametrize("stage", ["prefill", "decode"])
def test_what_is_quantised_is_freed(stage: str) -> None:
    left = []
    for model in (W8A8, FP8):
        kernels = model.program(stage, "gundam", True, "flash").sequence
        at = model.ledger(stage, WORK)._point
        left.append(sum(poly(k.allocates).at(at) - poly(k.frees).at(at) for k in kernels))
    assert left[0] == left[1]


def test_kernels_of_a_step_are_those_of_fp8_and_what_quantises() -> None:
    """A kernel in 12 layers; in 11 of them two of shared experts, and a fill and two kernels for each product."""
    one = Workload("1x1", new_tokens=1)
    ours, fp8 = (each.ledger("decode", one).work_of_lines().launches.sum() for each in (W8A8, FP8))
    assert ours - fp8 == 12 + 11 * (2 + 2 * 3)


@pytest.mark.parametrize("name", DEVICES)
@pytest.mark.parametrize("stage", STAGES)
@given(work=works)
def test_no_floor_is_above_fp8s_or_below_half_of_it(stage: str, name: str, work: Workload) -> None:
    ours, fp8 = (roofline.floor(each.ledger(stage, work), DEVICES[name]) for each in (W8A8, FP8))
    assert (ours.vector_ns, ours.bandwidth_ns) == (fp8.vector_ns, fp8.bandwidth_ns)
    assert fp8.tensor_ns <= 2 * ours.tensor_ns + 2
    assert ours.tensor_ns <= fp8.tensor_ns
    assert fp8.time_ns <= 2 * ours.time_ns + 2
    assert ours.time_ns <= fp8.time_ns
    assert (ours.tensor_ns < fp8.tensor_ns) == (stage != "vision")
    assert ours.time_ns <= roofline.kernel_limit(W8A8.ledger(stage, work), DEVICES[name])


def test_each_precision_has_the_devices_rate_of_its_own() -> None:
    h200, ledger = DEVICES["h200"], W8A8.ledger("prefill", WORK)
    needed, cost = ledger.needed(), ledger.total()
    seconds = (needed.tensor_flops - needed.fp8_tensor_flops) / 989.5e12 + needed.fp8_tensor_flops / 1979e12
    assert roofline.floor(ledger, h200).tensor_ns == pytest.approx(seconds * 1e9, abs=2)
    busy = (cost.tensor_flops - cost.fp8_tensor_flops) / 989.5e12 + cost.fp8_tensor_flops / 1979e12
    assert roofline.mfu(ledger, h200, round(busy * 1e9)) == pytest.approx(1)
    line = ledger.total("decoder/mlp/gate_up_proj")
    assert roofline.least_ns(line, h200) == pytest.approx(line.tensor_flops / 1979e3)


def test_every_device_that_has_them_does_twice_as_many_as_in_two_bytes() -> None:
    assert {name for name in devices() if name not in DEVICES} == {"a100-40", "a100-80"}
    for device in DEVICES.values():
        assert device.fp8_speedup == pytest.approx(2, rel=1e-3), device.name


def test_what_a_target_takes_is_less_of_a_device() -> None:
    target = sizing.Target(0.1, 0.002)
    ours, fp8 = (sizing.requirements(each, WORK, target)[0] for each in (W8A8, FP8))
    assert ours.tensor_flops_per_s == fp8.tensor_flops_per_s
    assert ours.shares(DEVICES["h200"])["tensor"] < fp8.shares(DEVICES["h200"])["tensor"]


@pytest.mark.parametrize("how", ["floor", "estimate", "fits", "limit"])
def test_a_device_without_such_products_is_refused(how: str) -> None:
    ledger, a100 = W8A8.ledger("prefill", WORK), devices()["a100-80"]
    asked = {
        "floor": lambda: ledger.floor(a100),
        "estimate": lambda: ledger.estimate(a100),
        "fits": lambda: sizing.fits(W8A8, WORK, a100),
        "limit": lambda: roofline.kernel_limit(ledger, a100),
    }
    with pytest.raises(ConfigError, match=r"^NVIDIA A100-SXM4-80GB multiplies no 8-bit floats .*: use precision=fp8, "):
        asked[how]()
    assert W8A8.ledger("vision", WORK).floor(a100).time_ns  # which has none


def test_an_estimate_is_wide_and_says_that_nobody_measured_such_a_product() -> None:
    ours, fp8 = (each.ledger("prefill", WORK).estimate("h200") for each in (W8A8, FP8))
    assert "nobody has measured a product of 8-bit floats" in ours.reasons
    assert ours.high_ns / ours.time_ns == pytest.approx(fp8.high_ns / fp8.time_ns, rel=1e-6)
    assert ours.terms["products"] < fp8.terms["products"]
    assert ours.terms["experts"] < fp8.terms["experts"]
    assert ours.terms["norms"] > fp8.terms["norms"]


@pytest.mark.parametrize("stage", STAGES)
def test_columns_have_them_too(stage: str) -> None:
    grids = CropGrid.upto(4)
    columns = W8A8.sweep(stage, rows=[g.rows for g in grids], cols=[g.columns for g in grids], batch=3)
    assert tuple(columns) == (*COLUMNS, "fp8_tensor_flops")
    times = estimates(W8A8, columns, DEVICES["h200"])
    slow = replace(DEVICES["h200"], tensor_flops_per_s=1e10, fp8_flops_per_s=2e10)  # below whose floor no estimate is
    floors = estimates(W8A8, columns, slow)
    for i, grid in enumerate(grids):
        ledger = W8A8.ledger(stage, Workload(grid, batch=3))
        assert columns["fp8_tensor_flops"][i] == ledger.fp8_tensor_flops
        assert times.time_ns[i] == ledger.estimate("h200").time_ns
        assert floors.low_ns[i] == pytest.approx(roofline.floor(ledger, slow).time_ns, abs=1)


def test_weights_that_are_not_in_8_bits_are_refused() -> None:
    base = ["precision=fp8-w8a8", "precision.name=mine", "engine=vllm", "engine.precisions=[any]"]
    rules = {
        "decoder/attn/qkv_proj needs weights in fp8": "'decoder/attn/* half','decoder/*:matrix fp8','* half'",
        "decoder/router/logits has weights in fp8, and": "'decoder/*:matrix fp8','decoder/*:experts fp8','* half'",
    }
    for message, weights in rules.items():
        odd = load_model(overrides=[*base, f"precision.weights=[{weights}]"])
        with pytest.raises(ConfigError, match=f"^{message}.*precision.products=half"):
            odd.ledger("decode", WORK)
