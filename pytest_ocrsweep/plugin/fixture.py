"""The fixtures: `ocrsweep` checks a point, `ocrsweep_model` is the analytic model; and what a checked point leaves."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ..errors import OcrsweepError
from ..files.text import terminal_lines
from .state import sweep_of

if TYPE_CHECKING:
    from ..baselines.measurement import Environment
    from ..baselines.result import PointResult
    from ..model.analytic import Model
    from ..model.geometry import CropGrid
    from .benchmark import Entry

ITEM = pytest.StashKey[pytest.Item]()  # the test that runs, if it checks points
POINTS: pytest.StashKey[list[PointResult]] = pytest.StashKey()
ENVIRONMENT: pytest.StashKey[Environment | None] = pytest.StashKey()
BENCHMARKS: pytest.StashKey[list[Entry]] = pytest.StashKey()


@pytest.fixture(scope="session")
def ocrsweep_model(request: pytest.FixtureRequest) -> Model:
    """The analytic model, as --ocrsweep-set has it: `ocrsweep_model.ledger(stage, workload, attention)`."""
    return sweep_of(request.config).model


@pytest.fixture(scope="session")
def ocrsweep(request: pytest.FixtureRequest) -> Checker:
    """Checks one point against its baseline: `ocrsweep.check(stage, grid, attention)`."""
    return Checker(request.config)


class Checker:
    """What the `ocrsweep` fixture gives to the test that runs."""

    def __init__(self, config: pytest.Config) -> None:
        from ..model.geometry import CropGrid
        from ..sweep import check

        self._config, self._sweep = config, sweep_of(config)
        self._judge, self._grid = check.judge, CropGrid.of

    def check(self, stage: str, grid: CropGrid | str, attention: str) -> PointResult:
        """The point's result, if it is as recorded; else the test fails, or is skipped where nothing is."""
        __tracebackhide__ = True
        item = self._config.stash[ITEM]
        try:
            judgement = self._judge(self._sweep, stage, self._grid(grid), attention, item.path)
        except OcrsweepError as error:
            pytest.fail(terminal_lines(str(error)), pytrace=False)
        item.stash.setdefault(POINTS, []).append(judgement.point)
        item.stash[ENVIRONMENT] = judgement.environment
        if judgement.point.vendor is not None:
            from . import benchmark

            if benchmark.available(self._config):
                item.stash.setdefault(BENCHMARKS, []).append(benchmark.point(item, judgement.point))
        if judgement.failure is not None:
            pytest.fail(terminal_lines(judgement.failure))
        if judgement.skip is not None:
            pytest.skip(terminal_lines(judgement.skip))
        return judgement.point


def forget(item: pytest.Item) -> None:
    """What an earlier try of the test left, where a plugin runs it again."""
    item.stash[POINTS], item.stash[BENCHMARKS] = [], []
    item.stash[ENVIRONMENT] = None


def attach(report: pytest.TestReport, item: pytest.Item) -> None:
    """Points travel on the report: it reaches the controller even from a worker that dies later."""
    # pytest sends such extras on, from a worker as JSON: see transport.py
    report.ocrsweep = item.stash.get(POINTS, [])  # type: ignore[attr-defined]
    report.ocrsweep_environment = item.stash.get(ENVIRONMENT, None)  # type: ignore[attr-defined]
    report.ocrsweep_benchmarks = item.stash.get(BENCHMARKS, [])  # type: ignore[attr-defined]
