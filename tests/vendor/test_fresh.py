"""A round in a process of its own, on a CPU with the tiny model."""

from __future__ import annotations

from statistics import median

import pytest

pytest.importorskip("torch", reason="the reference model needs the extra [vendor]")
pytest.importorskip("transformers", reason="the reference model needs the extra [vendor]")

from small_pages import SIDES

from pytest_ocrsweep import CropGrid
from pytest_ocrsweep.sweep.config import compose
from pytest_ocrsweep.sweep.fresh import FreshProcesses
from pytest_ocrsweep.sweep.timed_point import TimedPoint

TINY = ("model=deepseek-ocr-tiny", *SIDES, "workload.resolution=tiny", "vendor.device=cpu")
POINT = TimedPoint("vision", compose(TINY).workload.on(CropGrid(1, 1)), "flash")


def test_a_new_process_times_the_point_and_its_time_is_counted(alone):
    processes = FreshProcesses(TINY, seconds=300)
    samples = processes.round(POINT)
    assert samples is not None
    assert len(samples.ns) >= 5
    assert 1e5 < median(samples.ns) < 1e10
    assert 0 < 300 - processes.seconds < 120
