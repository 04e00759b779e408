"""Lets system calls fail, and cuts the power, while files are written: old or new content, and never a traceback.

An update, a report, a database of shapes and a Parquet file are each written with the n-th system call on their folder
failing: `open`, `read`, `write`, `fsync`, `close`, `rename`, `unlink`, `mkdir`, locks, and what else changes a file.
The calls are those of Python, SQLite and Arrow alike: faults.c, compiled by gcc, is preloaded below them. Once the call
alone fails (EIO), once every call from it on (ENOSPC). After each the folder holds old or new files, the exit code and
one line say so, and an undisturbed run finishes the work and cleans up.

The power is cut after every call that changes a file, see power.py.

    python dev/campaigns/faults.py --every 1

`--careless` has files renamed that are not yet on the disk: the campaign must then fail.
"""

from __future__ import annotations

import argparse
import ctypes
import errno
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from unittest import mock

from tqdm import tqdm

HERE = Path(__file__).parent
SHIM = "OCRSWEEP_FAULTS"  # in the environment: the compiled faults.c
LIMIT_S = 60  # of one run
FIRST = 30  # calls that always fail, each in its turn
FAULTS = {"alone, EIO": (errno.EIO, 0), "and all after it, ENOSPC": (errno.ENOSPC, 1)}
Contents = dict[str, bytes]


