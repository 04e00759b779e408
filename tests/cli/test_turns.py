"""Base and head in turns: the order, how many pairs, when the budget ends them, and what a process is started with."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pytest_ocrsweep import CropGrid
from pytest_ocrsweep.baselines.attribution import Observed
from pytest_ocrsweep.baselines.paired import LEAST_PROCESSES
from pytest_ocrsweep.baselines.takes import Key, Run
from pytest_ocrsweep.errors import ArgumentError
from pytest_ocrsweep.sweep import turns
from pytest_ocrsweep.sweep.turns import Side, take_turns
from pytest_ocrsweep.sweep.worktree import Project

KEY: Key = ("decode", CropGrid(1, 1), "flash")
GOOD, REFUSED = Run({KEY: Observed(time_ns=7.0)}), Run({}, refused=frozenset({KEY}))


class Clock:
    """Each process takes as long as `takes` says."""

    def __init__(self, takes: Callable[[int], float] = lambda pair: 10.0) -> None:
        self.takes, self.now = takes, 1000.0
        self.started: list[tuple[int, int]] = []

    def start(self, side: int, pair: int) -> Run:
        self.started.append((side, pair))
        self.now += self.takes(pair)
        return GOOD

    def __call__(self) -> float:
        return self.now


def test_who_begins_changes_from_pair_to_pair():
    clock = Clock()
    found = take_turns(clock.start, 3, 1000, clock)
    assert clock.started == [(0, 0), (1, 0), (1, 1), (0, 1), (0, 2), (1, 2)]
    assert (len(found.base), len(found.head), found.seconds, found.short) == (3, 3, 60.0, False)


@pytest.mark.parametrize(("budget_s", "pairs"), [(0, LEAST_PROCESSES), (59, 2), (60, 3), (79.5, 3), (80, 4), (1000, 4)])
def test_no_pair_starts_that_would_end_after_the_budget_but_for_the_least(budget_s, pairs):
    clock = Clock()
    found = take_turns(clock.start, 4, budget_s, clock)
    assert (len(found.base), found.short, found.seconds) == (pairs, pairs < 4, 20.0 * pairs)


def test_a_pair_is_expected_to_take_as_long_as_the_longest():
    clock = Clock(lambda pair: 20.0 if pair == 0 else 5.0)
    assert len(take_turns(clock.start, 9, 89, clock).base) == 2  # they took 40 and 10 s, and 40 more would be too long
    assert len(take_turns(clock.start, 9, 90, clock).base) == 3


def test_pairs_that_take_less_than_a_second_are_as_many_as_the_budget_has_room_for():
    clock = Clock(lambda pair: 0.125)
    assert len(take_turns(clock.start, 4, 0.75, clock).base) == 3


def refusing(side: int, *pairs: int) -> Callable[[int, int], Run]:
    return lambda at, pair: REFUSED if at == side and pair in pairs else GOOD


@pytest.mark.parametrize("side", [0, 1])
def test_a_refused_sample_is_made_up_for_by_another_pair(side):
    assert len(take_turns(refusing(side, 1), 3, 1000, Clock()).base) == 4
    assert len(take_turns(refusing(side, 1, 3), 3, 1000, Clock()).base) == 5
    assert len(take_turns(refusing(side, 1), 2, 1000, Clock()).base) == 3


def test_no_more_pairs_are_added_than_may_be():
    assert len(take_turns(refusing(0, 1, 2, 3, 4, 5), 3, 1000, Clock()).base) == 3 + 2


def test_what_is_always_refused_is_not_tried_again():
    assert len(take_turns(lambda side, pair: REFUSED, 3, 1000, Clock()).base) == 3


# A side


@pytest.fixture
def project(tmp_path: Path) -> Project:
    (tmp_path / "repo" / "part").mkdir(parents=True)
    top = (tmp_path / "repo").resolve()
    return Project(top / "part", top, "0123", dirty=False)


def side(project: Project, monkeypatch: pytest.MonkeyPatch, *path: object) -> Side:
    """Of a worktree whose folder `part` is the side's."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(map(str, path)))
    root = project.top.parent / "tree" / "part"
    root.mkdir(parents=True, exist_ok=True)
    return Side.of("base", root, project, Path("/caches"))


def test_what_pythonpath_names_of_the_users_tree_is_the_sides_own(project, monkeypatch):
    made = side(project, monkeypatch, project.top / "src", "/elsewhere", project.here, project.top, "", "/elsewhere")
    tree = project.top.parent / "tree"
    expected = [tree / "src", "/elsewhere", tree / "part", tree]
    assert made.environment["PYTHONPATH"] == os.pathsep.join(map(str, expected))
    assert (made.name, made.root) == ("base", tree / "part")
    assert made.environment["PYTHONPYCACHEPREFIX"] == "/caches/base"
    assert made.environment["PATH"] == os.environ["PATH"]


def test_a_tree_with_the_package_comes_first_and_without_a_path_there_is_none(project, monkeypatch):
    made = side(project, monkeypatch)
    assert made.environment["PYTHONPATH"] == ""
    package = made.root / "pytest_ocrsweep"
    package.mkdir()
    assert side(project, monkeypatch).environment["PYTHONPATH"] == ""
    (package / "__init__.py").touch()
    assert side(project, monkeypatch, "/x", made.root).environment["PYTHONPATH"] == f"{made.root}{os.pathsep}/x"
    monkeypatch.delenv("PYTHONPATH")
    (package / "__init__.py").unlink()
    assert "PYTHONPATH" not in Side.of("base", made.root, project, Path("/caches")).environment


