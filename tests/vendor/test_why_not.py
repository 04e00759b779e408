"""Without a GPU or the extra, points are counted only, and the reason is said once or fails."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="the reference model needs the extra [vendor]")
pytest.importorskip("transformers", reason="the reference model needs the extra [vendor]")

from measured import TINY  # noqa: E402

from pytest_ocrsweep.sweep import meter  # noqa: E402


def no_visible_gpu(monkeypatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")


def no_driver(monkeypatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(meter, "_has_driver", lambda: False)


def no_usable_gpu(monkeypatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(meter, "_has_driver", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


def no_extra(monkeypatch) -> None:
    monkeypatch.setattr(meter, "find_spec", lambda name: None)


LACKING = {
    "visible": (no_visible_gpu, "no GPU: CUDA_VISIBLE_DEVICES is empty"),
    "driver": (no_driver, "no GPU: this machine has no NVIDIA driver"),
    "usable": (no_usable_gpu, "no GPU: torch finds none that it can use"),
    "extra": (no_extra, "torch is not installed (pip install 'pytest-ocrsweep[vendor]')"),
}


@pytest.mark.parametrize("lacking", LACKING)
def test_without_a_gpu_points_pass_on_what_is_counted_and_the_reason_is_said_once(measured, monkeypatch, lacking):
    hide, reason = LACKING[lacking]
    hide(monkeypatch)
    result = measured.run(on=(*TINY, "--ocrsweep-grids=1x1"))
    assert result.ret == 0
    result.assert_outcomes(passed=1)
    assert result.outlines.count(f"nothing was measured: {reason}") == 1
    result.stdout.fnmatch_lines(["decode *1x1 *flash *PASS"])


@pytest.mark.parametrize("lacking", LACKING)
def test_where_the_vendor_is_required_the_reason_is_a_failure(measured, monkeypatch, lacking):
    hide, reason = LACKING[lacking]
    hide(monkeypatch)
    result = measured.run("--ocrsweep-require-vendor", on=(*TINY, "--ocrsweep-grids=1x1"))
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert any(f"--ocrsweep-require-vendor: nothing was measured: {reason}" in line for line in result.outlines)


def test_a_gpu_is_not_needed_to_measure_on_the_cpu(monkeypatch):
    no_visible_gpu(monkeypatch)
    assert meter.why_not("cpu") is None


def test_the_extra_is_needed_on_every_device(monkeypatch):
    no_extra(monkeypatch)
    assert meter.why_not("cpu") == meter.why_not("cuda") == LACKING["extra"][1]
