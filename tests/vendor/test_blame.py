"""A component made slower is named by the failure: through pytest, on a CPU with the tiny model."""

from __future__ import annotations

import json

import pytest

torch = pytest.importorskip("torch", reason="the reference model needs the extra [vendor]")
pytest.importorskip("transformers", reason="the reference model needs the extra [vendor]")

from small_pages import SMALL, small  # noqa: E402

from pytest_ocrsweep import CropGrid, Workload  # noqa: E402
from pytest_ocrsweep.baselines import gate  # noqa: E402
from pytest_ocrsweep.baselines.point_profile import PointProfile  # noqa: E402
from pytest_ocrsweep.baselines.sampling import TimeCap  # noqa: E402
from pytest_ocrsweep.errors import MeasureError  # noqa: E402
from pytest_ocrsweep.model.stages import STAGES  # noqa: E402
from pytest_ocrsweep.vendor_model import slowed, timing  # noqa: E402
from pytest_ocrsweep.vendor_model.clocks import HostClock  # noqa: E402
from pytest_ocrsweep.vendor_model.line_profile import profile_point  # noqa: E402

CPU = torch.device("cpu")
PAGE = small(Workload(CropGrid(1, 1), new_tokens=3, resolution="tiny"))
MS = 10**6
DELAY_NS = 200 * MS  # no component of a small page takes so long


@pytest.fixture(scope="module")
def vendor() -> timing.Vendor:
    return timing.Vendor(SMALL.architecture, CPU, rule=TimeCap(0.01))


@pytest.fixture
def recorded(measured):
    """The project, its point recorded with its lines."""
    measured.file.unlink()
    assert measured.run("--ocrsweep-update", "--ocrsweep-profile").ret == 0
    return measured


def point_of(file) -> dict[str, object]:
    (point,) = json.loads(file.read_text())["points"]
    return point


def components_at(stage: str) -> list[str]:
    parts = {"vision": ("sam", "clip", "projector"), "prefill": tuple(slowed.MODULES), "decode": ("decoder", "head")}
    ours = [name for name in slowed.MODULES if name != "query_encoder"]
    return [name for name in ours if name.startswith(parts[stage])]


@pytest.mark.parametrize(
    "stage", [pytest.param(stage, marks=() if stage == "vision" else pytest.mark.slow) for stage in STAGES]
)
def test_a_delay_of_any_component_is_profiled_as_its_own(vendor, stage, monkeypatch):
    monkeypatch.setattr(HostClock, "batch", lambda clock, times: [0] * times)  # it would time three calls more
    for component in components_at(stage):
        vendor.delay = slowed.Delay(component, DELAY_NS)
        try:
            profile = PointProfile.measured(profile_point(vendor, SMALL, stage, PAGE, "flash"))
        finally:
            vendor.delay = None
        slow = [name for name, part in profile.components.items() if part.time_ns >= DELAY_NS]
        assert slow == [component]


def test_a_delay_slows_the_measured_region(vendor):
    vendor.delay = slowed.Delay("decoder/attn", 20 * MS)
    try:
        with vendor.timed("decode", PAGE, "flash") as point:
            assert point.sample().min >= PAGE.new_tokens * 20 * MS
    finally:
        vendor.delay = None


def test_a_component_without_modules_is_refused_by_name(vendor):
    vendor.delay = slowed.Delay("decoder/rope", 1)
    try:
        with pytest.raises(MeasureError, match="component decoder/rope cannot be slowed; choose one of sam, "):
            profile_point(vendor, SMALL, "decode", PAGE, "flash")
    finally:
        vendor.delay = None


def test_an_update_records_lines_if_it_profiles(recorded):
    profile = point_of(recorded.file)["profile"]
    assert profile.keys() == {"kernels", "gap_ns", "lines"}
    assert {"decoder/attn/fused", "head"} <= profile["lines"].keys()


@pytest.mark.parametrize(("factor", "processes"), [(1, 2), (1 / 1000, 1)], ids=["agrees", "disagrees"])
def test_an_update_without_a_profile_keeps_the_recorded_lines(recorded, monkeypatch, factor, processes):
    monkeypatch.setattr(gate, "FLOOR", 300.0)  # a busy machine moves by less
    profile = point_of(recorded.file)["profile"]
    recorded.scale(factor)
    assert recorded.run("--ocrsweep-update").ret == 0
    after = point_of(recorded.file)
    assert (len(after["processes"]), after["profile"]) == (processes, profile)


@pytest.mark.usefixtures("without_charts")
def test_a_profile_is_in_the_report(measured):
    measured.run("--ocrsweep-profile", "--ocrsweep-report=out")
    (point,) = json.loads((measured.path / "out" / "sweep.json").read_text())["points"]
    profile = point["vendor"]["profile"]
    assert sum(line["time_ns"] for line in profile["lines"].values()) + profile["gap_ns"] == profile["device_ns"]
    assert next(iter(profile["components"])) == "embed"
    assert profile["components"]["head"] == profile["lines"]["head"]
    assert profile["causes"] == []


@pytest.mark.usefixtures("without_charts")
def test_a_failure_names_the_component_that_was_slowed(recorded):
    result = recorded.run("--ocrsweep-slowdown=decoder/attn:1000", "--ocrsweep-report=out")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(
        [
            "E *slower than its baseline: time +*",
            "E *what grew, in one call or a decode's last step:",
            "E *decoder/attn +* % (+* ns), +* % of the point: decoder/attn/q_proj +*",
        ]
    )
    (point,) = json.loads((recorded.path / "out" / "sweep.json").read_text())["points"]
    causes = point["vendor"]["profile"]["causes"]  # a busy machine may have held up another component meanwhile
    assert any(cause.startswith("decoder/attn ") for cause in causes)


def test_a_component_whose_time_is_not_recorded_cannot_be_slowed(measured):
    result = measured.run("--ocrsweep-slowdown=decoder/attn:100")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*no recorded time of decoder/attn; record it: --ocrsweep-update --ocrsweep-profile"])


@pytest.mark.parametrize("given", ["much", "sam", ":3", "sam:-1", "sam:1001"])
def test_a_slowdown_that_is_none_is_a_usage_error(measured, given):
    result = measured.run(f"--ocrsweep-slowdown={given}")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: --ocrsweep-slowdown: *COMPONENT:PERCENT such as sam:10, got {given}"])
