"""Points of an engine: timed through whatever can serve a load, recorded, gated and refused as all others are."""

from __future__ import annotations

import json
import sys
from dataclasses import replace

import pytest
from engines.runners import HELLO, NEXT, done, failed

from pytest_ocrsweep.engines.about import About
from pytest_ocrsweep.engines.served import Load, Request, ServedLoad
from pytest_ocrsweep.errors import EngineError, EngineLost
from pytest_ocrsweep.model.geometry import CropGrid, Workload
from pytest_ocrsweep.sweep.engine_meter import EngineMeter, page_of

MS = 10**6
SUITE = """
def test_{stage}(ocrsweep, grid, attention):
    ocrsweep.check("{stage}", grid, attention)
"""
TO_ENGINE = (
    "--ocrsweep-set=engine=vllm",
    "--ocrsweep-set=engine.python=/anywhere",
    "--ocrsweep-set=engine.folder=/any",
)
CHOSEN = ("--ocrsweep-grids=1x1", "-p", "no:benchmark")


class Steady:
    """An engine that takes 30 ms to a first token and 2 ms a token after it, and is closed once."""

    def __init__(self, slower: float = 1.0, tokens_off: int = 0, weights: int | None = None) -> None:
        self.slower, self.tokens_off, self.weights, self.closed, self.loads = slower, tokens_off, weights, 0, []
        self.at_start: tuple[int, ...] = ()  # the host's speed when the engine has started
        self.host_ns: list[int | tuple[int, int]] = []  # after, or around, each load; then 100

    def about(self) -> About:
        return About(
            "vllm",
            version="0.26.0",
            versions={"torch": "2.11.0"},
            gpu="NVIDIA H200",
            weight_bytes=self.weights,
            host_ns=self.at_start,
        )

    def run(self, load: Load) -> ServedLoad:
        self.loads.append(load)
        slower = self.slower * (1 + load.slowdown_percent / 100)
        requests = tuple(self._request(load, i, slower) for i in range(load.pages))
        took = self.host_ns.pop(0) if self.host_ns else 100
        return ServedLoad(load, requests, requests[-1].last_ns, host_ns=(100, took) if isinstance(took, int) else took)

    def _request(self, load: Load, i: int, slower: float) -> Request:
        sent, jitter = i * 300 * MS, i % 3 * MS // 50
        first = sent + round(30 * MS * slower) + jitter
        last = first + round(2 * MS * slower) * (load.new_tokens - 1) + jitter
        return Request(sent, first, last, load.image_tokens + len(load.prompt) + self.tokens_off, load.new_tokens)

    def close(self) -> None:
        self.closed += 1


@pytest.fixture
def engine(monkeypatch):
    """Runs have this engine; a test changes it."""
    steady = Steady()
    monkeypatch.setattr(EngineMeter, "_opened", lambda self: steady)
    return steady


def run(project, *arguments):
    return project.run(*CHOSEN, *TO_ENGINE, *arguments)


def run_script(project, code, *arguments):
    """A run whose engine's interpreter is a program of this code."""
    python = project.write("python", f"#!{sys.executable}\n{code}")
    python.chmod(0o755)
    project.write("model/config.json", "{}")
    engine = ("engine=vllm", f"engine.python={python}", f"engine.folder={project.path / 'model'}")
    return project.run(*CHOSEN, *(f"--ocrsweep-set={each}" for each in engine), "-rs", *arguments)


def test_points_are_recorded_pass_again_and_fail_when_the_engine_is_slower(project, engine):
    result = run(project, "--ocrsweep-update", "-k", "decode or prefill")
    result.assert_outcomes(passed=2)
    folder = project.path / "baselines" / "deepseek-ocr" / "vllm" / "timed" / "nvidia-h200"
    (point,) = json.loads((folder / "decode.json").read_text())["points"]
    assert (point["clock"], point["processes"][0]["median_ns"]) == ("engine", pytest.approx(200 * MS, rel=0.01))
    run(project, "-k", "decode or prefill").assert_outcomes(passed=2)
    engine.slower = 1.2
    result = run(project, "-k", "decode or prefill")
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(["*decode 1x1 flash on NVIDIA H200: slower than its baseline: time +20.0 %*"])
    assert engine.closed == 3


