"""Floors follow from peaks and from what nobody leaves out, obey their laws, and no recorded time is below one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_ocrsweep import CropGrid, Ledger, Workload, load_model
from pytest_ocrsweep.baselines import timed
from pytest_ocrsweep.hardware.devices import Device
from pytest_ocrsweep.hardware.roofline import attained, floor, floors, kernel_limit, mbu, mfu
from pytest_ocrsweep.model.attention import ATTENTION
from pytest_ocrsweep.model.kernels import Kernel
from pytest_ocrsweep.model.program import Program
from pytest_ocrsweep.model.stages import STAGES
from pytest_ocrsweep.sweep.config import devices

BASELINES = Path(__file__).parents[2] / "baselines"
MODEL = load_model()
DEVICES = devices()
H200 = DEVICES["h200"]
TWO_BY_THREE = Workload(CropGrid(2, 3))
ROUND = Device("round", 1e12, 1e11, 1e10, 10**9, 0, "a datasheet", 5e11, None)

works = st.builds(
    Workload,
    st.builds(CropGrid, st.integers(1, 15), st.integers(1, 15)),
    st.integers(0, 500),
    st.integers(1, 300),
    st.integers(1, 40),
)
points = st.tuples(st.sampled_from(list(STAGES)), works, st.sampled_from(list(ATTENTION)))


def hand_made(*kernels: Kernel) -> Ledger:
    program = Program(kernels, 0, 0, steps=False)
    return Ledger("vision", TWO_BY_THREE, "flash", program, {}, program.values({}), None, "transformers")


LEDGER = hand_made(
    Kernel("dense/matmul", 6000, 10, read_bytes=20, write_bytes=10, used_bytes=12, io_bytes=4, times=2),
    Kernel("dense/norm", 0, 500, read_bytes=30, write_bytes=30, functions=500),
    Kernel("copy", 0, 0, read_bytes=100, write_bytes=60, io_bytes=40),
)


def test_a_floor_is_the_slowest_of_what_tensor_vector_and_bandwidth_need() -> None:
    found = floor(LEDGER, ROUND)
    # 12,000 tensor FLOPs, 500 exponentials, 2 x 16 + 40 bytes
    assert (found.tensor_ns, found.vector_ns, found.bandwidth_ns) == (12, 5, 7)
    assert (found.time_ns, found.bound) == (12, "tensor")


def test_each_component_has_its_own_floor_and_bound() -> None:
    found = floors(LEDGER, ROUND)
    assert {name: (each.time_ns, each.bound) for name, each in found.items()} == {
        "dense": (12, "tensor"),
        "copy": (4, "bandwidth"),
    }
    assert floor(LEDGER, ROUND, "dense/norm").bound == "vector"


def test_the_kernel_limit_adds_each_lines_own_slowest_time() -> None:
    # matmul 12 ns of tensor; norm 6 ns, of 60 bytes rather than 500 FLOPs in 5 ns; copy 16 ns
    assert kernel_limit(LEDGER, ROUND) == 12 + 6 + 16


def test_vector_work_may_be_what_takes_the_longest() -> None:
    busy = hand_made(
        Kernel("exp", 1000, 400, read_bytes=20, write_bytes=10, io_bytes=30, functions=400)
    )  # 1, 4 and 3 ns
    found = floor(busy, ROUND)
    assert (found.time_ns, found.bound, kernel_limit(busy, ROUND)) == (4, "vector", 4)


def test_measured_ceilings_stand_in_where_there_are_any() -> None:
    assert floor(LEDGER, ROUND.as_measured).tensor_ns == 24
    assert floor(LEDGER, ROUND.as_measured).bandwidth_ns == 7
    assert (ROUND.ridge, ROUND.as_measured.ridge) == (100, 50)


def test_a_time_is_set_against_its_floor_and_the_devices_rates() -> None:
    found = floor(LEDGER, ROUND)
    assert attained(found, 48) == 0.25
    assert mfu(LEDGER, ROUND, 48) == pytest.approx(12_000 / 48e-9 / 1e12)
    assert mbu(LEDGER, ROUND, 48) == pytest.approx(72 / 48e-9 / 1e10)


@pytest.mark.parametrize("attention", ATTENTION)
def test_a_decode_is_bound_by_bandwidth_through_the_weights_and_keys_it_reads(attention: str) -> None:
    layer = 4 * 1280 * 1280 + 2 * 1280  # projections, two norms
    dense, expert = 3 * 1280 * 6848, 3 * 1280 * 896
    parameters = 12 * layer + dense + 11 * ((6 + 2) * expert + 64 * 1280) + 1280 + 129280 * 1280
    keys = sum(903 + step for step in range(1, 101))  # all but the newest read, that one written
    outputs = 8 + 2 * 1280  # the token's id and embedding; a kernel that samples writes no logits
    moved = 100 * (2 * parameters + outputs) + keys * 2 * 12 * 1280 * 2
    found = floor(MODEL.ledger("decode", TWO_BY_THREE, attention), H200)
    assert found.bound == "bandwidth"
    held = 100 * 62_914_560  # of each step's bytes the L2 may hold as many from the step before
    assert found.time_ns == int((moved - held) / 4.8e12 * 1e9)


@pytest.mark.parametrize("attention", ATTENTION)
def test_vision_is_bound_by_the_tensor_cores_and_sam_is_most_of_it(attention: str) -> None:
    ledger = MODEL.ledger("vision", TWO_BY_THREE, attention)
    found, parts = floor(ledger, H200), floors(ledger, H200)
    assert found.bound == "tensor"
    assert found.time_ns == int(ledger.needed().tensor_flops / 989.5e12 * 1e9)
    assert parts["sam"].time_ns > 0.8 * found.time_ns


@given(points, st.sampled_from(list(DEVICES)))
def test_no_floor_is_above_the_kernel_limit_of_the_same_ledger(point: tuple[str, Workload, str], name: str) -> None:
    ledger = MODEL.ledger(*point)
    assert ledger.compulsory() <= ledger.total().moved_bytes
    assert floor(ledger, DEVICES[name]).time_ns <= kernel_limit(ledger, DEVICES[name])


@given(points, st.sampled_from(list(DEVICES)))
def test_no_component_has_a_higher_floor_than_its_stage(point: tuple[str, Workload, str], name: str) -> None:
    ledger, device = MODEL.ledger(*point), DEVICES[name]
    assert all(part.time_ns <= floor(ledger, device).time_ns for part in floors(ledger, device).values())


@given(points, st.sampled_from(["prompt_tokens", "new_tokens", "batch", "rows", "columns"]))
def test_no_floor_falls_as_work_grows(point: tuple[str, Workload, str], what: str) -> None:
    stage, work, attention = point
    if what in ("rows", "columns"):
        more = replace(work, grid=replace(work.grid, **{what: getattr(work.grid, what) + 1}))
    else:
        more = replace(work, **{what: getattr(work, what) + 1})
    before, after = (floor(MODEL.ledger(stage, each, attention), H200) for each in (work, more))
    assert after.tensor_ns >= before.tensor_ns
    assert after.vector_ns >= before.vector_ns
    assert after.bandwidth_ns >= before.bandwidth_ns


def test_twice_the_bandwidth_halves_a_floor_that_is_bound_by_it() -> None:
    ledger = MODEL.ledger("decode", TWO_BY_THREE)
    twice = replace(H200, bandwidth_bytes_per_s=2 * H200.bandwidth_bytes_per_s)
    assert floor(ledger, twice).time_ns == floor(ledger, H200).time_ns // 2
    vision = MODEL.ledger("vision", TWO_BY_THREE)
    assert floor(vision, twice).time_ns == floor(vision, H200).time_ns


def test_only_a_device_with_measured_ceilings_has_another_floor_by_them() -> None:
    ledger = MODEL.ledger("decode", TWO_BY_THREE)
    assert floor(ledger, H200.as_measured).time_ns == int(
        (ledger.needed().moved_bytes - 100 * H200.l2_bytes) / 4.25e12 * 1e9
    )
    assert DEVICES["l40s"].as_measured == DEVICES["l40s"]


def test_no_measured_ceiling_is_above_the_datasheets() -> None:
    for device in DEVICES.values():
        assert device.as_measured.tensor_flops_per_s <= device.tensor_flops_per_s
        assert device.as_measured.bandwidth_bytes_per_s <= device.bandwidth_bytes_per_s


@pytest.mark.parametrize("stage", STAGES)
def test_no_recorded_time_is_below_its_floor(stage: str) -> None:
    by_folder = {timed.gpu_folder(device.name): device for device in DEVICES.values()}
    recorded = timed.gpu_folders(BASELINES, MODEL.name)
    assert "nvidia-h200" in recorded
    for gpu in recorded:
        found = timed.read(timed.file_of(BASELINES, MODEL.name, gpu, stage), MODEL.name, gpu, stage)
        assert found
        for key, stored in found.items():
            least = floor(MODEL.ledger(stage, key.work, key.attention), by_folder[gpu])
            fastest = min(process.q1_ns for process in stored.baseline.processes)
            assert fastest >= least.time_ns, f"{gpu} {stage} {key.work.grid} {key.attention}: {least}"
