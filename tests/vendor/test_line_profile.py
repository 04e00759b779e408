"""A point profiled line by line on a CPU, by the path that a GPU takes: every line is found, and nothing is left."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from small_pages import SMALL, small  # noqa: E402

from pytest_ocrsweep import CropGrid, Model, Workload, load_model  # noqa: E402
from pytest_ocrsweep.errors import MeasureError  # noqa: E402
from pytest_ocrsweep.model.attention import ATTENTION  # noqa: E402
from pytest_ocrsweep.model.run_order import runs  # noqa: E402
from pytest_ocrsweep.model.stages import STAGES, point  # noqa: E402
from pytest_ocrsweep.vendor_model.line_profile import _dealt, profile_point  # noqa: E402
from pytest_ocrsweep.vendor_model.profile_match import Operation  # noqa: E402
from pytest_ocrsweep.vendor_model.timing import Vendor  # noqa: E402

MODELS = {"small": SMALL, "its own": load_model("deepseek-ocr-tiny")}
WORKS = [Workload(CropGrid(1, 1), new_tokens=2), Workload(CropGrid(1, 2), new_tokens=2, batch=2)]
PAD = "pad_bias"  # a line of the GPU's memory-efficient attention alone


@pytest.fixture(scope="module")
def vendors() -> dict[str, Vendor]:
    return {sides: Vendor(model.architecture, torch.device("cpu")) for sides, model in MODELS.items()}


def lines(model: Model, stage: str, work: Workload, attention: str) -> list[str]:
    """The path of each run of a line."""
    program = model.program(stage, work.resolution, bool(work.grid.crops), attention)
    return [run.path for run in runs(program.sequence, point(work, model.architecture.decoder))]


@pytest.mark.parametrize("sides", ["small", pytest.param("its own", marks=pytest.mark.slow)])
@pytest.mark.parametrize("work", WORKS)
@pytest.mark.parametrize("attention", ATTENTION)
@pytest.mark.parametrize("stage", STAGES)
def test_every_line_of_the_ledger_is_measured(vendors, stage: str, attention: str, work: Workload, sides: str) -> None:
    model = MODELS[sides]
    work = work.cut_by(model.architecture.tiling)
    profile = profile_point(vendors[sides], model, stage, work, attention)
    expected = {*lines(model, stage, work, attention)}
    assert {line.path for line in profile.lines} | {p for p in expected if p.endswith(PAD)} == expected
    assert all(line.time_ns > 0 for line in profile.lines)
    assert profile.device_ns > 0


@pytest.mark.parametrize("attention", ATTENTION)
@pytest.mark.parametrize("stage", STAGES)
def test_small_pages_have_every_line_of_large_ones(stage: str, attention: str) -> None:
    for work in WORKS:
        large = lines(MODELS["its own"], stage, work, attention)
        assert lines(SMALL, stage, small(work), attention) == large


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
