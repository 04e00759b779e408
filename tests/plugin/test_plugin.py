"""Options, selection and the fixtures, as a user of the plugin sees them."""

from __future__ import annotations

import gc
import subprocess
import sys

import pytest

from pytest_ocrsweep.plugin import compat, options

HEAVY = ("hydra", "omegaconf", "yaml", "numpy", "torch", "xdist", "PIL")


def test_ids_read_grid_and_attention(project):
    project.run("--collect-only", "-q", "suites/test_decode.py").stdout.fnmatch_lines(
        [
            "suites/test_decode.py::test_decode[[]1x1-eager]",
            "suites/test_decode.py::test_decode[[]1x1-flash]",
            "suites/test_decode.py::test_decode[[]1x2-eager]",
            "suites/test_decode.py::test_decode[[]1x2-flash]",
            "suites/test_decode.py::test_decode[[]2x3-eager]",
            "suites/test_decode.py::test_decode[[]2x3-flash]",
        ]
    )


@pytest.mark.parametrize(
    ("arguments", "passed"),
    [
        (["-k", "decode"], 6),
        (["-k", "prefill and 2x3"], 2),
        (["-m", "ocrsweep"], 12),
        (["suites/test_decode.py::test_decode[2x3-flash]"], 1),
    ],
)
def test_selection_is_pytests_own(recorded, arguments, passed):
    recorded.run(*arguments).assert_outcomes(passed=passed, deselected=12 - passed if len(arguments) > 1 else 0)


def test_a_tests_own_parameters_win_over_the_sweep(project):
    project.write(
        "test_own.py",
        """
import pytest
from pytest_ocrsweep import CropGrid

@pytest.mark.parametrize("grid", [CropGrid(4, 5)], ids=str)
def test_own(ocrsweep, grid, attention):
    ocrsweep.check("vision", grid, attention)

@pytest.mark.parametrize("attention, grid", [("flash", CropGrid(1, 7))])
def test_both(ocrsweep, grid, attention):
    ocrsweep.check("vision", grid, attention)

@pytest.mark.parametrize(argnames=("grid", "attention"), argvalues=[(CropGrid(1, 8), "flash")])
def test_by_name(ocrsweep, grid, attention):
    ocrsweep.check("vision", grid, attention)
""",
    )
    result = project.run("test_own.py", "-rs")
    result.assert_outcomes(skipped=4)
    result.stdout.fnmatch_lines(["vision  1x7 *", "vision  1x8 *", "vision  4x5 *eager *", "vision  4x5 *flash *"])


def test_a_users_fixtures_have_the_last_word_and_see_the_same_arguments(project):
    """A fixture of an argument's name, on values of the test's own, and one that asks for an argument of the sweep."""
    project.write(
        "test_own.py",
        """
import pytest
from pytest_ocrsweep import CropGrid

@pytest.fixture
def grid(request):
    return CropGrid(*request.param)

@pytest.mark.parametrize("grid", [(4, 5)], indirect=True, ids=str)
def test_indirect(ocrsweep, grid, attention):
    assert str(ocrsweep.check("vision", grid, attention).grid) == "4x5"

class TestOfAClass:
    @pytest.fixture
    def shown(self, attention):
        return attention.upper()

    def test_asks(self, request, ocrsweep, grid, attention, shown):
        assert shown == attention.upper()
        assert request.getfixturevalue("grid") is grid
        assert sorted(request.node.funcargs) == ["attention", "grid", "ocrsweep", "request", "shown"]
""",
    )
    project.run("test_own.py", "--ocrsweep-grids", "1x1,3x7").assert_outcomes(passed=4, skipped=2)
    shown = project.run("test_own.py", "--ocrsweep-grids", "1x1", "--setup-show")
    shown.stdout.fnmatch_lines(["*SETUP    F attention?'flash'?*"])


def test_the_model_fixture_serves_tests_without_a_sweep(project):
    project.write(
        "test_own.py",
        """
from pytest_ocrsweep import CropGrid, Workload

def test_own(ocrsweep_model):
    assert ocrsweep_model.ledger("decode", Workload(CropGrid(2, 3)), "flash").total().tensor_flops > 0
""",
    )
    result = project.run("test_own.py", "--ocrsweep-set", "model=deepseek-ocr-tiny")
    result.assert_outcomes(passed=1)
    result.stdout.no_fnmatch_line("*= ocrsweep =*")


OWN = """
def test_plain():
    pass

def test_model(ocrsweep_model):
    assert ocrsweep_model
"""


