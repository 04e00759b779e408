"""A point profiled line by line on a CPU, by the path that a GPU takes: every line is found, and nothing is left."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from pytest_ocrsweep import CropGrid, Workload, load_model  # noqa: E402
from pytest_ocrsweep.errors import MeasureError  # noqa: E402
from pytest_ocrsweep.model.run_order import runs  # noqa: E402
from pytest_ocrsweep.model.stages import STAGES, point  # noqa: E402
from pytest_ocrsweep.vendor_model.line_profile import _dealt, profile_point  # noqa: E402
from pytest_ocrsweep.vendor_model.profile_match import Operation  # noqa: E402
from pytest_ocrsweep.vendor_model.timing import Vendor  # noqa: E402

MODEL = load_model("deepseek-ocr-tiny")
WORKS = [Workload(CropGrid(1, 1), new_tokens=2), Workload(CropGrid(1, 2), new_tokens=2, batch=2)]
PAD = "pad_bias"  # a line of the GPU's memory-efficient attention alone


@pytest.fixture(scope="module")
def vendor() -> Vendor:
    return Vendor(MODEL.architecture, torch.device("cpu"))


@pytest.mark.parametrize(
    "work", [Workload(CropGrid(1, 1), new_tokens=2), Workload(CropGrid(1, 2), new_tokens=2, batch=2)]
)
@pytest.mark.parametrize("attention", ["eager", "flash"])
@pytest.mark.parametrize("stage", STAGES)
def test_every_line_of_the_ledger_is_measured(vendor: Vendor, stage: str, attention: str, work: Workload) -> None:
    profile = profile_point(vendor, MODEL, stage, work, attention)
    program = MODEL.program(stage, work.resolution, bool(work.grid.crops), attention)
    expected = {run.path for run in runs(program.sequence, point(work, MODEL.architecture.decoder))}
    assert {line.path for line in profile.lines} | {p for p in expected if p.endswith(PAD)} == expected
    assert all(line.time_ns > 0 for line in profile.lines)
    assert profile.device_ns > 0


def test_a_kernel_without_an_operation_is_an_error_that_names_it() -> None:
    operations = [Operation("add", (0, 1, 2, 3), (("add_kernel", 1.0),))]
    assert _dealt(operations, [("add_kernel", 5.0)]) == [(("add_kernel", 5.0),)]
    with pytest.raises(MeasureError, match="kernel 1 of 2, stray_kernel, belongs to no operation"):
        _dealt(operations, [("add_kernel", 5.0), ("stray_kernel", 1.0)])


def test_a_kernel_that_the_profiler_lists_twice_counts_once() -> None:
    operations = [
        Operation("add", (0, 1, 2, 3), (("a", 1.0), ("a", 1.0))),
        Operation("mul", (0, 1, 2, 3), (("b", 1.0),)),
    ]
    assert _dealt(operations, [("a", 5.0), ("b", 2.0)]) == [(("a", 5.0),), (("b", 2.0),)]
