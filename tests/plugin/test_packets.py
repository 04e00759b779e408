"""Counted points are told of in packets, and nobody can tell: reports, their order, and what a dying worker ran."""

from __future__ import annotations

import marshal
import os
import re
from pathlib import Path
from types import SimpleNamespace

import pytest

from pytest_ocrsweep.plugin.xdist import packets

CONFTEST = """
import pytest
from pytest_ocrsweep import packets, schedule

MESSAGES = []

def pytest_configure(config):
    if config.getoption("dist") != "no" or hasattr(config, "workerinput"):
        schedule.register(config, lambda item: schedule.Kind["KIND"], lambda: [], lambda: {})

def receive(node, controller, theirs=packets.receive):
    theirs(node, controller)
    take = node.process_from_remote
    node.process_from_remote = lambda message: (MESSAGES.append(message), take(message))

packets.receive = receive

class Seen:
    def __init__(self):
        self.reports = []

    def pytest_runtest_logreport(self, report):
        why = report.longrepr
        why = why.reprcrash.message if hasattr(why, "reprcrash") else why
        told = report.when, report.outcome, report.location, report.user_properties, report.sections, why
        self.reports.append((report.nodeid, *told))

    def pytest_unconfigure(self, config):
        with open("seen.txt", "w") as file:
            print(len(MESSAGES), file=file)
            for report in sorted(self.reports, key=lambda report: report[0]):
                print(repr(report), file=file)

@pytest.hookimpl(trylast=True)
def pytest_sessionstart(session):
    if not hasattr(session.config, "workerinput"):
        session.config.pluginmanager.register(Seen())
"""
SUITE = """
import os, time, pytest

@pytest.mark.parametrize("n", range(300))
def test_point(n, record_property):
    with open("ran.txt", "a") as file:
        print(n, file=file)
    print("told", n)
    record_property("n", n)
    assert n != 7
    if n == 8:
        pytest.skip("eight")
    if n == 9:
        record_property("odd", [b"bytes", (1.5, {2: None})])
    if n == DIES:
        os._exit(1)
"""


class Project:
    """A suite of 300 tests, all of one kind."""

    def __init__(self, pytester: pytest.Pytester, kind: str = "POINT", dies: int = -1) -> None:
        self._pytester = pytester
        pytester.makeconftest(CONFTEST.replace("KIND", kind))
        pytester.makepyfile(test_suite=SUITE.replace("DIES", str(dies)))

    def run(self, *arguments: str) -> pytest.RunResult:
        own = ("-rs", "-p", "no:cacheprovider", "-p", "no:benchmark", "-p", "no:ocrsweep", "-p", "no:randomly")
        return self._pytester.runpytest_subprocess(*own, *arguments)

    @property
    def seen(self) -> tuple[int, list[str]]:
        """How many messages came, and all reports."""
        messages, *reports = (self._pytester.path / "seen.txt").read_text().splitlines()
        return int(messages), reports

    @property
    def ran(self) -> list[int]:
        return [int(line) for line in (self._pytester.path / "ran.txt").read_text().split()]


def test_the_same_reports_come_in_fewer_messages_than_there_are_tests(pytester: pytest.Pytester) -> None:
    project = Project(pytester)
    project.run().assert_outcomes(passed=298, failed=1, skipped=1)
    _, alone = project.seen
    project.run("-n", "2").assert_outcomes(passed=298, failed=1, skipped=1)
    messages, reports = project.seen
    assert reports == alone
    assert len(reports) == 900
    assert messages < 300


def test_other_tests_are_told_of_as_ever(pytester: pytest.Pytester) -> None:
    project = Project(pytester, kind="OTHER")
    project.run("-n", "2").assert_outcomes(passed=298, failed=1, skipped=1)
    assert project.seen[0] > 6 * 300


def test_another_scheduler_is_told_as_ever(pytester: pytest.Pytester) -> None:
    project = Project(pytester)
    project.run("-n", "2", "--dist", "loadscope").assert_outcomes(passed=298, failed=1, skipped=1)
    assert project.seen[0] > 6 * 300