def test_prefill_and_decode_of_one_page_are_one_load(project, engine):
    run(project, "--ocrsweep-update", "-k", "decode or prefill")
    assert len(engine.loads) == 3  # a first time takes two rounds; the second load of the one is the first of the other
    engine.loads.clear()
    run(project, "-k", "decode or prefill")
    assert len(engine.loads) == 1
    assert {load.concurrency for load in engine.loads} == {1}


def test_the_batch_of_the_workload_is_the_concurrency(project, engine):
    run(project, "-k", "decode", "--ocrsweep-set=workload.batch=8")
    assert {(load.concurrency, load.pages) for load in engine.loads} == {(8, 16)}


def test_a_slowdown_reaches_the_engine_and_fails_its_points(project, engine):
    run(project, "--ocrsweep-update", "-k", "decode")
    engine.loads.clear()
    run(project, "-k", "decode", "--ocrsweep-slowdown=20").assert_outcomes(failed=1)
    assert {load.slowdown_percent for load in engine.loads} == {20}


@pytest.mark.parametrize(
    ("asked", "line"),
    [
        (["--ocrsweep-profile"], "--ocrsweep-profile: the lines of vllm are not measured; "),
        (["--ocrsweep-set=vendor.energy_ms=500"], "vendor.energy_ms: the energy of a point is not measured on vllm; "),
        (["--ocrsweep-slowdown=decoder/attn:10"], "--ocrsweep-slowdown: the components of vllm cannot be slowed; "),
    ],
)
def test_what_an_engine_cannot_be_asked_is_refused(project, engine, asked, line):
    result = run(project, *asked)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: {line}leave it out, or choose engine=transformers"])
    assert not engine.loads


def test_a_server_cannot_be_slowed(project):
    server = ("--ocrsweep-set=engine=vllm", "--ocrsweep-set=engine.url=http://127.0.0.1:9")
    result = project.run(*CHOSEN, *server, "--ocrsweep-slowdown=5")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: --ocrsweep-slowdown: a server cannot be slowed, and vllm is one; *"])


def test_vision_is_counted_and_has_no_time_of_its_own(project, engine):
    project.write("suites/test_vision.py", SUITE.format(stage="vision"))
    run(project, "--ocrsweep-update", "-k", "vision").assert_outcomes(passed=1)
    assert not engine.loads
    assert not (project.path / "baselines" / "deepseek-ocr" / "vllm" / "timed").exists()


def test_an_engine_that_reads_other_tokens_fails_its_points(project, engine):
    engine.tokens_off = 7
    result = run(project, "-k", "decode")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["*decode 1x1 flash: 1x1: the engine reads 290 tokens for a page where 283 are counted; *"]
    )


def test_an_engine_with_other_weights_serves_another_model(project, engine):
    engine.weights = 1_000
    result = run(project, "-k", "decode or prefill", "--ocrsweep-require-vendor")
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(["*the engine holds 1,000 bytes of weights, and deepseek-ocr has 6,671,008,256; *"])


def test_an_engine_that_cannot_start_is_not_started_again(project, monkeypatch):
    starts = []

    def opened(self):
        starts.append(self)
        raise EngineLost("engine.python=/anywhere: has no vLLM;", "pip install vllm")

    monkeypatch.setattr(EngineMeter, "_opened", opened)
    result = run(project, "-k", "decode or prefill")
    result.stdout.fnmatch_lines(["*engine.python=/anywhere: has no vLLM; pip install vllm*"])
    assert len(starts) == 1