@dataclass
class Command:
    """What changes the files in `folder`; it runs in a child of this process, which has imported all that it needs."""

    name: str
    folder: Path
    run: Callable[[], int]
    prepare: Callable[[], object]  # makes the folder as it is before
    old: Contents = field(default_factory=dict)
    new: Contents = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    told: Counter[str] = field(default_factory=Counter)

    @property
    def before(self) -> Path:
        return self.folder.with_name(f"before-{self.name}")

    def learn(self) -> int:
        """Old and new content; gives the number of calls of an undisturbed run."""
        self.prepare()
        shutil.rmtree(self.before, ignore_errors=True)
        if self.folder.exists():
            shutil.copytree(self.folder, self.before, symlinks=True)
        self.old = contents(self.folder)
        done = self.start()
        self.new = contents(self.folder)
        if done.code or self.old == self.new:
            raise SystemExit(f"{self.name}: an undisturbed run fails, or changes nothing:\n{done.output}")
        return done.calls

    def reset(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        if self.before.exists():
            shutil.copytree(self.before, self.folder, symlinks=True)

    def start(self, nth: int = 0, error: int = 0, sticky: int = 0, log: int = -1) -> Done:
        return forked(self.run, str(self.folder), nth, error, sticky, log)

    def fail(self, nth: int, how: str) -> None:
        """One run with a failing call, and all that is looked at after it."""
        self.reset()
        done = self.start(nth, *FAULTS[how])
        self.told[f"exit code {done.code}"] += 1
        self.told[f"{done.failed} failed"] += 1
        where = f"{done.failed}, call {nth} {how}"
        for problem in [*complaints(done), *self.look(must_be_new=done.code == 0)]:
            self.wrong.append(f"{where}: {problem}")
        self.finish(where)

    def look(self, must_be_new: bool = False) -> Iterator[str]:
        """What is wrong with the files that are there."""
        now = contents(self.folder)
        for name in sorted(self.old.keys() | self.new.keys() | now.keys()):
            is_old, is_new = (now.get(name) == known.get(name) for known in (self.old, self.new))
            if not is_old and not is_new:
                yield f"{name} is neither old nor new ({now.get(name, b'')[:60]!r})"
            elif must_be_new and not is_new:
                yield f"{name} is old, and the exit code 0"

    def finish(self, where: str) -> None:
        """An undisturbed run makes all new, and leaves nothing else."""
        if (done := self.start()).code:
            self.wrong.append(f"{where}: the next run: {done.output[-300:]!r}")
        self.wrong += [f"{where}: after the next run {problem}" for problem in self.look(must_be_new=True)]
        if left := [str(path) for path in self.folder.rglob(".*.ocrsweep-*")]:
            self.wrong.append(f"{where}: after the next run there is {', '.join(left)}")


@dataclass(frozen=True)
class Done:
    """How a run ended, after how many calls on its folder, and which of them failed first."""

    code: int
    output: str
    calls: int
    failed: str


def contents(folder: Path) -> Contents:
    """All files but what writers keep beside them."""
    from pytest_ocrsweep.files.atomic import LEFTOVER
    from pytest_ocrsweep.report.owned import MANIFEST

    read = {"sweep.sqlite": runs, MANIFEST: unknown}
    files = [path for path in folder.rglob("*") if path.is_file() and not LEFTOVER.fullmatch(path.name)]
    files = [path for path in files if not path.name.startswith("sweep.sqlite-") and path.suffix != ".ocrsweep-journal"]
    found = {str(path.relative_to(folder)): read.get(path.name, Path.read_bytes)(path) for path in files}
    return {name: content for name, content in found.items() if content != NOTHING}


NOTHING = b"holds nothing"  # is as good as none


def runs(database: Path) -> bytes:
    """How many runs it has; each is read."""
    from pytest_ocrsweep.errors import ReportError
    from pytest_ocrsweep.report import sqlite

    try:
        return b"%d whole runs" % len([sqlite.read(database, run) for run in sqlite.runs(database)])
    except ReportError as error:
        return NOTHING if "it holds no run" in str(error) else str(error).encode()


def unknown(manifest: Path) -> bytes:
    """The files beside a manifest that it does not know; it is written before and after them."""
    from pytest_ocrsweep.errors import ReportError
    from pytest_ocrsweep.report.owned import NAMES, Owned

    try:
        owned = Owned.read(manifest.parent)
    except ReportError as error:
        return str(error).encode()
    return "; ".join(why for name in NAMES if (why := owned.refusal(name))).encode() or NOTHING


def complaints(done: Done) -> Iterator[str]:
    """What is wrong with what a run says."""
    lines = [line for line in done.output.splitlines() if line.startswith(("ERROR", "ocrsweep: "))]
    if "Traceback" in done.output or "INTERNALERROR" in done.output:
        yield f"a traceback: {done.output[-600:]}"
    elif done.code not in (0, 2, 4):
        yield f"exit code {done.code}: {done.output[-300:]}"
    elif done.code and not lines:
        yield f"exit code {done.code} without a line: {done.output[-300:]}"
    elif done.code == 2 and len(done.output.strip().splitlines()) != 1:
        yield f"more than one line: {done.output[-300:]}"


def forked(run: Callable[[], int], folder: str, nth: int, error: int, sticky: int, log: int) -> Done:
    """Runs in a child, with the n-th call on the folder failing."""
    shim = ctypes.CDLL(os.environ[SHIM])
    shim.faults_failed.restype = ctypes.c_char_p
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as result:
        child = os.fork()
        if not child:
            code = 70
            try:
                signal.alarm(LIMIT_S)
                for descriptor in (1, 2):
                    os.dup2(output.fileno(), descriptor)
                shim.faults_arm(folder.encode(), nth, error, sticky, log)
                code = run()
            except SystemExit as stop:
                code = stop.code if isinstance(stop.code, int) else 1
            except BaseException:
                traceback.print_exc()
            finally:
                calls = shim.faults_disarm()
                sys.stdout.flush()
                sys.stderr.flush()
                os.write(result.fileno(), b"%d %s" % (calls, shim.faults_failed()))
                os._exit(code)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        for file in (output, result):
            file.seek(0)
        calls, _, failed = result.read().decode().partition(" ")
        return Done(code, output.read().decode(errors="replace"), int(calls or 0), failed or "no call")


def campaign(commands: list[Command], every: int, power: bool) -> bool:
    """Whether all held."""
    from power import cut

    holds = True
    for command in commands:
        calls = command.learn()
        numbers = [n for n in range(1, calls + 1) if n <= FIRST or n % every == 0]
        for how in FAULTS:
            for nth in tqdm(numbers, desc=f"{command.name}, {how}", unit="fault", disable=None):
                command.fail(nth, how)
        print(f"{command.name}: {calls} calls of an undisturbed run; {len(numbers) * len(FAULTS)} runs with faults")
        if power:
            print(f"  {cut(command, every)}")
        print("  " + ", ".join(f"{name}: {command.told[name]}" for name in sorted(command.told)))
        for wrong, times in Counter(command.wrong).most_common(40):
            print(f"  WRONG, {times} times: {wrong}")
        holds &= not command.wrong
    print("verdict:", "holds: old or new, one line, and the next run is undisturbed" if holds else "FAILS")
    return holds


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--every", type=int, default=7, help=f"of the calls after the first {FIRST}, every so manieth")
    parser.add_argument("--only", action="append", help="only this command; repeatable")
    parser.add_argument("--no-power", dest="power", action="store_false", help="do not cut the power")
    parser.add_argument("--careless", action="store_true", help="without fsync: must fail")
    options = parser.parse_args()
    if SHIM not in os.environ:
        with tempfile.TemporaryDirectory() as folder:
            shim = f"{folder}/faults.so"
            subprocess.run(["gcc", "-shared", "-fPIC", "-O1", "-o", shim, str(HERE / "faults.c"), "-ldl"], check=True)
            preloaded = {**os.environ, "LD_PRELOAD": shim, SHIM: shim, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
            return subprocess.run([sys.executable, *sys.argv], env=preloaded).returncode
    from faulty_commands import commands

    if options.careless:
        mock.patch("os.fsync", return_value=None).start()
    with tempfile.TemporaryDirectory() as folder:
        chosen = [each for each in commands(Path(folder)) if not options.only or each.name in options.only]
        return not campaign(chosen, options.every, options.power)


if __name__ == "__main__":
    sys.modules["faults"] = sys.modules["__main__"]  # the commands import it: there is one class `Command`
    sys.exit(main())