@pytest.mark.parametrize("dies", [0, 140, 299])
def test_a_worker_that_dies_died_in_the_test_that_it_ran(pytester: pytest.Pytester, dies: int) -> None:
    project = Project(pytester, dies=dies)
    result = project.run("-n", "2")
    result.assert_outcomes(passed=297, failed=2, skipped=1)
    assert re.findall(r"lost while running (\S+),", str(result.stdout)) == [f"test_suite.py::test_point[{dies}]"]
    assert set(project.ran) == set(range(300))
    assert project.ran.count(dies) == 2


class Interactor:
    """A worker's plugin, as far as packets need it."""

    def __init__(self, known: int) -> None:
        self.sent: list[tuple[str, dict]] = []
        self.item_index, self.channel, self.torun = 0, SimpleNamespace(send=self.sent.append), self
        self.known = [1] * known

    def lock(self):
        return self

    def __enter__(self) -> list[int]:
        return self.known

    def __exit__(self, *_) -> None:
        pass

    def run(self, number: int) -> None:
        self.item_index = number
        for name in packets.EVENTS:
            self.channel.send((name, {"of": number}))


class WorkerInteractor(Interactor):
    """By the name that pytest-xdist has for it."""


def packing(known: int, note: Path, monkeypatch, counted: tuple[int, ...] = (0, 1, 2)) -> Interactor:
    plugin = WorkerInteractor(known)
    monkeypatch.setattr(packets, "monotonic", lambda: 100.0)
    config = SimpleNamespace(pluginmanager=SimpleNamespace(get_plugins=lambda: [object(), plugin]))
    packets.pack(config, set(counted), str(note))
    return plugin


def names(message: tuple[str, str]) -> list[tuple[str, int]]:
    assert message[0] == packets.NAME
    return [(name, told["of"]) for name, told in marshal.loads(message[1])]


def of(number: int) -> list[tuple[str, int]]:
    return [(name, number) for name in packets.EVENTS]


def test_points_wait_for_one_another_until_time_is_up(tmp_path: Path, monkeypatch) -> None:
    plugin = packing(5, tmp_path / "note", monkeypatch)
    plugin.run(0)
    plugin.run(1)
    monkeypatch.setattr(packets, "monotonic", lambda: 100.0 + packets.HELD_S)
    plugin.run(2)
    assert [names(message) for message in plugin.sent] == [of(0), [*of(1), *of(2)]]


def test_nothing_waits_when_the_worker_waits(tmp_path: Path, monkeypatch) -> None:
    plugin = packing(0, tmp_path / "note", monkeypatch)
    plugin.run(0)
    plugin.run(1)
    assert [names(message) for message in plugin.sent] == [of(0), of(1)]


def test_what_else_is_told_comes_after_what_waited(tmp_path: Path, monkeypatch) -> None:
    plugin = packing(5, tmp_path / "note", monkeypatch)
    plugin.run(0)
    plugin.run(1)
    plugin.channel.send(("workerfinished", {"of": 9}))
    assert [names(message) for message in plugin.sent[:2]] == [of(0), of(1)]
    assert plugin.sent[2:] == [("workerfinished", {"of": 9})]


def test_a_test_that_is_no_point_is_told_of_at_once(tmp_path: Path, monkeypatch) -> None:
    plugin = packing(5, tmp_path / "note", monkeypatch, counted=(1,))
    plugin.run(0)
    assert [name for name, _ in plugin.sent] == [*packets.EVENTS]


def test_what_cannot_be_packed_is_told_as_ever(tmp_path: Path, monkeypatch) -> None:
    plugin = packing(5, tmp_path / "note", monkeypatch)
    unknown = object()
    for name in packets.EVENTS:
        plugin.channel.send((name, {"of": unknown}))
    assert plugin.sent == [(name, {"of": unknown}) for name in packets.EVENTS]


def test_what_runs_is_noted_before_it_is_told(tmp_path: Path, monkeypatch) -> None:
    note = tmp_path / "note"
    assert packets.running(str(note)) is None
    plugin = packing(5, note, monkeypatch)
    assert packets.running(str(note)) is None
    for number in (0, 2, 700):
        plugin.run(number)
        assert packets.running(str(note)) == number
    assert os.path.getsize(note) == packets.NUMBER_BYTES
