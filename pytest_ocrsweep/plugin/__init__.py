"""The pytest plugin: options, fixtures and hooks; all it needs beyond pytest is loaded when first used."""

from __future__ import annotations

import gc
import sys
from collections.abc import Collection, Generator, Sequence
from contextlib import nullcontext
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest

from . import options, parametrize
from .interrupt import Stopping

if TYPE_CHECKING:
    from ..baselines.result import Row
    from ..model.analytic import Model
    from ..model.geometry import CropGrid
    from ..sweep.results import Results
    from ..sweep.session import Sweep
    from .benchmark import Entry
    from .xdist.schedule import Kind

SWEEP = pytest.StashKey["Sweep"]()
ITEM = pytest.StashKey[pytest.Item]()  # the test that runs, if it checks points
RESULTS = pytest.StashKey["Results"]()
ROWS = pytest.StashKey["list[Row]"]()
ENVIRONMENT = pytest.StashKey["dict[str, str | None] | None"]()
BENCHMARKS = pytest.StashKey["list[Entry]"]()
MARK = pytest.mark.ocrsweep  # once: to make a mark takes longer than to set it
PROBLEM = pytest.StashKey[str]()  # found while tests were generated
FROZEN = pytest.StashKey[bool]()  # the items, for the garbage collector
FILTERED = pytest.StashKey[bool]()  # tests were deselected, or came to no row


def pytest_addoption(parser: pytest.Parser) -> None:
    options.add(parser)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "ocrsweep: a test that checks a point; set by the plugin, for -m")
    options.check(config)
    config.pluginmanager.register(_fixture(config), "ocrsweep-fixture")
    if config.pluginmanager.hasplugin("xdist") and (
        hasattr(config, "workerinput") or config.getoption("dist", "no") != "no"
    ):
        from .xdist import schedule

        schedule.register(
            config, _kind, devices=lambda: _sweep(config).devices, alike=lambda: _sweep(config).fingerprints()
        )
    if hasattr(config, "workerinput"):
        return  # a worker of pytest-xdist: its controller does the rest
    config.add_cleanup(lambda: gc.unfreeze() if FROZEN in config.stash else None)  # after pytest's own collections
    config.pluginmanager.register(Controller(config), "ocrsweep-controller")
    if options.about_points(config) and (problem := _sweep(config).problem(with_baselines=False)):
        raise pytest.UsageError(problem)


def _sweep(config: pytest.Config) -> Sweep:
    """This process's sweep; nothing of it is composed before it is used."""
    if SWEEP not in config.stash:
        from ..sweep.session import Sweep

        config.stash[SWEEP] = Sweep(options.read(config), say=lambda text: _say(config, text))
    return config.stash[SWEEP]


def _say(config: pytest.Config, text: str) -> None:
    """To whoever watches, now: past pytest's capture, which swallows all that is written in a test.

    A worker of pytest-xdist writes to nowhere but has its controller's stderr.
    """
    capture, terminal = map(config.pluginmanager.get_plugin, ("capturemanager", "terminalreporter"))
    with capture.global_and_fixture_disabled() if capture else nullcontext():
        if hasattr(config, "workerinput") or terminal is None:
            print(text, file=sys.stderr, flush=True)
        else:
            terminal.ensure_newline()
            terminal.write_line(text, flush=True)


def _results(config: pytest.Config) -> Results:
    if RESULTS not in config.stash:
        from ..sweep.results import Results

        config.stash[RESULTS] = Results(_sweep(config))
    return config.stash[RESULTS]


def _kind(item: pytest.Item) -> Kind:
    """Whether a test checks a point and may time it, as far as is known before torch is loaded."""
    from .xdist.schedule import Kind

    if not _uses(item, "ocrsweep"):
        return Kind.OTHER
    callspec = getattr(item, "callspec", None)
    timed = _sweep(item.config).times(callspec.params.get("grid") if callspec else None)
    return Kind.TIMED if timed else Kind.POINT


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Arguments `grid` and `attention` come from the sweep, unless the test gives its own."""
    if "ocrsweep" not in metafunc.fixturenames:
        return
    from ..model.stages import ATTENTION
    from ..sweep.session import SweepError

    values: dict[str, Collection[object]] = {}
    for name in parametrize.wanted(metafunc, ("grid", "attention")):
        values[name] = ATTENTION
        if name == "grid":
            try:
                values[name] = _sweep(metafunc.config).points
            except SweepError as error:  # pytest would make a failed collection of it; said when it is over
                metafunc.config.stash[PROBLEM] = str(error)
                values[name] = ()
    parametrize.parametrize(metafunc, values)


def pytest_itemcollected(item: pytest.Item) -> None:
    if _uses(item, "ocrsweep"):
        item.add_marker(MARK)


def pytest_deselected(items: Sequence[pytest.Item]) -> None:
    if items:
        items[0].config.stash[FILTERED] = True


def pytest_collection_finish(session: pytest.Session) -> None:
    """Settings and baselines must be sound by now: from here on pytest takes an error for a test's."""
    config = session.config
    checks = any(_uses(item, "ocrsweep") for item in session.items)
    problem = config.stash.get(PROBLEM, None)
    if problem is None and (checks or any(_uses(item, "ocrsweep_model") for item in session.items)):
        problem = _sweep(config).problem(with_baselines=checks)
    output = getattr(config, "workeroutput", None)
    if output is not None:
        output["ocrsweep_filtered"] = config.stash.get(FILTERED, False)
        output["ocrsweep_problem"] = problem
    if problem is not None:
        raise pytest.UsageError(problem)
    if checks:
        gc.freeze()  # thousands of items stay to the end: no collection need look at them
        config.stash[FROZEN] = True


