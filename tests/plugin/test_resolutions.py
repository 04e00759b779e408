"""Runs at another resolution, with grids as text, and beyond the model's positions."""

from __future__ import annotations

import pytest

from pytest_ocrsweep.model.geometry import RESOLUTIONS

MODES = [name for name, sides in RESOLUTIONS.items() if sides.crop_side is None]
BEYOND = "beyond the 8,192 positions that deepseek-ocr was made for: "


@pytest.mark.parametrize("mode", [MODES[0], *(pytest.param(mode, marks=pytest.mark.slow) for mode in MODES[1:])])
def test_a_resolution_without_crops_is_counted_recorded_and_judged_beside_one_with_crops(recorded, mode):
    at = (f"--ocrsweep-set=workload.resolution={mode}", "--ocrsweep-grids=1x1")
    recorded.run(*at).assert_outcomes(skipped=4)
    recorded.run(*at, "--ocrsweep-update").assert_outcomes(passed=4)
    assert len(recorded.points()) == 6 + 2
    recorded.run(*at).assert_outcomes(passed=4)
    recorded.run().assert_outcomes(passed=12)


def test_a_full_update_at_a_resolution_without_crops_records(recorded):
    recorded.write("pytest.ini", "[pytest]\nocrsweep_grids = vendor\n")
    at = "--ocrsweep-set=workload.resolution=base"
    result = recorded.run(at, "--ocrsweep-update")
    result.assert_outcomes(passed=4)
    result.stdout.fnmatch_lines(["baselines/deepseek-ocr/decode.json: 2 points added, *"])
    recorded.run(at).assert_outcomes(passed=4)


def test_a_page_of_a_yaml_file_is_cut_at_the_resolution(project):
    project.write("p.yaml", "- image: [900, 900]\n")
    at = ("--ocrsweep-grids=p.yaml", "--collect-only", "-q", "-k", "decode and flash")
    project.run(*at).stdout.fnmatch_lines(["*test_decode[[]2x2-flash]"])
    mode = "--ocrsweep-set=workload.resolution=gundam-m"
    project.run(*at, mode).stdout.fnmatch_lines(["*test_decode[[]1x1-flash]"])


def test_a_test_may_give_its_grid_as_text(recorded):
    recorded.write(
        "suites/test_text.py",
        "def test_text(ocrsweep):\n"
        "    assert str(ocrsweep.check('decode', '2x3', 'flash').grid) == '2x3'\n"
        "def test_wrong(ocrsweep):\n"
        "    ocrsweep.check('decode', '23', 'flash')\n",
    )
    result = recorded.run("suites/test_text.py")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*'23' is not a crop grid: write ROWSxCOLUMNS, for example 2x3"])


def test_a_run_beyond_the_models_positions_says_so_once(project):
    result = project.run("--ocrsweep-set=workload.new_tokens=40000", "--ocrsweep-grids=1x1,2x3")
    assert [line for line in result.outlines if line.startswith(BEYOND)] == [
        f"{BEYOND}decode of 1x1, 2x3, up to 40,903 tokens a page"
    ]
    assert not any(line.startswith(BEYOND) for line in project.run("--ocrsweep-grids=1x1,2x3").outlines)
