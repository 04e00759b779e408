"""Every private name of pytest, pytest-xdist, execnet and pytest-benchmark that the plugin uses; no other file has one.

A name is private here if its package's documentation does not promise it. `PRIVATE` lists each with its reason, `SEEN`
the versions in which all were there; `problem` reports any other version, in one line before the first test.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Protocol

import pytest

if TYPE_CHECKING:
    from execnet import Gateway

    from .benchmark import Entry

SEEN = {  # the first version, and the first that is refused; pyproject.toml has the same
    "pytest": ("8.3", "10"),
    "pytest-xdist": ("3.7", "4"),
    "execnet": ("2.1", "3"),
    "pytest-benchmark": ("5.3.1", "6"),
}
MODULES = {"pytest": "pytest", "pytest-xdist": "xdist", "execnet": "execnet", "pytest-benchmark": "pytest_benchmark"}
PRIVATE = {
    "pytest": {
        "Function.callspec": "a test's crop grid before it runs, which decides whether a GPU is needed",
        "CaptureManager.global_and_fixture_disabled": "a line for the person who waits, in the midst of a test",
        "plugin 'terminalreporter'": "a line between the dots, before the summary",
        "TestReport.longrepr.reprcrash.message": "what the short summary says of a failed test",
        "Session.exitstatus": "to fail a run though all its tests passed",
    },
    "pytest-xdist": {
        "config.workerinput": "what its controller gave to a worker; and whether a process is one",
        "WorkerController.workerinput": "to give a worker its lane",
        "WorkerController.gateway": "a worker's name, host and channel",
        "WorkerController.shutting_down": "a scheduler gives no test to a worker that ends",
        "WorkerController.send_runtest_some": "how a scheduler gives tests to a worker",
        "WorkerController.shutdown": "how a scheduler ends a worker",
    },
    "execnet": {},
    "pytest-benchmark": {
        "plugin 'pytest-benchmark'": "its session, registered by this name when pytest is configured",
        "BenchmarkSession.benchmarks": "what is saved, compared and shown, by a controller of pytest-xdist too",
        "stats.Metadata": "one benchmark; it reads eight attributes of a `benchmark` fixture",
        "stats.Metadata.update": "to add a sample",
    },
}


def problem(packages: Iterable[str] = SEEN) -> str | None:
    """Which of these packages, if loaded, is of a version that the plugin cannot work with."""
    for package in packages:
        first, refused = SEEN[package]
        version: str | None = getattr(sys.modules.get(MODULES[package]), "__version__", None)
        if version is not None and not _numbers(first) <= _numbers(version) < _numbers(refused):
            wanted = f"{package}>={first},<{refused}"
            return f"{package} is {version}: pytest-ocrsweep needs '{wanted}'; install that, or add -p no:ocrsweep"
    return None


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version)[:3])


# pytest


def uses(item: pytest.Item, fixture: str) -> bool:
    """Whether a test asks for a fixture, by itself or through another; as pytest's documentation reads it, where it
    post-processes reports.
    """
    return fixture in getattr(item, "fixturenames", ())


def argument(item: pytest.Item, name: str) -> Any:
    """The value that a test is parametrized with, or None."""
    callspec = getattr(item, "callspec", None)
    return callspec.params.get(name) if callspec else None


def uncaptured(config: pytest.Config) -> AbstractContextManager[None]:
    """What is written in the block reaches the terminal, even while a test runs."""
    capture: Any = config.pluginmanager.get_plugin("capturemanager")
    return capture.global_and_fixture_disabled() if capture else nullcontext()


def summarise(report: pytest.TestReport, short: str) -> None:
    """Have the line about a failed test in the short summary say this, and JUnit's message."""
    crash = getattr(report.longrepr, "reprcrash", None)
    if crash is not None:
        crash.message = short


def terminal(config: pytest.Config) -> pytest.TerminalReporter | None:
    """What writes to the terminal, if anything does."""
    reporter: pytest.TerminalReporter | None = config.pluginmanager.get_plugin("terminalreporter")
    return reporter


def end_with(session: pytest.Session, code: pytest.ExitCode) -> None:
    """The code of pytest's process, to be set in `pytest_sessionfinish`."""
    session.exitstatus = code


# pytest-xdist


class Node(Protocol):
    """A worker as its controller has it: what we use of `xdist.workermanage.WorkerController`."""

    gateway: Gateway
    workerinput: dict[str, object]

    @property
    def shutting_down(self) -> bool: ...

    def send_runtest_some(self, indices: Sequence[int]) -> None: ...

    def shutdown(self) -> None: ...


def worker_input(config: pytest.Config) -> Mapping[str, Any] | None:
    """What this process was given, if it is a worker of pytest-xdist; else None."""
    return getattr(config, "workerinput", None)


# pytest-benchmark

BENCHMARK = "pytest-benchmark"


def benchmarks(config: pytest.Config) -> list[Any] | None:
    """What pytest-benchmark is to report, to be added to; None if it is not active."""
    session: Any = config.pluginmanager.get_plugin(BENCHMARK)
    return session and session.benchmarks  # type: ignore[no-any-return]


def benchmark_of(point: Entry) -> Any:
    """One benchmark with its samples; under pytest-xdist too, where `disabled` only keeps the fixture from timing."""
    from pytest_benchmark.stats import Metadata

    fixture = SimpleNamespace(**point, cprofile_stats=None, has_error=False)  # what `Metadata` reads of it, and more
    benchmark: Any = Metadata(fixture, 1, {"timer": point["timer"]})  # type: ignore[no-untyped-call]  # not annotated
    for sample in point["samples_ns"]:
        benchmark.update(sample / 1e9)
    return benchmark
