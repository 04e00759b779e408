"""Mutation testing: every small change of a module's code must turn one of the module's own tests red.

The modules are the pure ones, and those that record, judge and write: what they get wrong loses data.

    python dev/campaigns/mutants.py [MODULE ...]      such as model/geometry baselines/gate; all without one
    python dev/campaigns/mutants.py --sample 40       so many of each module, drawn by chance but the same each time

Mutants are those of mutmut's operators (https://github.com/boxed/mutmut), over whole files: functions, decorated ones
too, constants, tables and defaults; mutations.py says which are left out.
Each runs in a fork of its own that imports the changed module and then the tests of that module, up to the first that
fails; no file is changed. A mutant that runs on and on, or waits, is killed too: its tests would never be green.

Prints each module's mutants, killed, survived and score, and every survivor. Exits with 1 where the score of all
together is below 95 %. Takes hours on one core; `make mutants` installs what it needs.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import importlib.machinery
import importlib.util
import os
import random
import resource
import signal
import sys
import time
from collections.abc import Iterable, Sequence
from itertools import islice
from math import ceil
from pathlib import Path
from tempfile import TemporaryDirectory
from types import CodeType

import hypothesis
import pytest
from mutant_tests import TESTS
from mutations import Mutant, mutants

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = "pytest_ocrsweep"
GOAL = 0.95
MEMORY = 8 << 30  # bytes that a mutant may hold
# What a fork need not import again; nothing of our own, which it imports with the mutant in it.
HEAVY = ("hypothesis.strategies", "hydra", "omegaconf", "yaml", "PIL.Image", "numpy", "_pytest.pytester", "sqlite3")
HEAVY += ("filelock",)
# Where pytest rewrites assertions it loads the plugin's modules itself, and so as they are in their files.
OPTIONS = ("-x", "-q", "-p", "no:cacheprovider", "--no-header", "--assert=plain")
UNCHANGED = 99  # the exit of a fork whose tests did not load the changed module


class Changed(importlib.machinery.SourceFileLoader):
    """Loads a module with other source than its file's."""

    source = ""
    loaded = False  # whether any was, in this process

    def get_code(self, fullname: str) -> CodeType:
        """The changed source, compiled; nothing is cached."""
        Changed.loaded = True
        return compile(self.source, self.path, "exec", dont_inherit=True)


class Change:
    """Finds one module, changed."""

    def __init__(self, name: str, path: Path, source: str) -> None:
        self.name, self.path, self.source = name, path, source

    def find_spec(self, name: str, path: object = None, target: object = None) -> importlib.machinery.ModuleSpec | None:
        """The changed module under its own name, nothing for any other."""
        if name != self.name:
            return None
        loader = Changed(name, str(self.path))
        loader.source = self.source
        return importlib.util.spec_from_file_location(name, self.path, loader=loader)


def start(module: str, source: str, tests: Sequence[str], cpu_s: int, wait_s: int) -> int:
    """Runs the tests with this source of the module, in a fork whose process id it gives and whose exit is pytest's."""
    pid = os.fork()
    if pid == 0:
        with open(os.devnull, "w") as nowhere:
            os.dup2(nowhere.fileno(), 1)
            os.dup2(nowhere.fileno(), 2)
        resource.setrlimit(resource.RLIMIT_CPU, (cpu_s, cpu_s))
        signal.alarm(wait_s)  # it waits for a lock, or for a pipe
        resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
        name = f"{PACKAGE}.{module.removesuffix('/__init__').replace('/', '.')}"
        sys.meta_path.insert(0, Change(name, ROOT / PACKAGE / f"{module}.py", source))
        code = 3
        try:
            code = int(pytest.main([*OPTIONS, *tests]))
            code = code if Changed.loaded else UNCHANGED
        finally:
            os._exit(code)
    return pid