@pytest.fixture(scope="session")
def ocrsweep_model(request: pytest.FixtureRequest) -> Model:
    """The analytic model, as --ocrsweep-set has it: `ocrsweep_model.ledger(stage, workload, attention)`."""
    return _sweep(request.config).model


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    if _uses(item, "ocrsweep"):
        item.config.stash[ITEM] = item
        parametrize.give(item)


def _fixture(config: pytest.Config) -> ModuleType:
    """One for all tests, without a request: to make those takes pytest longer than to count a point takes us."""

    @pytest.fixture(scope="session")
    def ocrsweep() -> Checker:
        """Checks one point against its baseline: `ocrsweep.check(stage, grid, attention)`."""
        return Checker(config)

    holder = ModuleType("ocrsweep_fixture")
    holder.ocrsweep = ocrsweep  # type: ignore[attr-defined]  # where pytest looks for fixtures
    return holder


class Checker:
    """What the `ocrsweep` fixture gives to the test that runs."""

    def __init__(self, config: pytest.Config) -> None:
        from ..sweep import check, meter

        self._config, self._sweep = config, _sweep(config)
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


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Rows travel on the report: it reaches the controller even from a worker that dies later."""
    report = yield
    if report.when != "teardown" and _uses(item, "ocrsweep"):
        # pytest sends such extras on, from a worker too
        report.ocrsweep = item.stash.get(ROWS, [])  # type: ignore[attr-defined]
        report.ocrsweep_environment = item.stash.get(ENVIRONMENT, None)  # type: ignore[attr-defined]
        report.ocrsweep_benchmarks = item.stash.get(BENCHMARKS, [])  # type: ignore[attr-defined]
    return report


def pytest_unconfigure(config: pytest.Config) -> None:
    """Lets the measured device go; other processes may wait for it."""
    if SWEEP in config.stash:
        config.stash[SWEEP].close()


class Controller:
    """The process that sees every report: the only one, or the one that drives pytest-xdist's workers."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._stopping = Stopping()
        config.add_cleanup(self._stopping.as_before)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        rows: list[Row] | None = getattr(report, "ocrsweep", None)
        if rows:
            self._stopping.as_interrupt()  # not before: there was nothing to tell
            _results(self._config).take(rows, report.failed, getattr(report, "ocrsweep_environment", None))
            timed: list[Entry] = getattr(report, "ocrsweep_benchmarks", [])
            if timed:
                from . import benchmark

                for point in timed:
                    benchmark.add(self._config, point)
        elif report.failed or (rows is not None and (report.skipped or report.when == "call")):
            self._config.stash[FILTERED] = True  # its point is not known

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self._config.stash[FILTERED] = True  # its tests are not known

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any, error: object) -> None:
        """A worker ended: what it knows beside its reports."""
        if error:
            self._config.stash[FILTERED] = True  # what it had is run by others, if there are any
        output = getattr(node, "workeroutput", {})
        if output.get("ocrsweep_problem"):
            raise pytest.UsageError(output["ocrsweep_problem"])
        if output.get("ocrsweep_filtered"):
            self._config.stash[FILTERED] = True

    # Before pytest-xdist's own, which gives busy workers ten seconds to end: a CI job that was stopped has no more.
    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        config = self._config
        if exitstatus == pytest.ExitCode.USAGE_ERROR or config.option.collectonly:
            return
        interrupted = exitstatus == pytest.ExitCode.INTERRUPTED
        if RESULTS not in config.stash and (interrupted or not config.option.ocrsweep_report):
            return  # a report of nothing would take the place of an earlier one
        self._stopping.not_now()
        results = _results(config)
        results.filtered = (
            config.stash.get(FILTERED, False)
            or config.getoption("lf", False)  # it also passes over whole files, which deselects nothing
            or any("::" in argument for argument in config.args)
            or bool(session.shouldfail or session.shouldstop)
            or exitstatus not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED)
        )
        results.finish(config.rootpath)
        if results.problems:
            session.exitstatus = pytest.ExitCode.USAGE_ERROR
        elif results.unused and config.getini("ocrsweep_unused") == "fail" and not exitstatus:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        results = self._config.stash.get(RESULTS, None)
        lines = results.summary() if results else []
        if lines:
            terminalreporter.section("ocrsweep")
            for line in lines:
                terminalreporter.write_line(line)
        for problem in results.problems if results else ():
            terminalreporter.write_line(f"ERROR: {problem}", red=True)


def _uses(item: pytest.Item, fixture: str) -> bool:
    return fixture in getattr(item, "fixturenames", ())
