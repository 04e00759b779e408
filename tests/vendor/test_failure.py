"""A device that runs out of memory costs the point and no other; one that fails times nothing any more."""

from __future__ import annotations

import json
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace

import pytest

torch = pytest.importorskip("torch", reason="the vendor model needs the extra [vendor]")
pytest.importorskip("transformers", reason="the vendor model needs the extra [vendor]")

from pytest_ocrsweep import CropGrid  # noqa: E402
from pytest_ocrsweep.baselines.sampling import Samples, TimeCap  # noqa: E402
from pytest_ocrsweep.errors import DeviceLost, OutOfMemory  # noqa: E402
from pytest_ocrsweep.model.analytic import Model  # noqa: E402
from pytest_ocrsweep.sweep.config import compose  # noqa: E402
from pytest_ocrsweep.sweep.meter import Meter  # noqa: E402
from pytest_ocrsweep.sweep.timed_point import TimedPoint, Yardstick  # noqa: E402
from pytest_ocrsweep.vendor_model import clocks, failure, timing  # noqa: E402

SETTINGS = ("model=deepseek-ocr-tiny", "vendor.device=cpu", "workload.resolution=tiny")
ON_CPU = tuple(f"--ocrsweep-set={text}" for text in SETTINGS[:2])
ILLEGAL = "CUDA error: an illegal memory access was encountered"


def ask_for_too_much() -> None:
    torch.empty(1 << 60, dtype=torch.uint8)


def fail_on_the_gpu() -> None:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 40.00 GiB.")


def fail_in_a_capture() -> None:
    try:
        fail_on_the_gpu()
    finally:
        raise RuntimeError("CUDA error: operation failed due to a previous error during capture")