def test_damaged_baselines_stop_no_run_that_checks_no_point(project):
    project.write("test_own.py", OWN)
    project.baseline().parent.mkdir(parents=True)
    project.baseline().write_text("[]")
    project.run("test_own.py").assert_outcomes(passed=2)


def test_damaged_baselines_stop_a_run_of_one_point_before_another_plugin_is_told_of_it(project):
    project.baseline().parent.mkdir(parents=True)
    project.baseline().write_text("[]")
    project.write("conftest.py", "def pytest_collection_finish():\n    print('another is told')\n")
    result = project.run("-s", "suites/test_decode.py::test_decode[1x1-flash]")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stdout.no_fnmatch_line("*another is told*")


@pytest.mark.parametrize(("test", "passed"), [("test_plain", True), ("test_model", False)])
def test_a_package_that_does_not_fit_stops_a_run_that_uses_ours(project, monkeypatch, test, passed):
    monkeypatch.setattr(compat, "problem", lambda: "pytest is 99.1")
    project.write("test_own.py", OWN)
    result = project.run(f"test_own.py::{test}")
    assert (result.ret == pytest.ExitCode.OK) == passed
    assert [line for line in result.errlines if line] == ([] if passed else ["ERROR: pytest is 99.1"])


def test_a_source_that_only_a_worker_misses_is_one_line_whatever_is_selected(project, monkeypatch):
    """As where another host has no such file: there nothing is looked at before the tests are collected."""
    monkeypatch.setattr(options, "about_points", lambda config: False)
    result = project.run("--ocrsweep-grids=none.yaml", "-k", "2x3")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: --ocrsweep-grids: *'none.yaml'*"])
    assert len([line for line in result.errlines if line]) == 1


def test_a_yaml_label_is_shown_and_is_no_part_of_the_id(project):
    project.write("pages.yaml", "- grid: 2x3\n  label: poster\n")
    result = project.run("-v", "--ocrsweep-grids=pages.yaml", "suites/test_decode.py")
    result.stdout.fnmatch_lines(["*test_decode[[]2x3-flash]*", "decode*2x3 poster*flash*"])


def test_a_page_adds_its_grid_once(project, way):
    from PIL import Image

    Image.new("1", (1000, 1000)).save(project.path / "square.png")
    Image.new("1", (3000, 1000)).save(project.path / "wide.png")
    result = project.run("suites/test_decode.py", "--ocrsweep-image=wide.png", "--ocrsweep-image=square.png", *way)
    result.stdout.fnmatch_lines(["wide.png is cut into 1x3", "square.png is cut into 2x2"])
    result.stdout.fnmatch_lines(["decode * 1x3 wide.png *NO BASELINE", "decode * 2x2 square.png *NO BASELINE"])
    again = project.run("suites/test_decode.py", "--ocrsweep-grids=1x3", "--ocrsweep-image=wide.png")
    again.assert_outcomes(skipped=2)


def test_a_run_that_measures_nothing_says_so_once(recorded, way):
    result = recorded.run(*way)
    said = [line for line in result.outlines if "nothing was measured" in line]
    assert len(said) == 1
    recorded.run("--ocrsweep-analytic-only").stdout.no_fnmatch_line("*nothing was measured*")


def test_require_vendor_fails_each_point_that_is_to_be_measured(recorded):
    recorded.write("grids.yaml", "- 1x1\n- grid: 2x3\n  analytic_only: true\n")
    result = recorded.run("--ocrsweep-require-vendor", "--ocrsweep-grids=grids.yaml")
    result.assert_outcomes(failed=4, passed=4)
    result.stdout.fnmatch_lines(["*--ocrsweep-require-vendor: nothing was measured: *"])


