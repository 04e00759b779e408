"""The suites over 318 points as a whole process, against as many empty tests run without our plugin."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from statistics import median

from claim import Claim, conclude, in_turns, spread

from pytest_ocrsweep.stages import ATTENTION, STAGES
from pytest_ocrsweep.sweep import points

PAIRS = 7
ROOT = Path(__file__).parent.parent
EMPTY = """import pytest


@pytest.mark.parametrize("attention", {attentions})
@pytest.mark.parametrize("grid", {grids})
def test_{stage}(grid, attention):
    pass
"""


def main() -> None:
    grids = [str(point.grid) for point in points("pairs")]
    tests = len(grids) * len(STAGES) * len(ATTENTION)
    pytest = [sys.executable, "-m", "pytest"]
    ours = [*pytest, "suites/", "-k", "vision or prefill or decode"]
    ours += ["--ocrsweep-analytic-only", "--ocrsweep-grids=pairs"]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for stage in STAGES:
            text = EMPTY.format(stage=stage, grids=grids, attentions=list(ATTENTION))
            (folder / f"test_{stage}.py").write_text(text, encoding="utf-8")
        times = in_turns(ours, ROOT, [*pytest, "-p", "no:ocrsweep"], folder, PAIRS)
    a, b = zip(*times, strict=True)
    print(f"{tests} points as a whole process, and {tests} empty tests, in turns, {PAIRS} pairs:")
    print(f"  suites {spread(a)} s, empty tests {spread(b)} s")
    conclude(Claim("ratio", median(x / y for x, y in times), 1.6, "x"))


if __name__ == "__main__":
    main()