ABOUT = {
    "dies": (NEXT + "sys.exit(3)\n", "died in 'about': exit code 3, its log is empty"),
    "fails": (failed("engine", "CUDA error: lost"), "failed in 'about': CUDA error: lost"),
    "refuses": (failed("refused", "not yet"), "failed in 'about': not yet"),
    "lies": (done([]), "answered 'about' with "),
}


@pytest.mark.parametrize("name", ABOUT)
def test_an_engine_that_fails_before_its_first_load_is_one_line_at_every_point(project, name):
    code, line = ABOUT[name]
    result = run_script(project, HELLO + done({"started_s": 1.0}) + code, "-k", "decode or prefill")
    result.assert_outcomes(failed=1, skipped=1)
    printed = result.stdout.str()
    assert printed.count(line) >= 2
    assert "not timed: engine.python=" in printed
    assert "Deadlock" not in printed
    assert "Traceback" not in printed


def test_the_log_is_kept_by_a_command_that_has_the_option(project):
    result = run_script(project, HELLO + NEXT + "sys.exit(3)\n", "-k", "decode")
    result.stdout.fnmatch_lines(["*look into its whole log: python -m pytest_ocrsweep.engines --log FILE keeps it*"])


def test_an_engine_that_fails_one_load_goes_on(project, engine, monkeypatch):
    serve = engine.run

    def failing(load):
        if load.width > 640:
            raise EngineError("the server: answered 400: too long;", "ask for less")
        return serve(load)

    monkeypatch.setattr(engine, "run", failing)
    result = project.run(
        "--ocrsweep-grids=1x2,1x1", "-p", "no:benchmark", *TO_ENGINE, "-k", "decode", "--ocrsweep-update"
    )
    result.assert_outcomes(failed=1, passed=1)
    result.stdout.fnmatch_lines(["*decode 1x2 flash: the server: answered 400: too long; ask for less*"])


def test_without_a_way_to_the_engine_nothing_is_timed_and_a_demand_fails(project):
    at = (*CHOSEN, "--ocrsweep-set=engine=vllm", "-k", "decode")
    why = "vllm is not timed: set engine.python to an interpreter that has it, or engine.url to a server"
    project.run(*at).stdout.fnmatch_lines([f"nothing was measured: {why}"])
    assert project.run(*at, "--ocrsweep-require-vendor").ret == pytest.ExitCode.TESTS_FAILED


@pytest.mark.parametrize(
    ("given", "line"),
    [
        (
            ["engine=vllm", "engine.python=a", "engine.url=b"],
            "engine.python and engine.url exclude each other: keep one",
        ),
        (["engine.python=a"], "engine.python is for another engine than transformers: choose it, as engine=vllm"),
        (["engine=vllm", "engine.start.weights=none"], "engine.start.weights must be one of random, real"),
    ],
)
def test_what_does_not_go_together_is_one_line(project, given, line):
    result = project.run(*CHOSEN, *(f"--ocrsweep-set={each}" for each in given))
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: --ocrsweep-set: {line}"])


@pytest.mark.parametrize("grid", CropGrid.upto(9), ids=str)
def test_a_page_is_cut_into_the_grid_that_it_stands_for(grid):
    width, height = page_of(Workload(grid))
    assert CropGrid.for_image(width, height) == grid


def test_a_page_of_a_mode_without_crops_is_one_view():
    assert page_of(replace(Workload("1x1"), resolution="tiny")) == (512, 512)


def test_a_load_is_served_again_while_the_host_is_slow(project, engine):
    engine.host_ns = [126, 250, 125]
    run(project, "--ocrsweep-update", "-k", "decode").assert_outcomes(passed=1)
    assert len(engine.loads) == 4  # three of them for the first round of two


def test_a_host_that_stays_slow_gives_no_sample(project, engine):
    engine.host_ns = [240] * 9
    result = run(project, "--ocrsweep-update", "-k", "decode")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["*no acceptable sample*the host ran at 42 % of its speed: measure again on a quiet host*"]
    )
    assert len(engine.loads) == 9


