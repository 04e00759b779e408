"""The pytest plugin, hook by hook; all it needs beyond pytest is loaded when first used."""

from __future__ import annotations

import gc
from collections.abc import Collection, Generator, Sequence
from pathlib import Path

import pytest

from . import compat, options, places
from .compat import uses
from .fixture import ocrsweep, ocrsweep_model
from .state import COLLECTED, FILTERED, GROUPS, PROBLEM, SKIPPED, SWEEP, TO_RUN, leave_out, sweep_of
from .transport import (
    pytest_report_from_serializable,
    pytest_report_to_serializable,
    pytest_runtest_makereport,
    pytest_runtest_setup,
)
from .usage import usage_error

__all__ = [  # pytest finds them as names of this module
    "ocrsweep",
    "ocrsweep_model",
    "pytest_report_from_serializable",
    "pytest_report_to_serializable",
    "pytest_runtest_makereport",
    "pytest_runtest_setup",
]

CONTROLLER = "ocrsweep-controller"
MARK = pytest.mark.ocrsweep  # once: to make a mark takes longer than to set it


def pytest_addoption(parser: pytest.Parser) -> None:
    options.add(parser)


@pytest.hookimpl(wrapper=True)
def pytest_load_initial_conftests(
    early_config: pytest.Config, parser: pytest.Parser, args: Sequence[str]
) -> Generator[None, None, None]:
    """After conftests had their say, and before pytest refuses what none of all knows."""
    yield
    if any(word.startswith("--ocrsweep") and word.partition("=")[0] not in options.OPTIONS for word in args):
        from . import misspelt

        if problem := misspelt.option(parser, args):
            raise usage_error(problem)


def pytest_cmdline_main(config: pytest.Config) -> None:
    """Before plugins are configured: pytest-randomly then puts a seed where none was given."""
    if problem := options.random_groups(config):
        config.stash[GROUPS] = problem


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "ocrsweep: a test that checks a point; set by the plugin, for -m")
    options.check(config)
    places.search(config)
    gc.unfreeze()  # what an earlier run in this process left frozen
    if compat.worker_input(config) is not None:
        return  # a worker of pytest-xdist: its controller does the rest
    if config.pluginmanager.has_plugin("xdist") and config.option.dist != "no":
        from ..sweep.alike import fingerprints
        from . import xdist

        xdist.register(config, alike=lambda: fingerprints(sweep_of(config)))
        _control(config)  # points come from workers, whose tests are not known here
    elif options.demand(config) or config.option.ocrsweep_report:
        _control(config)
    if options.about_points(config) and (problem := sweep_of(config).problem(with_baselines=False)):
        raise usage_error(problem)


def _control(config: pytest.Config) -> None:
    """Take and finish what tests of ours find; a run without any does not even load what that takes."""
    if not config.pluginmanager.has_plugin(CONTROLLER):
        from .controller import Controller

        config.pluginmanager.register(Controller(config), CONTROLLER)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Arguments `grid` and `attention` come from the sweep, unless the test gives its own."""
    if "ocrsweep" not in metafunc.fixturenames:
        return
    from ..errors import OcrsweepError

    sweep = sweep_of(metafunc.config)
    values: dict[str, Collection[object]] = {}
    for name in _not_its_own(metafunc, ("grid", "attention")):
        try:
            values[name] = sweep.points if name == "grid" else sweep.settings.engine.attentions
        except OcrsweepError as error:  # pytest would make a failed collection of it; said when it is over
            metafunc.config.stash[PROBLEM] = str(error)
            values[name] = ()
    for name, each in values.items():
        metafunc.parametrize(name, each, ids=str)


def _not_its_own(metafunc: pytest.Metafunc, names: Collection[str]) -> list[str]:
    """Those of the arguments that the test takes and does not parametrize itself."""
    own: set[str] = set()
    for mark in metafunc.definition.iter_markers("parametrize"):
        given = mark.args[0] if mark.args else mark.kwargs["argnames"]
        own.update(name.strip() for name in (given.split(",") if isinstance(given, str) else given))
    return [name for name in names if name in metafunc.fixturenames and name not in own]


def pytest_itemcollected(item: pytest.Item) -> None:
    if uses(item, "ocrsweep"):
        item.add_marker(MARK)
        item.config.stash[COLLECTED] = item.config.stash.get(COLLECTED, 0) + 1


@pytest.hookimpl(wrapper=True)
def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> Generator[None, bool | None, bool | None]:
    is_ignored = yield
    if is_ignored and FILTERED not in config.stash:
        from .whole import ignored

        if why := ignored(collection_path, config):
            leave_out(config, why)
    return is_ignored


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """A module may skip itself, as for want of a package."""
    report = yield
    if not report.passed:
        leave_out(collector.config, f"{report.nodeid} {'was skipped' if report.skipped else 'could not be collected'}")
    if report.skipped and options.demand(collector.config):
        from .skipped import checks_points

        if checks_points(collector.path, collector.config.rootpath):
            collector.config.stash.setdefault(SKIPPED, {})[report.nodeid] = None
    return report


def pytest_deselected(items: Sequence[pytest.Item]) -> None:
    if items:
        leave_out(items[0].config, "tests were deselected")


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist's own, which tells the controller what a worker has collected
def pytest_collection_finish(session: pytest.Session) -> None:
    """Settings and baselines must be sound by now: from here on pytest takes an error for a test's."""
    config = session.config
    checks = sum(uses(item, "ocrsweep") for item in session.items)
    config.stash[TO_RUN] = checks
    if checks != config.stash.get(COLLECTED, 0):
        leave_out(config, "a plugin changed the list of tests")  # as those that shard do, without a word
    problem = config.stash.get(PROBLEM, None)
    if problem is None and (checks or any(uses(item, "ocrsweep_model") for item in session.items)):
        from . import misspelt

        problem = compat.problem() or misspelt.key(config) or sweep_of(config).problem(with_baselines=checks > 0)
    if compat.worker_input(config) is not None:
        from .xdist import worker

        worker.tell(session, problem)
    if problem is not None:
        raise usage_error(problem)
    if checks:
        if compat.worker_input(config) is None:
            _control(config)
        gc.freeze()  # thousands of items stay to the end: no collection need look at them, nor that of Python's exit


def pytest_unconfigure(config: pytest.Config) -> None:
    """Lets the measured device go; other processes may wait for it."""
    if SWEEP in config.stash:
        config.stash[SWEEP].close()