def fail_in_cublas() -> None:
    raise RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`")


def fail_in_python() -> None:
    raise MemoryError


def fail_otherwise() -> None:
    raise RuntimeError("shape mismatch")


def access_illegally() -> None:
    raise RuntimeError(ILLEGAL)


RUNS_OUT = [ask_for_too_much, fail_on_the_gpu, fail_in_a_capture, fail_in_cublas, fail_in_python]


def raised(fail) -> BaseException:
    with pytest.raises((RuntimeError, MemoryError)) as error:
        fail()
    return error.value


# What an error means


@pytest.mark.parametrize("fail", RUNS_OUT)
def test_memory_that_runs_out_is_known_whoever_says_so(fail):
    assert failure.out_of_memory(raised(fail))


@pytest.mark.parametrize("fail", [fail_otherwise, access_illegally])
def test_other_errors_are_no_lack_of_memory(fail):
    assert not failure.out_of_memory(raised(fail))


def test_a_gpu_that_answers_with_its_error_again_is_lost(monkeypatch):
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: access_illegally())
    assert failure.lost(torch.device("cuda")) == ILLEGAL
    assert failure.lost(torch.device("cpu")) is None
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: None)
    assert failure.lost(torch.device("cuda")) is None


def test_a_capture_without_memory_is_not_timed_by_another_clock(monkeypatch):
    monkeypatch.setattr(clocks, "GraphClock", lambda *_: fail_in_a_capture())
    with pytest.raises(RuntimeError, match="capture"):
        clocks.device_clock(torch.device("cuda"), pytest.fail)


# One point after another


@pytest.fixture
def meter(monkeypatch) -> Meter:
    monkeypatch.setattr(timing, "WARM_UP_S", 0.0)
    settings = compose(SETTINGS)
    made = Meter(settings, Model(settings.model))
    made.vendor.rule = TimeCap(0.01)
    return made


def measured(meter: Meter):
    work = meter.settings.workload.on(CropGrid(1, 1))
    return meter.measure(TimedPoint("decode", work, "flash"), Yardstick())


@pytest.mark.parametrize("at", ["building", "warming", "capturing", "sampling"])
def test_a_point_without_memory_frees_it_and_the_next_is_measured(meter, monkeypatch, at):
    place = {
        "building": (timing.build, "build"),
        "warming": (timing, "HostClock"),
        "capturing": (timing, "device_clock"),
        "sampling": (timing.PreparedPoint, "sample"),
    }[at]
    held = []

    def fail(*_, **__):
        tensor = torch.zeros(8)
        held.append(weakref.ref(tensor))
        held.extend(map(weakref.ref, meter.vendor._built.values()))
        ask_for_too_much()

    with monkeypatch.context() as broken:
        broken.setattr(*place, fail)
        with pytest.raises(OutOfMemory, match=r"^out of memory: cpu has [\d.]+ GB, of which [\d.]+ GB are free$"):
            measured(meter)
    assert len(held) == (1 if at == "building" else 2)
    assert [reference() for reference in held] == [None] * len(held)
    assert measured(meter).measurement.device_ns.median > 0


def test_an_error_of_another_kind_stays_what_it_is(meter, monkeypatch):
    monkeypatch.setattr(timing.PreparedPoint, "sample", lambda _: fail_otherwise())
    with pytest.raises(RuntimeError, match="shape mismatch"):
        measured(meter)


def test_a_device_that_fails_is_known_to_have(meter, monkeypatch):
    monkeypatch.setattr(timing.PreparedPoint, "sample", lambda _: access_illegally())
    monkeypatch.setattr(failure, "lost", lambda device: ILLEGAL)
    with pytest.raises(DeviceLost, match=ILLEGAL):
        measured(meter)
    assert meter.lost == "the device failed at decode 1x1 flash"


# Through pytest


class Fake:
    """A vendor's model that takes 1 ms at each grid, and fails at 1x2."""

    def __init__(self, fail) -> None:
        self.device, self.fail, self.measured = torch.device("cpu"), fail, []

    def forget(self) -> None:
        """It holds nothing."""

    @contextmanager
    def timed(self, stage, work, attention, page, *, count=False) -> Iterator[SimpleNamespace]:
        self.measured.append(str(work.grid))
        if str(work.grid) == "1x2":
            self.fail()
        samples = Samples((10**6,) * 9, "it is enough")
        yield SimpleNamespace(
            clock="host",
            experts=None,
            kernels=None,
            peak_bytes=None,
            wall=samples,
            sample=lambda: samples,
            tensor_flops=7,
            token_ns=lambda: None,
            energy=lambda: None,
        )


@pytest.fixture
def run(project, monkeypatch):
    """Runs decode with flash at three grids, of which the second fails as it is told to."""

    def run(fail, *arguments: str):
        fake = Fake(fail)
        monkeypatch.setattr(Meter, "vendor", fake)
        result = project.run("suites/test_decode.py", "-k", "flash", *ON_CPU, "--ocrsweep-update", *arguments)
        return result, fake.measured

    return run


def recorded_grids(project) -> list[str]:
    """Of counted numbers and of times alike."""
    folder = project.path / "baselines" / "deepseek-ocr-tiny"
    both = [json.loads((folder / name).read_text()) for name in ("decode.json", "timed/cpu/decode.json")]
    counted, timed = ([point["grid"] for point in found["points"]] for found in both)
    assert counted == timed
    return counted


def test_a_point_without_memory_fails_by_what_it_needs_and_the_rest_go_on(project, run):
    result, measured = run(fail_on_the_gpu)
    assert list(dict.fromkeys(measured)) == ["1x1", "1x2", "2x3"]
    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines(
        [
            "E *Failed: decode 1x2 flash: out of memory: cpu has * GB, of which * GB are free, and the point needs at "
            "least * GB (weights *, KV cache *, activations *): make it smaller, free the device of others, run it by "
            "itself, or count it only (--ocrsweep-analytic-only)"
        ]
    )
    result.stdout.fnmatch_lines(["decode *1x2 *flash * FAIL"])
    assert recorded_grids(project) == ["1x1", "2x3"]


def test_after_a_device_failed_nothing_is_timed_and_that_is_said_once(project, run, monkeypatch):
    monkeypatch.setattr(failure, "lost", lambda device: ILLEGAL)
    result, measured = run(access_illegally)
    assert list(dict.fromkeys(measured)) == ["1x1", "1x2"]
    result.assert_outcomes(passed=1, failed=1, skipped=1)
    failed = (
        f"E *Failed: decode 1x2 flash on cpu: the device failed, and this process can time nothing more ({ILLEGAL})"
    )
    result.stdout.fnmatch_lines([failed, "decode *1x2 *flash * FAIL", "decode *2x3 *flash * NO SAMPLE"])
    told = "a device failed: 1 points after that were counted, not timed; run them again"
    assert result.outlines.count(told) == 1
    assert recorded_grids(project) == ["1x1"]


def test_where_the_vendor_is_required_a_point_after_the_failure_fails_too(run, monkeypatch):
    monkeypatch.setattr(failure, "lost", lambda device: ILLEGAL)
    result, _ = run(access_illegally, "--ocrsweep-require-vendor")
    result.assert_outcomes(passed=1, failed=2)
    result.stdout.fnmatch_lines(["E *Failed: not timed: the device failed at decode 1x2 flash"])
