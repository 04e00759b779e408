"""The fixtures: `ocrsweep` checks a point, `ocrsweep_model` is the analytic model; and what a checked point leaves."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from .state import sweep_of

if TYPE_CHECKING:
    from ..baselines.result import Row
    from ..model.analytic import Model
    from ..model.geometry import CropGrid
    from .benchmark import Entry

ITEM = pytest.StashKey[pytest.Item]()  # the test that runs, if it checks points
ROWS = pytest.StashKey["list[Row]"]()
ENVIRONMENT = pytest.StashKey["dict[str, str | None] | None"]()
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
        from ..sweep import check, meter

        self._config, self._sweep = config, sweep_of(config)
        self._judge, self._unmeasurable = check.judge, meter.MeasureError

    def check(self, stage: str, grid: CropGrid, attention: str) -> Row:
        """The point's row, if it is as recorded; else the test fails, or is skipped where nothing is."""
        __tracebackhide__ = True
        item = self._config.stash[ITEM]
        try:
            judgement = self._judge(self._sweep, stage, grid, attention, item.path)
        except self._unmeasurable as error:
            pytest.fail(str(error), pytrace=False)
        item.stash.setdefault(ROWS, []).append(judgement.row)
        item.stash[ENVIRONMENT] = judgement.environment
        if judgement.row["vendor"] is not None:
            from . import benchmark

            if benchmark.available(self._config):
                item.stash.setdefault(BENCHMARKS, []).append(benchmark.point(item, judgement.row))
        if judgement.failure is not None:
            pytest.fail(judgement.failure)
        if judgement.skip is not None:
            pytest.skip(judgement.skip)
        return judgement.row


def attach(report: pytest.TestReport, item: pytest.Item) -> None:
    """Rows travel on the report: it reaches the controller even from a worker that dies later."""
    # pytest sends such extras on, from a worker too
    report.ocrsweep = item.stash.get(ROWS, [])  # type: ignore[attr-defined]
    report.ocrsweep_environment = item.stash.get(ENVIRONMENT, None)  # type: ignore[attr-defined]
    report.ocrsweep_benchmarks = item.stash.get(BENCHMARKS, [])  # type: ignore[attr-defined]
