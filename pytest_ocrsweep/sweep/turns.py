"""Base and head in turns, each in fresh processes: how many pairs, in which order, and what a process starts with."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from ..baselines.paired import LEAST_PROCESSES
from ..baselines.takes import Run
from ..errors import ArgumentError, SideError
from ..files.text import terminal_line
from .stopping import die_with_parent, undisturbed
from .worktree import Project

EXTRA = 2
"""Pairs beyond those asked for, if samples were refused."""

GRACE_S = 5.0
"""How long a stopped pytest may take to end before it is killed."""

TAIL = 12  # lines of a failed process
GOOD = (0, 1)  # pytest's exit codes: all passed; some failed, as for want of a baseline
PACKAGE = "pytest_ocrsweep"


@dataclass(frozen=True, slots=True)
class Side:
    """One of both: its name, the folder that pytest runs in, and the environment."""

    name: str
    root: Path
    environment: Mapping[str, str] = field(hash=False)

    @classmethod
    def of(cls, name: str, root: Path, project: Project, caches: Path) -> Side:
        """Its own tree comes first on the path if the package lies in it, as in our own repository.

        What PYTHONPATH names in the user's tree is taken from the side's tree instead. Compiled files go to `caches`.
        """
        paths = [
            _moved(Path(name), project, root) for name in os.environ.get("PYTHONPATH", "").split(os.pathsep) if name
        ]
        if (root / PACKAGE / "__init__.py").is_file():
            paths = [root, *paths]
        environment = {**os.environ, "PYTHONPYCACHEPREFIX": str(caches / name)}
        if paths:
            environment["PYTHONPATH"] = os.pathsep.join(map(str, dict.fromkeys(paths)))
        return cls(name, root, environment)

    def failed(self, why: str, output: Path) -> SideError:
        """In one line what the side did not do, and below it the end of what it printed."""
        lines = [line for line in output.read_text("utf-8", errors="replace").splitlines() if line.strip()]
        return SideError("\n".join([f"{self.name} measures nothing: {why}; the end of its output:", *lines[-TAIL:]]))


def _moved(path: Path, project: Project, root: Path) -> Path:
    here = Path(os.path.realpath(path))
    if not here.is_relative_to(project.top):
        return path
    top = root
    for _ in project.here.relative_to(project.top).parts:
        top = top.parent
    return top / here.relative_to(project.top)


@dataclass(frozen=True, slots=True)
class Turns:
    """The processes of both sides in the order in which they ran; `short` if the budget ended them early."""

    base: Sequence[Run]
    head: Sequence[Run]
    seconds: float
    short: bool = False


def take_turns(
    start: Callable[[int, int], Run],
    wanted: int,
    budget_s: float,
    clock_s: Callable[[], float] = time.monotonic,
) -> Turns:
    """`start` gets a side (0 is base) and the number of the pair: A B, B A, A B, …

    A pair whose samples were refused is repeated, at most EXTRA times. No pair starts that would end after the budget,
    if it takes as long as the longest; but for LEAST_PROCESSES.
    """
    begun, longest = clock_s(), 0.0
    runs: tuple[list[Run], list[Run]] = ([], [])
    while (done := len(runs[0])) < wanted or (done < wanted + EXTRA and _refused(runs, wanted)):
        pair_begun = clock_s()
        if done >= LEAST_PROCESSES and pair_begun - begun + longest > budget_s:
            return Turns(*runs, pair_begun - begun, short=True)
        for side in (0, 1) if done % 2 == 0 else (1, 0):
            runs[side].append(start(side, done))
        longest = max(longest, clock_s() - pair_begun)
    return Turns(*runs, clock_s() - begun)


def _refused(runs: Sequence[Sequence[Run]], wanted: int) -> bool:
    """Whether another process may give a point what it lacks; one that was refused always will be again."""
    for side in runs:
        for key in {key for run in side for key in run.refused}:
            if 0 < sum(key in run.takes for run in side) < wanted:
                return True
    return False


# One process


def run_pytest(side: Side, words: Sequence[str], output: Path) -> None:
    """Pytest in a process group of its own; nothing of it is left afterwards, however this ends. Raises SideError."""
    command = [sys.executable, "-m", "pytest", *words]
    with output.open("wb") as file:
        process = subprocess.Popen(
            command,
            cwd=side.root,
            env=dict(side.environment),
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=die_with_parent if os.name == "posix" else None,  # this process has one thread
        )
        try:
            code = process.wait()
        finally:
            with undisturbed():
                _end(process)
    if code not in GOOD:
        raise side.failed(f"pytest ended with {code}", output)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Stop the process, and whatever it started."""
    if process.poll() is None:
        _signal(process, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(GRACE_S)
    _signal(process, getattr(signal, "SIGKILL", signal.SIGTERM))
    process.wait()


def _signal(process: subprocess.Popen[bytes], number: int) -> None:
    with suppress(OSError):
        if hasattr(os, "killpg"):
            os.killpg(process.pid, number)
        else:
            process.send_signal(number)


# What it is started with

REFUSED = ("--ocrsweep-update", "--ocrsweep-prune", "--ocrsweep-analytic-only", "--ocrsweep-report", "--collect-only")


def check(words: Sequence[str]) -> None:
    """Raises ArgumentError for what makes no sense in a comparison."""
    for word in words:
        if word.partition("=")[0] in REFUSED:
            raise ArgumentError(f"gate: {terminal_line(word)} does not go with --against:", "leave it out")


def arguments(own: Sequence[str], folder: Path, report: Path) -> list[str]:
    """Those of one process: no recorded number decides, and nothing is written but the report.

    `-m ocrsweep` leaves out tests that check no point.
    """
    words = ["-q", "--no-header", "--tb=line", "-p", "no:cacheprovider", "-m", "ocrsweep"]
    return [*words, "-o", f"ocrsweep_baselines={folder / 'no-baselines'}", f"--ocrsweep-report={report}", *own]
