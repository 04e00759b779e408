"""How fast a device works off a batch, and the batch that it serves in time: as expected, when slow, and by floors."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pytest_ocrsweep import CropGrid, Workload, load_model
from pytest_ocrsweep.hardware.estimate import estimate
from pytest_ocrsweep.hardware.roofline import floor
from pytest_ocrsweep.hardware.serving import Speed, served, speeds
from pytest_ocrsweep.hardware.sizing import Target, batches
from pytest_ocrsweep.sweep.config import devices

MODEL, DEVICES = load_model(), devices()
WORK = Workload(CropGrid(2, 3), batch=2, new_tokens=50)
TARGET = Target(ttft_s=0.5, tpot_s=0.01)
KNOWN = [name for name in DEVICES if name != "mi300x"]


def test_pages_a_second_are_a_batch_over_its_prefill_and_its_decode() -> None:
    assert Speed.of(WORK, 10**9, 3 * 10**9) == Speed(10**9, 60_000_000, 0.5)


def test_speeds_are_the_estimates_of_prefill_and_decode() -> None:
    found = speeds(MODEL, WORK, DEVICES["h100"], "eager")
    ledgers = [MODEL.ledger(stage, WORK, "eager") for stage in ("prefill", "decode")]
    estimates = [estimate(ledger, DEVICES["h100"]) for ledger in ledgers]
    assert found.expected == Speed.of(WORK, *(each.time_ns for each in estimates))
    assert found.slow == Speed.of(WORK, *(each.high_ns for each in estimates))
    assert found.fast == Speed.of(WORK, *(each.low_ns for each in estimates))
    assert found.floor == Speed.of(WORK, *(floor(ledger, DEVICES["h100"]).time_ns for ledger in ledgers))


@pytest.mark.parametrize("name", KNOWN)
def test_a_served_batch_keeps_the_target_and_one_page_more_does_not(name: str) -> None:
    found = served(MODEL, WORK, DEVICES[name], TARGET)
    assert found.batch is not None
    at, above = (speeds(MODEL, replace(WORK, batch=n), DEVICES[name]) for n in (found.batch, found.batch + 1))
    assert at == found.speeds
    assert at.expected is not None
    assert above.expected is not None
    assert at.expected.keeps(TARGET)
    assert not above.expected.keeps(TARGET) or found.batch == found.most_batch


@pytest.mark.parametrize("name", KNOWN)
def test_the_safe_batch_is_the_smallest_and_the_floors_the_largest(name: str) -> None:
    found = served(MODEL, WORK, DEVICES[name], TARGET)
    assert (found.safe_batch or 0) <= (found.batch or 0) <= (found.most_batch or 0)
    assert found.most_batch == batches(MODEL, WORK, [DEVICES[name]], TARGET)[DEVICES[name].name]


def test_a_device_without_a_calibration_has_floors_alone() -> None:
    found = served(MODEL, WORK, DEVICES["mi300x"], TARGET)
    assert (found.batch, found.safe_batch) == (None, None)
    assert found.most_batch is not None
    assert found.speeds == speeds(MODEL, replace(WORK, batch=found.most_batch), DEVICES["mi300x"])
    assert found.speeds.expected is found.speeds.slow is found.speeds.fast is None


def test_a_target_that_nothing_keeps_has_no_batch() -> None:
    found = served(MODEL, WORK, DEVICES["h100"], Target(ttft_s=1e-6, tpot_s=1))
    assert (found.batch, found.safe_batch, found.most_batch, found.speeds) == (None, None, None, None)
