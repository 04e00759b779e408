"""What the fixture `ocrsweep` gives to tests: it checks points, and keeps what it found for the test's report."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import pytest

from ..baselines.own import MODEL, OwnResult
from ..baselines.result import PointResult
from ..errors import OcrsweepError
from ..files.text import terminal_line, terminal_lines
from ..model.geometry import CropGrid, Workload
from ..sweep.check import Judgement, asked, judge
from ..sweep.own_check import OwnJudgement, judge_call, judge_model
from . import benchmark
from .state import sweep_of
from .transport import BENCHMARKS, ENVIRONMENT, ITEM, OWN, POINTS, SHORT

Found = TypeVar("Found", Judgement, OwnJudgement, CropGrid)


def failed(message: str, short: str) -> BaseException:
    """What a test that failed is to raise. `short` is what the summary's line about it says, as far as it has room."""
    failure = pytest.fail.Exception(terminal_lines(message))
    setattr(failure, SHORT, terminal_line(short))
    return failure


class Checker:
    """Checks points for the test that runs, and times code of the user's own."""

    def __init__(self, config: pytest.Config) -> None:
        self._config, self._sweep = config, sweep_of(config)

    def check(
        self, stage: str, grid: CropGrid | str, attention: str, *, model: object = None, name: str | None = None
    ) -> PointResult:
        """The point's result, if it is as recorded; else the test fails, or is skipped where nothing is.

        `model` is a torch module with the interface of the reference model, which is timed in its place, and whose
        times are recorded under `name` ("model" without one). Its FLOPs are counted on it.
        """
        __tracebackhide__ = True
        file = self._config.stash[ITEM].path
        there = _refused(lambda: asked(self._sweep, stage, grid, attention))
        if model is None:
            if name is not None:
                pytest.fail("ocrsweep.check: name= is that of a model of your own: give model= too", pytrace=False)
            judgement = _refused(lambda: judge(self._sweep, stage, there, attention, file))
            self._keep(judgement)
            _settle(judgement)
            return judgement.point
        called = MODEL if name is None else name
        own = _refused(lambda: judge_model(self._sweep, called, stage, there, attention, model, file))
        self._keep_own(own)
        _settle(own)
        assert own.point is not None  # else it was skipped
        return own.point

    def workload(self, grid: CropGrid | str) -> Workload:
        """The run's workload at a grid."""
        __tracebackhide__ = True
        try:
            return self._sweep.settings.workload.on(CropGrid.of(grid))
        except ValueError as error:
            raise pytest.fail.Exception(terminal_lines(f"ocrsweep.workload: {error}"), pytrace=False) from None

    def time(self, name: str, call: Callable[[], object], *, cuda_graph: bool = False, host: bool = False) -> OwnResult:
        """What `call` takes, if it is as recorded under `name`; else the test fails, or is skipped where nothing is.

        It is called many times, without arguments. Its time is that of the host's clock until the GPU is done; with
        `cuda_graph`, of replays of its CUDA graph, which leaves out what it does on the host. With `host` its time
        is the CPU's, of all threads of this process: it is taken without a GPU too, one call at a time on the host, and
        recorded by the name of the CPU.
        """
        __tracebackhide__ = True
        file = self._config.stash[ITEM].path
        own = _refused(lambda: judge_call(self._sweep, name, call, file, cuda_graph=cuda_graph, host=host))
        self._keep_own(own)
        _settle(own)
        return own.result

    def _keep(self, judgement: Judgement) -> None:
        item = self._config.stash[ITEM]
        item.stash[POINTS].append(judgement.point)
        item.stash[ENVIRONMENT] = judgement.environment
        if judgement.point.vendor is not None and benchmark.available(self._config):
            item.stash[BENCHMARKS].append(benchmark.point(item, judgement.point))

    def _keep_own(self, judgement: OwnJudgement) -> None:
        item, result = self._config.stash[ITEM], judgement.result
        item.stash[OWN].append(result)
        if result.measured is not None and benchmark.available(self._config):
            item.stash[BENCHMARKS].append(benchmark.own(item, result))


def _refused(find: Callable[[], Found]) -> Found:
    """What it finds; an error of ours fails the test in its own words."""
    __tracebackhide__ = True
    try:
        return find()
    except OcrsweepError as error:
        raise pytest.fail.Exception(terminal_lines(str(error)), pytrace=False) from None


def _settle(judgement: Judgement | OwnJudgement) -> None:
    __tracebackhide__ = True
    if judgement.failure is not None:
        raise failed(judgement.failure, judgement.short or judgement.failure)
    if judgement.skip is not None:
        pytest.skip(terminal_lines(judgement.skip))
