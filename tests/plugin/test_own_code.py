"""Code of a user's own under the gate: timed under a name, recorded, gated and refused as points are.

The clock is made up: a call takes a microsecond for each operator that torch runs, so a time is the work that was done.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="the reference model needs the extra [vendor]")
pytest.importorskip("transformers", reason="the reference model needs the extra [vendor]")

from measured import ON_CPU  # noqa: E402

from pytest_ocrsweep.vendor_model import clocks, timing  # noqa: E402
from pytest_ocrsweep.vendor_model.compat import DispatchMode  # noqa: E402

MODEL = """
import pytest
import torch
from pytest_ocrsweep.sweep.config import compose
from pytest_ocrsweep.vendor_model import build


class Slower(torch.nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        for _ in range(200):
            x = x * 1.0
        return self.inner(x)


@pytest.fixture
def mine(request):
    built = build.build(compose(["model=deepseek-ocr-tiny"]).model, "flash", "batched_mm", "cpu")
    CHANGE
    return built


def test_mine(ocrsweep, mine):
    ocrsweep.check("decode", "1x1", "flash", model=mine, name="tuned")
"""
CALL = """
import torch

X = torch.ones(8, 8)


def test_product(ocrsweep):
    result = ocrsweep.time("product", lambda: [X @ X for _ in range(N)])
    assert result.counted.tensor_flops == N * 2 * 8**3
"""


class _Work(DispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.operators = 0

    def run(self, func, args, kwargs):
        self.operators += 1
        return func(*args, **kwargs)


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """A microsecond an operator and a hundred for the call, and a little noise, which is the same in each round."""
    taken = [0]

    def once(self: clocks.HostClock) -> int:
        with _Work() as work:
            self._call()
        taken[0] += 1
        return (work.operators + 100) * 1000 + taken[0] % 3

    monkeypatch.setattr(clocks.HostClock, "_once", once)
    monkeypatch.setattr(timing, "WARM_UP_S", 0.0)
    return


def model(change: str = "pass") -> str:
    return MODEL.replace("CHANGE", change)


def call(products: int = 3) -> str:
    return CALL.replace("N", str(products))


LAYER = "built.model.language_model.layers[1].mlp"
WIDER = f"{LAYER} = torch.nn.Sequential(torch.nn.Linear(64, 64, dtype=torch.bfloat16), {LAYER}).eval()"
COMPILED = "built.model.language_model.norm = torch.compile(built.model.language_model.norm, backend='eager')"
SLOWER = "built.model.language_model.layers[1].mlp = Slower(built.model.language_model.layers[1].mlp)"


def run(project, *arguments: str, on=ON_CPU):
    return project.run(*on, "suites/test_own.py", *arguments)


def times(project, name: str, stage: str):
    path = project.path / "baselines" / "deepseek-ocr-tiny" / "own" / name / "timed" / "cpu" / f"{stage}.json"
    return json.loads(path.read_text())["points"]


# A model of one's own


def test_a_slower_layer_turns_a_users_model_red_and_the_unchanged_one_stays_green(project):
    project.write("suites/test_own.py", model())
    run(project, "--ocrsweep-update").assert_outcomes(passed=1)
    (point,) = times(project, "tuned", "decode")
    assert (point["grid"], point["attention"], point["clock"]) == ("1x1", "flash", "host")
    run(project).assert_outcomes(passed=1)
    project.write("suites/test_own.py", model(SLOWER))
    result = run(project, "--ocrsweep-report=out")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "E *tuned at decode 1x1 flash on cpu: slower than its baseline: time +* %, FLOPs unchanged*margin*",
            "E *pytest *suites/test_own.py *--ocrsweep-update",
            "own code *at *ms *change %*",
            "tuned *decode 1x1 flash *host *FAIL",
        ]
    )
    (own,) = json.loads((project.path / "out" / "sweep.json").read_text())["own"]
    (moved,) = own["moved"]
    assert (moved["metric"], moved["old"] < moved["new"]) == ("device_ns", True)
    assert moved["change"] == own["measured"]["gate"]["change"] > moved["margin"]
    assert moved["accept"].endswith("--ocrsweep-update")
    for name in ("report.md", "summary.json"):
        assert moved["accept"] in (project.path / "out" / name).read_text()
    result = run(project, "-q")
    assert "ocrsweep: own code: 1 FAIL" in result.stdout.str().splitlines()


def test_a_model_that_does_other_work_is_said_and_recorded_and_fails_when_its_work_changes(project):
    project.write("suites/test_own.py", model(WIDER))
    result = run(project, "--ocrsweep-update", "--ocrsweep-report=out")
    result.assert_outcomes(passed=1)
    said = "tuned at decode 1x1 flash: 819,200 tensor FLOPs more than the reference model (+* %): addmm +819,200"
    result.stdout.fnmatch_lines([said])
    (own,) = json.loads((project.path / "out" / "sweep.json").read_text())["own"]
    counted = own["counted"]
    assert counted["tensor_flops"] - counted["analytic_flops"] == 100 * 2 * 64 * 64 == 819_200
    assert counted["differences"] == {"addmm": 819_200}
    assert own["floor"] is None
    page = (project.path / "out" / "report.md").read_text()
    assert "### Own code" in page
    assert "more than the reference model" in page
    project.write("suites/test_own.py", model())
    result = run(project, "--ocrsweep-report=out")
    result.assert_outcomes(failed=1)
    (own,) = json.loads((project.path / "out" / "sweep.json").read_text())["own"]
    assert ("tensor_flops", -819_200) in [(each["metric"], each["new"] - each["old"]) for each in own["moved"]]
    result.stdout.fnmatch_lines(
        [
            "E *tuned at decode 1x1 flash does other work than is recorded:",
            "E *tensor_flops: old *, new * FLOP*, difference -819,200 (-* %)",
            "E *pytest *--ocrsweep-update",
        ]
    )


@pytest.fixture(scope="session")
def _compiler() -> None:
    """Loaded before pytester notes what is loaded: it forgets the rest, and torch cannot load its compiler twice."""
    torch.compile(torch.sin, backend="eager")(torch.ones(1))


@pytest.mark.usefixtures("_compiler")
def test_compiled_code_is_not_counted_which_can_be_demanded(project):
    project.write("suites/test_own.py", model(COMPILED))
    result = run(project, "--ocrsweep-update")
    result.assert_outcomes(passed=1)
    why = "not counted: it runs compiled code, whose operators torch does not show"
    result.stdout.fnmatch_lines([f"tuned at decode 1x1 flash: {why}"])
    (point,) = times(project, "tuned", "decode")
    assert point["tensor_flops"] is None
    result = run(project, "--ocrsweep-require-counted")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([f"E *--ocrsweep-require-counted: tuned at decode 1x1 flash is {why}"])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("built.train()", "model= is in training mode; call model.eval() first"),
        (
            "built.set_attn_implementation('eager')",
            "model= computes attention as eager, and the point is flash; build it with attn_implementation='sdpa', *",
        ),
        ("built = object()", "model= is of type object, and no torch module; it must have the interface of *"),
        ("built = torch.nn.Linear(2, 2)", "model= has no model.get_image_features; it must have the interface of *"),
        ("built.lm_head.to('meta')", "model= is on meta, and the settings time on cpu; move it there, or set *"),
    ],
    ids=["training", "attention", "object", "interface", "device"],
)
def test_a_model_that_cannot_be_timed_as_it_is_fails_in_one_line(project, change, said):
    project.write("suites/test_own.py", model(change))
    result = run(project)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([f"*{said}"])
    result.stdout.no_fnmatch_line("*Traceback*")


# Any callable


def test_a_call_is_recorded_passes_again_and_is_red_when_it_does_more(project):
    project.write("suites/test_own.py", call())
    result = run(project, "--ocrsweep-update")
    result.assert_outcomes(passed=1)
    (point,) = times(project, "product", "call")
    assert (point["grid"], point["attention"], point["tensor_flops"]) == (None, None, 3 * 2 * 8**3)
    run(project).assert_outcomes(passed=1)
    project.write("suites/test_own.py", call(products=30))
    result = run(project)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "E *product does other work than is recorded:",
            "E *product on cpu: slower than its baseline: time +26.2 %, FLOPs *",
            "product *call *FAIL",
        ]
    )


def test_a_call_without_operators_of_torch_is_not_counted(project):
    text = "def test_it(ocrsweep):\n    assert ocrsweep.time('plain', lambda: 1).counted.tensor_flops is None\n"
    project.write("suites/test_own.py", text)
    result = run(project, "--ocrsweep-update")
    result.stdout.fnmatch_lines(["plain: not counted: it runs no operator of torch in this thread"])
    (point,) = times(project, "plain", "call")
    assert point["tensor_flops"] is None


def test_a_run_that_only_counts_calls_nothing_and_says_so(project):
    project.write("suites/test_own.py", "def test_it(ocrsweep):\n    ocrsweep.time('a', lambda: 1 / 0)\n")
    result = run(project, "--ocrsweep-analytic-only", "-rs")
    assert result.ret == 0
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(["a *NOT TIMED", "a was not timed: --ocrsweep-analytic-only"])


def test_what_was_not_timed_fails_where_counted_work_is_demanded(project, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    project.write("suites/test_own.py", call())
    result = project.run("suites/test_own.py", "--ocrsweep-require-counted")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["E *--ocrsweep-require-counted: product was not timed: no GPU: *"])


def test_two_tests_with_one_name_are_an_error_in_one_line_and_nothing_of_them_is_recorded(project):
    project.write("suites/test_own.py", f"{call()}\n\ndef test_other(ocrsweep):\n    ocrsweep.time('product', list)\n")
    result = run(project, "--ocrsweep-update")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stdout.fnmatch_lines(
        ["ERROR: two times under one name, product: *::test_product and *::test_other; give each its own name"]
    )
    assert not (project.path / "baselines" / "deepseek-ocr-tiny" / "own").exists()


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("ocrsweep.time('../x', list)", "the name of your own code is the folder of its times: *, got '../x'"),
        ("ocrsweep.time('x', 1)", "ocrsweep.time('x', …) times what can be called, got 1"),
        ("ocrsweep.time('x', list, cuda_graph=True)", "cuda_graph=True: cpu has no CUDA graphs; leave it out there"),
        ("ocrsweep.check('decode', '1x1', 'flash', name='x')", "ocrsweep.check: name= is that of a model *"),
    ],
    ids=["name", "callable", "graph", "alone"],
)
def test_what_cannot_be_timed_fails_in_one_line(project, line, said):
    project.write("suites/test_own.py", f"def test_it(ocrsweep):\n    {line}\n")
    result = run(project)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([f"*{said}"])


def test_a_recorded_time_that_no_test_uses_is_said_and_pruned(project):
    project.write("suites/test_own.py", f"{call()}\n\ndef test_other(ocrsweep):\n    ocrsweep.time('other', list)\n")
    run(project, "--ocrsweep-update").assert_outcomes(passed=2)
    for stage in ("prefill", "decode"):
        (project.path / f"suites/test_{stage}.py").unlink()
    project.write("suites/test_own.py", call())
    project.write("pytest.ini", "[pytest]\nocrsweep_grids = 1x1\n")
    on = ON_CPU[:-1]
    project.run(*on).stdout.fnmatch_lines(["unused: 1 recorded times of other at call on cpu, *--ocrsweep-prune"])
    project.run(*on, "suites/test_own.py").stdout.no_fnmatch_line("unused: *")  # a test of another file may use it
    project.run(*on, "--ocrsweep-prune")
    assert times(project, "other", "call") == []
    assert len(times(project, "product", "call")) == 1


def test_a_damaged_file_of_its_times_is_one_line_before_any_test(project):
    project.write("suites/test_own.py", call())
    run(project, "--ocrsweep-update")
    file = project.path / "baselines" / "deepseek-ocr-tiny" / "own" / "product" / "timed" / "cpu" / "call.json"
    file.write_text(file.read_text().replace('"grid": null', '"grid": 7'))
    result = run(project)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: damaged baseline *call.json:*"])


@pytest.mark.slow
def test_workers_send_what_they_timed(project):
    project.write("suites/test_own.py", call())
    run(project, "-n2", "--ocrsweep-update").assert_outcomes(passed=1)
    assert len(times(project, "product", "call")) == 1


# The page


def test_the_example_of_the_page_runs(project):
    page = (Path(__file__).parents[2] / "docs" / "your-code.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```python\n(.*?)```", page, re.S)
    project.write("suites/test_own.py", example)
    run(project, "--ocrsweep-update").assert_outcomes(passed=2)
    result = run(project)
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["fine-tuned *decode 1x1 flash *PASS", "normalise *call *PASS"])


def test_counted_work_is_demanded_of_tests_that_were_skipped_before_it_too(project):
    text = "import pytest\n\ndef test_it(ocrsweep):\n    pytest.skip('not today')\n"
    project.write("suites/test_own.py", text)
    result = run(project, "--ocrsweep-require-counted")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    said = "ERROR: --ocrsweep-require-counted: 1 tests were skipped before their point: *::test_it"
    result.stdout.fnmatch_lines([said])


def test_a_run_that_only_counts_cannot_demand_counted_work_of_what_it_does_not_run(project):
    result = run(project, "--ocrsweep-require-counted", "--ocrsweep-analytic-only")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: --ocrsweep-analytic-only and --ocrsweep-require-counted exclude each other"])


def test_the_history_of_a_call_is_shown_and_its_drift_accepted_by_its_name(project, capsys):
    from pytest_ocrsweep.cli import main

    project.write("suites/test_own.py", call())
    run(project, "--ocrsweep-update")
    capsys.readouterr()
    of = ["--own", "product", "--baselines", str(project.path / "baselines")]
    of += ["--set=model=deepseek-ocr-tiny", "--set=workload.resolution=tiny"]
    assert main(["history", *of]) == 0
    assert "call   -     -" in capsys.readouterr().out
    assert main(["history", "accept", "call", *of]) == 0
    assert "has its latest times as its anchor" in capsys.readouterr().out