def test_a_side_can_be_a_key(project, monkeypatch):
    assert len({side(project, monkeypatch, "/x"), side(project, monkeypatch, "/x")}) == 1


def test_a_failure_shows_the_last_lines_that_say_something(project, monkeypatch, tmp_path):
    (tmp_path / "said").write_bytes(b"\n \n".join(b"line %d \xff" % number for number in range(20)))
    told = str(side(project, monkeypatch).failed("pytest ended with 3", tmp_path / "said")).splitlines()
    assert told[0] == "base measures nothing: pytest ended with 3; the end of its output:"
    assert told[1:] == [f"line {number} \N{REPLACEMENT CHARACTER}" for number in range(8, 20)]


# A process


def test_a_process_records_nothing_and_writes_only_its_report():
    words = turns.arguments(["suites", "-k", "1x1"], Path("/tmp/x"), Path("/tmp/x/report"))
    assert words == [
        *("-q", "--no-header", "--tb=line", "-p", "no:cacheprovider", "-m", "ocrsweep"),
        *("-o", f"ocrsweep_baselines={Path('/tmp/x/no-baselines')}", f"--ocrsweep-report={Path('/tmp/x/report')}"),
        *("suites", "-k", "1x1"),
    ]


@pytest.mark.parametrize(
    "word",
    ["--ocrsweep-update", "--ocrsweep-prune", "--ocrsweep-analytic-only", "--ocrsweep-report", "--collect-only"],
)
def test_an_option_that_a_comparison_cannot_have_is_refused_by_name(word):
    for given in (word, f"{word}=x\x1b"):
        with pytest.raises(ArgumentError) as error:
            turns.check(["suites", given])
        assert str(error.value).startswith(f"gate: {word}")
        assert str(error.value).endswith(" does not go with --against: leave it out")
        assert str(error.value).isprintable()
    turns.check(["suites", f"{word}x"])


@pytest.mark.parametrize(("code", "fails"), [(0, False), (1, False), (2, True), (5, True)])
def test_pytests_exit_codes_for_tests_that_ran_are_no_failure(project, monkeypatch, tmp_path, code, fails):
    made = side(project, monkeypatch)
    (made.root / "pytest.py").write_text(f"import sys\nprint(sys.argv[1:])\nsys.exit({code})\n")
    try:
        turns.run_pytest(made, ["-q", "x"], tmp_path / "said")
        failed = ""
    except turns.SideError as error:
        failed = str(error)
    assert failed == (f"base measures nothing: pytest ended with {code}; the end of its output:\n['-q', 'x']" * fails)
    assert (tmp_path / "said").read_text() == "['-q', 'x']\n"


def ran(side: Side, output: Path, script: str) -> list[str]:
    """What a pytest of these lines printed."""
    (side.root / "pytest.py").write_text(script)
    turns.run_pytest(side, [], output)
    return output.read_text().splitlines()


def test_a_process_has_its_sides_environment_no_input_and_one_file_for_all_that_it_says(project, monkeypatch, tmp_path):
    script = """
import os, sys
print(os.environ["PYTHONPYCACHEPREFIX"], repr(sys.stdin.read()), os.getpgrp() == os.getpid(), flush=True)
print("an error", file=sys.stderr)
"""
    (tmp_path / "typed").write_text("what a user types")
    before = os.dup(0)
    with open(tmp_path / "typed") as typed:
        os.dup2(typed.fileno(), 0)
    try:
        lines = ran(side(project, monkeypatch), tmp_path / "said", script)
    finally:
        os.dup2(before, 0)
        os.close(before)
    assert lines == ["/caches/base '' True", "an error"]


@pytest.mark.skipif(sys.platform != "linux", reason="Linux alone kills it")
def test_a_process_asks_to_be_killed_with_its_parent(project, monkeypatch, tmp_path):
    script = """
import ctypes
number = ctypes.c_int()
ctypes.CDLL(None).prctl(2, ctypes.byref(number))  # PR_GET_PDEATHSIG
print(number.value)
"""
    assert ran(side(project, monkeypatch), tmp_path / "said", script) == [str(int(signal.SIGKILL))]


ENDS = """
import os, signal
def end(*_):  # in the midst of a print, perhaps
    os.write(1, b"ends\\n")
    os._exit(0)
signal.signal(signal.SIGTERM, end)
print("ready", flush=True)
signal.pause()
"""
IGNORES = """
import signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("ready", flush=True)
signal.pause()
"""
LEAVES = """
import os, signal
if os.fork():
    os._exit(0)
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("ready", flush=True)
signal.pause()
"""


@pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals")
@pytest.mark.parametrize(
    ("script", "said"), [(ENDS, b"ends\n"), (IGNORES, b""), (LEAVES, b"")], ids=["ends", "ignores it", "leaves a child"]
)
def test_a_stopped_process_may_end_by_itself_and_nothing_of_it_is_left(monkeypatch, script, said):
    assert turns.GRACE_S == 5
    monkeypatch.setattr(turns, "GRACE_S", 5 if said else 0)
    command = [sys.executable, "-c", script]
    with subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True) as process:
        assert process.stdout.readline() == b"ready\n"
        if script == LEAVES:
            process.wait()
        turns._end(process)
        assert select.select([process.stdout], [], [], 20)[0], "somebody still has the pipe"
        assert process.stdout.read() == said
