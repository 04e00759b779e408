"""A project whose decode was recorded on this machine's CPU with the tiny model."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

TINY = ("--ocrsweep-set=model=deepseek-ocr-tiny", "--ocrsweep-set=workload.resolution=tiny")
ON_CPU = (*TINY, "--ocrsweep-set=vendor.device=cpu", "--ocrsweep-grids=1x1")
ACCEPT = " ".join(
    [
        "pytest -p no:cacheprovider -p no:benchmark suites/test_decode.py",
        TINY[0],
        TINY[1],
        *ON_CPU[2:],
        "--ocrsweep-update",
    ]
)
ONE_THREAD = {"OMP_NUM_THREADS": "1"}  # torch's threads stand in each other's way on a busy machine
SUITE = """
def test_{stage}(ocrsweep, grid, attention):
    ocrsweep.check("{stage}", grid, attention)
"""
Document = dict[str, object]


class Measured:
    """A project in which another process has recorded decode with flash attention on this machine's CPU."""

    def __init__(self, project, pytester: pytest.Pytester, recording: Path) -> None:
        self._pytester = pytester
        self.path, self.write, self.ini = project.path, project.write, project.ini
        shutil.copytree(recording / "baselines", self.path / "baselines")
        self.ini()
        self.file = self.path / "baselines" / "deepseek-ocr-tiny" / "timed" / "cpu" / "decode.json"

    def run(self, *arguments: str, benchmark: bool = False, on=ON_CPU) -> pytest.RunResult:
        without = () if benchmark else ("-p", "no:benchmark")
        selected = ("suites/test_decode.py", "-k", "flash")
        return self._pytester.runpytest("-p", "no:cacheprovider", *without, *on, *selected, *arguments)

    def edit(self, change: Callable[[Document, Document], object]) -> None:
        """Change the recorded point and its environment in place."""
        document = json.loads(self.file.read_text())
        (point,), (environment,) = document["points"], document["environments"]
        change(point, environment)
        self.file.write_text(json.dumps(document))

    def scale(self, factor: float) -> None:
        """As if the recorded process had been so much slower, and without noise: a busy machine's would excuse much."""

        def change(point, environment):
            for process in point["processes"]:
                process.update(
                    dict.fromkeys(("q1_ns", "median_ns", "q3_ns"), max(1, round(process["median_ns"] * factor)))
                )

        self.edit(change)

    @property
    def processes(self) -> list[dict[str, int]]:
        (point,) = json.loads(self.file.read_text())["points"]
        return point["processes"]
