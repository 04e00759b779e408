"""The suites over 10,002 recorded points as a whole process, against as many empty tests run without our plugin."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from shutil import copy
from statistics import median

from claim import Claim, conclude, in_turns, seconds, spread

from pytest_ocrsweep import CropGrid
from pytest_ocrsweep.model.attention import ATTENTION
from pytest_ocrsweep.model.stages import STAGES

PAIRS = 5
GRIDS = [str(CropGrid(rows, columns)) for columns in range(1, 43) for rows in range(1, 41)][:1667]
ROOT = Path(__file__).parents[2]
EMPTY = """import pytest


@pytest.mark.parametrize("attention", {attentions})
@pytest.mark.parametrize("grid", {grids})
def test_{stage}(grid, attention):
    pass
"""


def main() -> None:
    tests = len(GRIDS) * len(STAGES) * len(ATTENTION)
    in_order = [sys.executable, "-m", "pytest", "-p", "no:randomly"]
    empty = [*in_order, "-p", "no:ocrsweep"]
    ours = [*in_order, "--ocrsweep-analytic-only", "--ocrsweep-grids=grids.yaml"]
    with tempfile.TemporaryDirectory() as name:
        project, other = Path(name, "ours"), Path(name, "empty")
        for folder in (project, other):
            folder.mkdir()
            (folder / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
        (project / "grids.yaml").write_text("grids:\n" + "".join(f"- {grid}\n" for grid in GRIDS), encoding="utf-8")
        for stage in STAGES:
            copy(ROOT / "suites" / f"test_{stage}.py", project)
            text = EMPTY.format(stage=stage, grids=GRIDS, attentions=list(ATTENTION))
            (other / f"test_{stage}.py").write_text(text, encoding="utf-8")
        seconds([*ours, "--ocrsweep-update"], project)
        a, b = zip(*in_turns(ours, project, empty, other, PAIRS), strict=True)
        print(f"{tests:,} recorded points as a whole process, and as many empty tests, in turns, {PAIRS} pairs:")
        print(f"  suites {spread(a)} s, empty tests {spread(b)} s")
        alone, two = zip(*in_turns(ours, project, [*ours, "-n", "2"], project, PAIRS), strict=True)
        print(f"The same with -n 2, a controller and two workers on {len(os.sched_getaffinity(0))} cores:")
        print(f"  without {spread(alone)} s, with -n 2 {spread(two)} s; the ratio, of which we claim nothing,")
        print(f"  is {spread([y / x for x, y in zip(alone, two, strict=True)])}")
    conclude(Claim("points to empty tests", median(x / y for x, y in zip(a, b, strict=True)), 1.3, "x"))


if __name__ == "__main__":
    main()
