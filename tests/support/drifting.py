"""A made-up history: one point whose five first processes agree, then one odd process, then a drift."""

from __future__ import annotations

from pathlib import Path

from pytest_ocrsweep import CropGrid, Workload
from pytest_ocrsweep.baselines import timed
from pytest_ocrsweep.baselines.attribution import Observed
from pytest_ocrsweep.baselines.counted import PointKey
from pytest_ocrsweep.baselines.evidence import Process
from pytest_ocrsweep.baselines.measurement import Environment
from pytest_ocrsweep.baselines.recorded_time import TimedProcess

H200 = ("deepseek-ocr", "nvidia-h200", "decode")
NS = 223_000_000
KEY = PointKey(Workload(CropGrid(2, 3)), "flash")
PERCENTS = (0.0, 0.2, -0.1, 0.1, -0.2, 5.1, 0.1, 0.6, 1.1, 1.7, 2.1)


def time(ns: int, run: int = 0, **changes: object) -> TimedProcess:
    """A process of the run with this number, on one of two cards."""
    here = Environment(
        *(
            f"node{1 + run % 2}",
            "NVIDIA H200",
            "580.1",
            "2.11.0",
            "5.23.0",
            "bf16",
            "random, seed 0",
            f"{0x5EED000 + run:07x}".ljust(40, "0"),
        ),
        gpu_uuid=f"GPU-{0x3F2A10 + run % 2:08x}-0000",
    )
    process = Process(ns, round(ns * 0.999), round(ns * 1.001), 30)
    observed = Observed(tensor_flops=2**40, kernels=771, peak_bytes=4096, sm_clock_mhz=1980)
    fields = {"clock": "cuda-graph", "experts": "batched_mm", "environment": here} | changes
    return TimedProcess(observed=observed, wall_median_ns=3 * ns, process=process, **fields)


def record(baselines: Path, percents: tuple[float, ...] = PERCENTS) -> Path:
    """Processes so many percent slower than the first, one every two weeks; gives the file of times."""
    file = timed.file_of(baselines, *H200)
    for run, percent in enumerate(percents):
        date = f"2026-{3 + run // 2:02d}-{1 + 14 * (run % 2):02d}T12:00:00Z"
        timed.record(file, *H200, {KEY: (time(round(NS * (1 + percent / 100)), run), None)}, date)
    return file