@pytest.mark.parametrize("loads", [[(100, 100), (30, 100)], [(30, 100)], [(1, 100), (100, 100)]])
def test_a_single_reading_that_is_too_fast_ruins_no_run(project, engine, loads):
    engine.host_ns = loads
    run(project, "--ocrsweep-update", "-k", "decode or prefill").assert_outcomes(passed=2)
    assert len(engine.loads) <= 4


def test_a_host_that_is_slow_from_the_first_load_on_is_known_by_its_speed_at_the_start(project, engine):
    engine.at_start, engine.host_ns = (104, 100, 101), [(240, 240)] * 99
    result = run(project, "--ocrsweep-update", "-k", "decode")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*the host ran at 42 % of its speed: measure again on a quiet host*"])


def test_rounds_are_judged_by_the_fastest_speed_that_is_known_when_the_point_is_decided(project, engine):
    """The first load was slow, which only the second shows; a third agrees with that."""
    engine.host_ns = [(240, 240)]
    run(project, "--ocrsweep-update", "-k", "decode").assert_outcomes(passed=1)
    assert len(engine.loads) == 3


@pytest.mark.parametrize("start", ["encoder_graphs", "enforce_eager"])
def test_an_engine_that_is_started_otherwise_is_compared_with_nothing_and_both_can_be_kept(project, engine, start):
    otherwise = (f"--ocrsweep-set=engine.start.{start}=true", "-k", "decode", "-rs")
    run(project, "--ocrsweep-update", "-k", "decode").assert_outcomes(passed=1)
    engine.slower = 1.5
    result = run(project, *otherwise)
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(
        [
            f"SKIPPED *no time that compares (engine.start default -> {start}=true) is recorded on NVIDIA H200 for "
            "decode 1x1 flash; to record it in place of that one (-o ocrsweep_baselines=DIR keeps both): pytest *"
        ]
    )
    run(project, *otherwise, "-o", "ocrsweep_baselines=other", "--ocrsweep-update").assert_outcomes(passed=1)
    run(project, *otherwise, "-o", "ocrsweep_baselines=other").assert_outcomes(passed=1)
    engine.slower = 1.0
    run(project, "-k", "decode").assert_outcomes(passed=1)
    (file,) = project.path.glob("other/deepseek-ocr/vllm/timed/nvidia-h200/decode.json")
    assert json.loads(file.read_text())["environments"][0]["engine_start"] == f"{start}=true"


def test_a_point_of_a_host_that_turns_out_faster_later_is_not_recorded(project, engine):
    """The first point's host is slow; from the second on it is as fast as it can be."""
    engine.host_ns = [(240, 240)] * 2
    grids = ("--ocrsweep-grids=1x1,1x2", "-k", "decode")
    result = run(project, *grids, "--ocrsweep-update", "--ocrsweep-report=report")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    why = "the host ran at 42 % of the speed that it had later: update it again on a quiet host"
    result.stdout.fnmatch_lines([f"ERROR: decode 1x1 flash is not recorded: {why}"])
    folder = project.path / "baselines" / "deepseek-ocr" / "vllm"
    for file in (folder / "timed" / "nvidia-h200" / "decode.json", folder / "decode.json"):
        assert [point["grid"] for point in json.loads(file.read_text())["points"]] == ["1x2"]
    points = json.loads((project.path / "report" / "sweep.json").read_text())["points"]
    assert [(point["grid"], point["verdict"]) for point in points] == [("1x1", "NO SAMPLE"), ("1x2", "RECORDED")]
    assert points[0]["vendor"]["host_speed"] == {"slowest_ns": 240, "fastest_ns": 240}
    run(project, *grids, "--ocrsweep-update")
    points = json.loads((folder / "timed" / "nvidia-h200" / "decode.json").read_text())["points"]
    assert [point["grid"] for point in points] == ["1x1", "1x2"]
