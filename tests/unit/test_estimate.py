"""Estimates against every time that was profiled and that no calibration saw, and what an estimate says of itself."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_ocrsweep import CropGrid, Model, Workload, load_model
from pytest_ocrsweep.errors import CalibrationError, ConfigError
from pytest_ocrsweep.hardware.calibration import CONSTANTS, LIMITS, SHEET
from pytest_ocrsweep.hardware.calibration_file import calibration_of, packaged
from pytest_ocrsweep.hardware.calibration_points import FITTED, JUDGED
from pytest_ocrsweep.hardware.devices import Device
from pytest_ocrsweep.hardware.estimate import estimate
from pytest_ocrsweep.hardware.fit import estimates, measured
from pytest_ocrsweep.hardware.line_time import Rates, limits_of
from pytest_ocrsweep.hardware.profile import Profile, Profiles, read
from pytest_ocrsweep.hardware.roofline import floor
from pytest_ocrsweep.model.kernels import Pattern
from pytest_ocrsweep.model.line_work import LineWork
from pytest_ocrsweep.model.stages import STAGES, point
from pytest_ocrsweep.sweep.config import compose, devices

MODEL = load_model("deepseek-ocr")
PROFILED = Path(__file__).parents[2] / "dev" / "profiles"
H100, H200 = devices()["h100"], devices()["h200"]
FILES = {H100: "nvidia-h100-80gb-hbm3-lines.jsonl.gz", H200: "nvidia-h200-lines.jsonl.gz"}
SEEN = {*FITTED, *JUDGED}
gpus = pytest.mark.parametrize("device", FILES, ids=["h100", "h200"])


def unseen(profiles: Profiles) -> list[Profile]:
    return [profile for profile in profiles.points if profile.point not in SEEN]


@gpus
def test_points_that_no_calibration_saw_are_within_3_percent_in_the_mean_and_10_at_most(device) -> None:
    data = measured(MODEL, unseen(read(PROFILED / FILES[device])))
    errors = np.abs(estimates(data, calibration_of(device).values, device) / data.device_ns - 1)
    assert len(errors) >= 40
    assert errors.mean() < 0.03
    assert errors.max() < 0.10


@gpus
def test_lines_and_gaps_are_a_points_whole_time(device) -> None:
    for profile in read(PROFILED / FILES[device]).points:
        assert profile.busy_ns + profile.gap_ns == pytest.approx(profile.device_ns)
        assert profile.gap_ns > -0.02 * profile.device_ns, profile.label  # a long profiled replay runs a little slower


@pytest.mark.parametrize("name", ["h100", "h200"])
def test_the_predictions_that_were_committed_before_they_were_measured_held(name: str) -> None:
    device = devices()[name]
    times = {(p.stage, p.attention, p.work): p.device_ns for p in read(PROFILED / FILES[device]).points}
    errors = []
    for row in json.loads((PROFILED / f"predicted-{name}.json").read_text()):
        sizes = {key: row[key] for key in ("batch", "resolution", "prompt_tokens") if key in row}
        work = Workload(CropGrid.parse(row["grid"]), **sizes)
        errors.append(abs(row["time_ns"] / times[row["stage"], row["attention"], work] - 1))
    assert len(errors) == 47
    assert np.mean(errors) < 0.03


@gpus
@pytest.mark.parametrize("stage", STAGES)
def test_terms_sum_to_the_time_inside_its_interval_and_above_the_floor(device, stage: str) -> None:
    ledger = MODEL.ledger(stage, Workload(CropGrid(2, 3)))
    expected = ledger.estimate(device)
    assert sum(expected.terms.values()) == expected.time_ns
    assert floor(ledger, device).time_ns < expected.low_ns < expected.time_ns < expected.high_ns
    assert expected.reasons == ()


def test_a_device_may_be_named() -> None:
    ledger = MODEL.ledger("vision", Workload(CropGrid(1, 1)))
    assert ledger.estimate("h100") == ledger.estimate(H100) == ledger.estimate(H100.name)
    assert ledger.floor("h100") == floor(ledger, H100)
    assert ledger.dram_bytes("h100") == ledger.dram_bytes(H100)
    with pytest.raises(ConfigError, match="no device is called 'h1000': choose from a100-40"):
        ledger.estimate("h1000")


def test_a_ledger_of_a_bare_model_says_where_to_get_one_that_knows_devices() -> None:
    with pytest.raises(ValueError, match="get its model from load_model"):
        Model(MODEL.architecture).ledger("vision", Workload(CropGrid(1, 1))).estimate("h100")


def test_a_kin_is_scaled_by_both_sheets_and_says_so() -> None:
    ledger = MODEL.ledger("prefill", Workload(CropGrid(2, 3)))
    pcie = ledger.estimate("h100-pcie")
    assert pcie.time_ns > ledger.estimate("h100").time_ns
    assert pcie.reasons == (f"scaled from {H100.name} by both sheets",)
    assert pcie.high_ns / pcie.time_ns > ledger.estimate("h100").high_ns / ledger.estimate("h100").time_ns


@gpus
def test_an_estimate_follows_a_sheet_that_is_changed(device) -> None:
    ledger = MODEL.ledger("decode", Workload(CropGrid(2, 3)))
    slower = replace(device, name=f"{device.name} with less", bandwidth_bytes_per_s=device.bandwidth_bytes_per_s / 10)
    assert ledger.estimate(slower).time_ns > 2 * ledger.estimate(device).time_ns
    assert ledger.estimate(slower).reasons == (f"scaled from {device.name} by both sheets",)
    larger = replace(device, name=f"{device.name} with more", memory_bytes=2 * device.memory_bytes)
    assert replace(ledger.estimate(larger), device=device.name) == ledger.estimate(device)


@pytest.mark.parametrize("rate", SHEET)
@pytest.mark.parametrize("factor", [1e-12, 1e12])
@pytest.mark.parametrize("stage", STAGES)
def test_on_no_sheet_is_an_estimate_below_the_floor(rate: str, factor: float, stage: str) -> None:
    ledger = MODEL.ledger(stage, Workload(CropGrid(3, 30), batch=8))
    device = replace(devices()["l40s"], **{rate: getattr(devices()["l40s"], rate) * factor}, l2_bytes=0)
    expected = ledger.estimate(device)
    assert sum(expected.terms.values()) == expected.time_ns
    assert floor(ledger, device).time_ns <= expected.low_ns <= expected.time_ns <= expected.high_ns


def test_a_device_without_a_calibration_or_one_to_scale_names_the_remedy() -> None:
    with pytest.raises(CalibrationError, match="has no calibration, and there is none to scale to it; calibrate it: "):
        MODEL.ledger("prefill", Workload(CropGrid(2, 3))).estimate("mi300x")


def test_beyond_what_a_calibration_covers_the_interval_widens_and_says_why() -> None:
    inside = MODEL.ledger("decode", Workload(CropGrid(2, 3), batch=64)).estimate(H100)
    beyond = MODEL.ledger("decode", Workload(CropGrid(2, 3), batch=256)).estimate(H100)
    assert inside.reasons == ()
    assert beyond.reasons == ("batch 256 is beyond the calibration's 64",)
    assert beyond.high_ns / beyond.time_ns > 1.1 * inside.high_ns / inside.time_ns


def relative_width(expected) -> float:
    return expected.high_ns / expected.time_ns


def test_a_prompt_that_vision_does_not_read_widens_no_interval_of_it() -> None:
    short, long = (MODEL.ledger("vision", Workload(CropGrid(2, 3), prompt)).estimate(H100) for prompt in (10, 7000))
    assert short == long


def test_new_tokens_are_a_part_of_the_context_that_a_decode_was_calibrated_for() -> None:
    few, many = (
        MODEL.ledger("decode", Workload(CropGrid(2, 3), 10, new), "eager").estimate(H100) for new in (100, 6000)
    )
    assert few.reasons == ()
    assert many.reasons == ("context 6,903, new tokens included, is beyond the calibration's 1,003",)
    assert relative_width(many) > 1.1 * relative_width(few)


def test_a_full_window_of_new_tokens_is_all_that_counts_of_them() -> None:
    windowed = load_model("unlimited-ocr")
    few, many = (windowed.ledger("decode", Workload(CropGrid(2, 3), 10, new)).estimate(H100) for new in (128, 20_000))
    assert few.reasons == many.reasons == ("nobody calibrated steps with a window of 128 new tokens",)


@pytest.mark.parametrize(
    "other",
    [
        load_model("deepseek-ocr-tiny"),
        load_model(overrides=["model.decoder.layers=6"]),
        load_model(overrides=["model.decoder.experts=32"]),
    ],
    ids=["tiny", "layers", "experts"],
)
def test_sizes_that_nobody_calibrated_widen_the_interval(other: Model) -> None:
    expected = other.ledger("decode", Workload(CropGrid(2, 3))).estimate(H100)
    own = MODEL.ledger("decode", Workload(CropGrid(2, 3))).estimate(H100)
    (reason,) = expected.reasons
    assert re.fullmatch(r"no decode of a model with [\d,.]+ MB of weights was calibrated", reason)
    assert relative_width(expected) == pytest.approx(1.2 * relative_width(own), rel=1e-6)


def test_a_sibling_with_the_same_decoder_is_as_sure() -> None:
    sibling = load_model("deepseek-ocr-2").ledger("decode", Workload(CropGrid(1, 1))).estimate(H100)
    assert sibling.reasons == ()


def test_another_l2_than_the_constants_were_fitted_beside_is_scaled_and_says_so() -> None:
    ledger = MODEL.ledger("decode", Workload(CropGrid(2, 3)))
    device = compose(["device=h100", "device.l2_bytes=500000000"]).device
    assert ledger.estimate(device).reasons == (f"scaled from {H100.name} by both sheets",)


def test_a_stage_that_judged_no_calibration_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    known = packaged()[H100.name]
    partly = replace(known, spread={"vision": known.spread["vision"]})
    monkeypatch.setattr("pytest_ocrsweep.hardware.estimate.calibration_of", lambda _: partly)
    expected = MODEL.ledger("decode", Workload(CropGrid(2, 3))).estimate(H100)
    assert expected.reasons == ("no decode judged the calibration",)


def test_every_pattern_has_its_constants_and_no_gpu_more_than_sixteen() -> None:
    assert LIMITS.keys() == set(Pattern) - {Pattern.ABSORBED}
    assert {limit.kernel_ns for limit in LIMITS.values()} | {r for r in (x.rate for x in LIMITS.values()) if r} | {
        "dram_bytes_per_s",
        "l2_bytes_per_s",
    } == CONSTANTS.keys()
    assert len(CONSTANTS) <= 16


@gpus
def test_no_bandwidth_and_no_product_rate_is_above_the_sheets(device) -> None:
    values = packaged()[device.name].values
    assert values["dram_bytes_per_s"] < device.bandwidth_bytes_per_s < values["l2_bytes_per_s"] * 1.01
    for rate in ("product_flops_per_s", "grouped_flops_per_s", "batched_flops_per_s", "attention_flops_per_s"):
        assert values[rate] < device.tensor_flops_per_s


@pytest.mark.parametrize("attention", ["eager", "flash"])
@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("batch", [1, 3])
def test_merged_lines_take_as_long_as_single_ones(stage: str, attention: str, batch: int) -> None:
    work = Workload(CropGrid(2, 3), batch=batch)
    program = MODEL.program(stage, work.resolution, True, attention)
    sums = []
    for merged in (False, True):
        lines = LineWork(program.sequence, per_step=program.steps, merged=merged)
        times = Rates(packaged()[H100.name].values, limits_of(lines.patterns), H100.l2_bytes).times(
            lines.at(point(work, MODEL.architecture.decoder))
        )
        sums.append(float(times.launch_ns.sum() + times.busy_ns.sum()))
    assert sums[1] == pytest.approx(sums[0], rel=1e-9)


def test_the_bytes_of_lines_are_those_of_the_ledger() -> None:
    work = Workload(CropGrid(2, 3), batch=2)
    for stage in STAGES:
        program = MODEL.program(stage, work.resolution, True, "eager")
        lines = LineWork(program.sequence, per_step=program.steps, merged=True).at(
            point(work, MODEL.architecture.decoder)
        )
        moved = lines.first_bytes.sum() + lines.again_bytes.sum() + lines.activation_bytes.sum()
        assert moved == pytest.approx(MODEL.ledger(stage, work, "eager").total().moved_bytes, rel=1e-9)


def test_more_work_never_takes_less_time() -> None:
    work = Workload(CropGrid(1, 1))
    for stage in STAGES:
        times = [MODEL.ledger(stage, replace(work, batch=batch)).estimate(H100).time_ns for batch in (1, 2, 4, 8, 16)]
        assert times == sorted(times)


def test_an_estimate_of_a_ledger_does_not_depend_on_those_before() -> None:
    one, other = (MODEL.ledger("prefill", Workload(CropGrid(2, n))) for n in (2, 3))
    first = estimate(one, H100)
    assert estimate(other, H100) != first
    assert estimate(one, H100) == first


FAMILY = [
    MODEL,
    load_model("deepseek-ocr-2"),
    load_model("unlimited-ocr"),
    load_model(engine="vllm", overrides=["engine.most_step_tokens=null", "engine.most_crops=null"]),
    load_model(engine="original"),
    load_model(overrides=["precision=q4_k_m"]),
]
KNOWN = [device for device in devices().values() if device.calibrated_as or device.name in packaged()]
sizes = st.fixed_dictionaries(
    {
        "batch": st.integers(1, 4096),
        "prompt_tokens": st.integers(0, 20_000),
        "new_tokens": st.integers(1, 10_000),
    }
)


@settings(deadline=None)
@given(
    st.sampled_from(FAMILY),
    st.sampled_from(list(STAGES)),
    st.sampled_from(KNOWN),
    st.builds(CropGrid, st.integers(1, 30), st.integers(1, 30)),
    sizes,
    st.sampled_from(["batch", "prompt_tokens", "new_tokens"]),
)
def test_no_size_breaks_the_order_of_floor_interval_and_time_and_more_takes_no_less(
    model: Model, stage: str, device: Device, grid: CropGrid, least: dict[str, int], grown: str
) -> None:
    before = 0
    for work in (Workload(grid, **least), Workload(grid, **least | {grown: 2 * least[grown] + 1})):
        ledger = model.ledger(stage, work)
        found = ledger.estimate(device)
        assert floor(ledger, device).time_ns <= found.low_ns <= found.time_ns <= found.high_ns
        assert sum(found.terms.values()) == found.time_ns
        assert min(found.terms.values()) >= 0
        assert found.time_ns >= before
        before = found.time_ns
