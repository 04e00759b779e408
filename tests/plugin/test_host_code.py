"""Calls whose cost is the host's CPU time: timed without a GPU, and recorded by the name of the CPU."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="its clocks need the extra [vendor]")

from pytest_ocrsweep.baselines.gpu_folder import gpu_folder  # noqa: E402
from pytest_ocrsweep.vendor_model import clocks, timing  # noqa: E402

RENDER = Path(__file__).parents[2] / "suites" / "render.py"
CPU = "Made-up CPU 9000"
TINY = ("--ocrsweep-set=model=deepseek-ocr-tiny",)


@pytest.fixture(autouse=True)
def host(monkeypatch: pytest.MonkeyPatch) -> None:
    """No GPU, a CPU of a known name, and no waiting."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setattr("cpuinfo.get_cpu_info", lambda: {"brand_raw": CPU})
    monkeypatch.setattr(timing, "WARM_UP_S", 0.0)


def call(what: str = "sum(range(100))", options: str = "host=True") -> str:
    return f"def test_it(ocrsweep):\n    ocrsweep.time('sum', lambda: {what}, {options})\n"


def recorded(project, name: str) -> Path:
    return project.path / "baselines/deepseek-ocr-tiny/own" / name / "timed" / gpu_folder(CPU) / "call.json"


def test_a_call_of_the_host_is_recorded_by_its_cpu_and_red_when_it_costs_more(project, monkeypatch):
    took = iter(range(10**6))
    monkeypatch.setattr(clocks.CpuClock, "_once", lambda self: self._call() * 1000 + next(took) % 3)
    project.write("suites/test_own.py", call())
    project.run(*TINY, "suites/test_own.py", "--ocrsweep-update").assert_outcomes(passed=1)
    (point,) = json.loads(recorded(project, "sum").read_text())["points"]
    assert point["clock"] == "cpu-time"
    project.run(*TINY, "suites/test_own.py").assert_outcomes(passed=1)
    project.write("suites/test_own.py", call("sum(range(120))"))
    result = project.run(*TINY, "suites/test_own.py")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([f"E *sum on {CPU}: slower than its baseline: time +44.2 %*"])


def test_time_that_a_call_sleeps_costs_the_host_nothing(project):
    import time

    assert max(clocks.CpuClock(lambda: time.sleep(0.05)).batch(3)) < 25_000_000


def test_a_call_of_less_than_a_step_of_the_clock_is_one_line(project, monkeypatch):
    monkeypatch.setattr(clocks.CpuClock, "_once", lambda self: 0)
    project.write("suites/test_own.py", call())
    result = project.run(*TINY, "suites/test_own.py", "--ocrsweep-update")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["host=True: a call took 0 ns of CPU time by this host's clock; do more in a call"])
    result.stdout.no_fnmatch_line("*Error:*")


def test_the_gates_own_test_slows_a_call_of_the_host(project):
    project.write("suites/test_own.py", call("sum(range(100000))"))
    project.run(*TINY, "suites/test_own.py", "--ocrsweep-update").assert_outcomes(passed=1)
    result = project.run(*TINY, "suites/test_own.py", "--ocrsweep-slowdown=900")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([f"E *sum on {CPU}: slower than its baseline: *"])


def test_a_call_of_which_the_gate_cannot_see_3_percent_is_named(project, monkeypatch):
    project.write("suites/test_own.py", call())
    for ns in (1_000_000, 1_015_000):
        monkeypatch.setattr(clocks.CpuClock, "_once", lambda self, ns=ns: ns)
        project.run(*TINY, "suites/test_own.py", "--ocrsweep-update").assert_outcomes(passed=1)
    result = project.run(*TINY, "suites/test_own.py")
    result.stdout.fnmatch_lines(["1 point cannot see 3 %: the margin of sum is *"])


def test_a_workload_of_no_grid_is_one_line(project):
    project.write("suites/test_own.py", "def test_it(ocrsweep):\n    ocrsweep.workload('2by3')\n")
    result = project.run(*TINY, "suites/test_own.py")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["ocrsweep.workload: '2by3' is not a crop grid; did you mean 2x3[?]"])
    result.stdout.no_fnmatch_line("*Traceback*")


def test_rendering_a_page_is_a_point_of_its_grid(project):
    project.write("suites/render.py", RENDER.read_text())
    result = project.run(*TINY, "suites/render.py", "--ocrsweep-grids=2x3", "--ocrsweep-update")
    result.assert_outcomes(passed=1)
    assert recorded(project, "render-2x3").is_file()


def test_times_of_the_host_are_never_pruned_as_a_run_need_not_name_their_suites(project, monkeypatch):
    for clock in (clocks.HostClock, clocks.CpuClock):
        monkeypatch.setattr(clock, "_once", lambda self: 1000)
    for file in (project.path / "suites").glob("*.py"):
        file.unlink()
    project.write("suites/host.py", call())
    project.run(*TINY, "suites/host.py", "--ocrsweep-update").assert_outcomes(passed=1)
    project.write("suites/test_host.py", call().replace("sum'", "other'", 1))
    project.run(*TINY, "suites/test_host.py", "--ocrsweep-update").assert_outcomes(passed=1)
    gpu = (*TINY, "--ocrsweep-set=vendor.device=cpu")
    for name in ("gone", "here"):
        project.write("suites/test_own.py", call(options="").replace("sum'", f"{name}'", 1))
        project.run(*gpu, "suites/test_own.py", "--ocrsweep-update").assert_outcomes(passed=1)
    project.run(*gpu, "--ocrsweep-prune").assert_outcomes(passed=2)
    left = project.path / "baselines/deepseek-ocr-tiny/own/gone/timed/cpu/call.json"
    counts = [len(json.loads(path.read_text())["points"]) for path in (left, recorded(project, "sum"))]
    assert counts == [0, 1]


@pytest.mark.slow
def test_calls_of_the_host_are_timed_one_at_a_time_by_many_workers(project):
    project.write("suites/render.py", RENDER.read_text())
    result = project.run(*TINY, "suites/render.py", "--ocrsweep-grids=1x1,1x2,2x1", "-n2", "--ocrsweep-update")
    result.assert_outcomes(passed=3)


def test_a_host_has_no_cuda_graph(project):
    project.write("suites/test_own.py", call(options="host=True, cuda_graph=True"))
    result = project.run(*TINY, "suites/test_own.py")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["ocrsweep.time: cuda_graph=True and host=True exclude each other: *"])


def test_a_run_that_only_counts_renders_nothing(project):
    project.write("suites/render.py", RENDER.read_text())
    result = project.run(*TINY, "suites/render.py", "--ocrsweep-grids=1x1", "--ocrsweep-analytic-only", "-rs")
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(["render-1x1 was not timed: --ocrsweep-analytic-only"])


def test_without_torch_rendering_is_skipped_with_the_remedy(project, monkeypatch):
    project.write("suites/render.py", RENDER.read_text())
    monkeypatch.setitem(sys.modules, "torch", None)
    result = project.run(*TINY, "suites/render.py", "--ocrsweep-grids=1x1", "-rs")
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(["SKIPPED *rendering needs the reference model's packages: the extra [[]vendor[]]"])


def test_the_whole_folder_of_suites_leaves_rendering_out(project):
    result = project.run(*TINY, str(RENDER.parent), "--collect-only", "-q")
    result.stdout.no_fnmatch_line("*render*")