def survivors(module: str, found: Sequence[Mutant], jobs: int) -> list[Mutant]:
    """Those of the mutants with which all tests of the module pass."""
    tests = TESTS[module]
    begun = time.monotonic()
    unchanged = start(module, (ROOT / PACKAGE / f"{module}.py").read_text(), tests, cpu_s=600, wait_s=3600)
    _, status, used = os.wait4(unchanged, 0)
    if os.waitstatus_to_exitcode(status) == UNCHANGED:
        raise SystemExit(f"{module}: pytest {' '.join(tests)} does not load it, so no mutant would be noticed")
    if status != 0:
        raise SystemExit(f"{module}: pytest {' '.join(tests)} fails without any mutant")
    cpu_s = 2 + ceil(4 * used.ru_utime)
    wait_s = 20 + ceil(4 * (time.monotonic() - begun))  # as busy as the machine is
    left, waited = list[Mutant](), 0
    running: dict[int, Mutant] = {}
    waiting = iter(found)
    while True:
        for mutant in islice(waiting, jobs - len(running)):
            running[start(module, mutant.source, tests, cpu_s, wait_s)] = mutant
        if not running:
            if waited:
                print(f"    {waited} stopped after {wait_s} s: they wait, or the machine is busy", flush=True)
            return sorted(left, key=found.index)
        pid, status = os.wait()
        mutant = running.pop(pid)
        waited += os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGALRM
        if status == 0:
            left.append(mutant)


def main() -> int:
    """Runs what the arguments say; see the module's docstring."""
    parser = argparse.ArgumentParser(description="Mutation testing of the pure modules.")
    parser.add_argument(
        "modules", nargs="*", metavar="MODULE", help="such as model/geometry or baselines/gate; all without one"
    )
    parser.add_argument("--sample", type=int, help="so many mutants of each module, drawn by chance")
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)), help="mutants at a time")
    arguments = parser.parse_args()
    unknown = sorted(set(arguments.modules) - TESTS.keys())
    if unknown:
        parser.error(f"unknown module {', '.join(unknown)}: choose from {', '.join(TESTS)}")
    with TemporaryDirectory() as compiled:
        prepare(compiled)
        return report(arguments.modules or TESTS, arguments.jobs, arguments.sample)


def report(modules: Iterable[str], jobs: int, sample: int | None) -> int:
    """Tests and prints module by module; the exit status."""
    total = killed = 0
    print(f"{'module':<24}{'mutants':>8}{'killed':>8}{'survived':>10}{'score':>9}{'s':>6}", flush=True)
    for module in modules:
        begun = time.monotonic()
        found = mutants(ROOT / PACKAGE / f"{module}.py")
        if sample is not None:
            found = random.Random(module).sample(found, min(sample, len(found)))
        left = survivors(module, found, jobs)
        dead = len(found) - len(left)
        total, killed = total + len(found), killed + dead
        row = f"{module:<24}{len(found):>8}{dead:>8}{len(left):>10}{dead / len(found):>9.1%}"
        print(f"{row}{time.monotonic() - begun:>6.0f}", flush=True)
        for mutant in left:
            print(f"    {module}.py:{mutant}", flush=True)
    print(f"{'all':<24}{total:>8}{killed:>8}{total - killed:>10}{killed / total:>9.1%}")
    return 0 if killed / total >= GOAL else 1


def prepare(compiled: str) -> None:
    """Imports what every fork needs; properties are tried on the same examples each time, and failures not made small.

    What a fork compiles it leaves in the folder `compiled` for those that follow.
    """
    sys.pycache_prefix, sys.dont_write_bytecode = compiled, False
    os.chdir(ROOT)
    sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "tests" / "support")]
    os.environ.update(PYTEST_DISABLE_PLUGIN_AUTOLOAD="1", PYTEST_PLUGINS=f"{PACKAGE}.plugin")
    hypothesis.settings.register_profile(
        "mutants",
        max_examples=50,
        derandomize=True,
        database=None,
        deadline=None,
        phases=(hypothesis.Phase.explicit, hypothesis.Phase.generate),
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    hypothesis.settings.load_profile("mutants")
    for name in HEAVY:
        importlib.import_module(name)
    gc.freeze()  # what is here stays shared with the forks


if __name__ == "__main__":
    sys.exit(main())