@pytest.mark.parametrize(
    ("argument", "error"),
    [
        ("--ocrsweep-grids=vndor", "--ocrsweep-grids: *'vndor'*"),
        ("--ocrsweep-grids=none.yaml", "--ocrsweep-grids: *'none.yaml'*"),
        ("--ocrsweep-image=none.png", "--ocrsweep-image: *none.png*"),
        ("--ocrsweep-set=workload.bach=4", "--ocrsweep-set: *'workload.batch'*"),
        ("--ocrsweep-set=workload.resolution=base", "*'base' has no crops*--ocrsweep-grids*"),
        ("--ocrsweep-checkpoint=none", "--ocrsweep-checkpoint: none is not a folder"),
        ("--ocrsweep-report=pytest.ini", "--ocrsweep-report: pytest.ini: *it is not a folder*"),
        ("--ocrsweep-report=", "--ocrsweep-report is empty: give a value, or leave it out"),
        ("--ocrsweep-grids=", "--ocrsweep-grids is empty: give a value, or leave it out"),
        ("--ocrsweep-checkpoint=", "--ocrsweep-checkpoint is empty: give a value, or leave it out"),
        ("--override-ini=ocrsweep_missing=maybe", "ocrsweep_missing must be skip or fail, got 'maybe'"),
        ("--override-ini=ocrsweep_grids=vndor", "*ocrsweep_grids*'vndor'*"),
    ],
)
@pytest.mark.parametrize("workers", ["-n0", "-n2"])
def test_what_does_not_fit_is_one_line_before_any_test(project, argument, error, workers):
    result = project.run(argument, workers)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert len([line for line in result.errlines if line]) == 1
    result.stderr.fnmatch_lines([f"ERROR: {error}"])
    assert "Traceback" not in result.stdout.str()


@pytest.mark.parametrize(
    ("workers", "capture"),
    [
        ("-n0", "fd"),
        ("-n2", "sys"),
        *(
            pytest.param(*way, marks=pytest.mark.slow)
            for way in (("-n0", "sys"), ("-n0", "no"), ("-n2", "fd"), ("-n2", "no"))
        ),
    ],
)
def test_what_a_test_says_to_who_waits_is_seen_whatever_is_captured(pytester, workers, capture):
    pytester.makepyfile("""
        from pytest_ocrsweep.plugin.state import say

        def test_waits(request):
            say(request.config, "waiting for a GPU")
    """)
    result = pytester.runpytest_subprocess(workers, f"--capture={capture}")
    assert (result.stdout.str() + result.stderr.str()).count("waiting for a GPU") == 1


def test_counting_only_and_requiring_the_vendor_exclude_each_other(project):
    result = project.run("--ocrsweep-analytic-only", "--ocrsweep-require-vendor")
    assert result.ret == pytest.ExitCode.USAGE_ERROR


def test_options_have_a_group_and_ini_keys_are_declared(project):
    result = project.run("--help", "--strict-config")
    result.stdout.fnmatch_lines(["what DeepSeek-OCR costs *", "*--ocrsweep-grids=SOURCE*", "*ocrsweep_missing*"])
    project.run("--markers").stdout.fnmatch_lines(["@pytest.mark.ocrsweep: *"])


def test_importing_the_plugin_loads_nothing_heavy():
    code = "import sys, pytest_ocrsweep.plugin; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not set(HEAVY) & set(done.stdout.split())


def test_a_run_without_our_tests_or_options_composes_nothing(pytester):
    pytester.makepyfile(
        """
        import sys

        def test_nothing():
            loaded = set(sys.modules)
            assert not loaded & {"hydra", "omegaconf", "yaml", "numpy", "torch", "PIL"}
            assert not loaded & {"pytest_ocrsweep.sweep.session", "pytest_ocrsweep.sweep.config"}
        """
    )
    plugins = ("-p", "no:hydra_pytest", "-p", "no:benchmark", "-p", "no:hypothesispytest")
    pytester.runpytest_subprocess(*plugins).assert_outcomes(passed=1)


def test_a_run_lets_go_of_what_an_earlier_one_in_its_process_froze(pytester):
    gc.freeze()
    pytester.parseconfigure()
    assert gc.get_freeze_count() == 0


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("'dekode', '2x3', 'flash'", "unknown stage 'dekode': choose from *; did you mean 'decode'?"),
        ("'decode', '2-3', 'flash'", "'2-3' is not a crop grid; did you mean 2x3?"),
        ("'decode', (2, 3), 'flash'", "*is not a crop grid*"),
        ("'decode', '2x3', 'flsh'", "unknown attention 'flsh': choose from eager, flash; did you mean 'flash'?"),
        ("'dekode', '2x3', 'flash', model=1", "unknown stage 'dekode': *"),
    ],
)
def test_a_point_that_there_is_not_fails_in_one_line_without_a_traceback(recorded, asked, said):
    recorded.write("suites/test_it.py", f"def test_it(ocrsweep):\n    ocrsweep.check({asked})\n")
    result = recorded.run("suites/test_it.py")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([f"ocrsweep.check: {said}"])
    assert "Traceback" not in result.stdout.str()
    assert "pytest_ocrsweep/model" not in result.stdout.str()
