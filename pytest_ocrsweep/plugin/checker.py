"""What the fixture `ocrsweep` gives to tests: it checks points, and keeps what it found for the test's report."""

from __future__ import annotations

import pytest

from ..baselines.result import PointResult
from ..errors import OcrsweepError
from ..files.text import terminal_line, terminal_lines
from ..model.geometry import CropGrid
from ..sweep.check import judge
from . import benchmark
from .state import sweep_of
from .transport import BENCHMARKS, ENVIRONMENT, ITEM, POINTS, SHORT


def failed(message: str, short: str) -> BaseException:
    """What a test that failed is to raise. `short` is what the summary's line about it says, as far as it has room."""
    failure = pytest.fail.Exception(terminal_lines(message))
    setattr(failure, SHORT, terminal_line(short))
    return failure


class Checker:
    """Checks points for the test that runs."""

    def __init__(self, config: pytest.Config) -> None:
        self._config, self._sweep = config, sweep_of(config)

    def check(self, stage: str, grid: CropGrid | str, attention: str) -> PointResult:
        """The point's result, if it is as recorded; else the test fails, or is skipped where nothing is."""
        __tracebackhide__ = True
        item = self._config.stash[ITEM]
        try:
            judgement = judge(self._sweep, stage, CropGrid.of(grid), attention, item.path)
        except OcrsweepError as error:
            pytest.fail(terminal_lines(str(error)), pytrace=False)
        item.stash[POINTS].append(judgement.point)
        item.stash[ENVIRONMENT] = judgement.environment
        if judgement.point.vendor is not None and benchmark.available(self._config):
            item.stash[BENCHMARKS].append(benchmark.point(item, judgement.point))
        if judgement.failure is not None:
            raise failed(judgement.failure, judgement.short or judgement.failure)
        if judgement.skip is not None:
            pytest.skip(terminal_lines(judgement.skip))
        return judgement.point
