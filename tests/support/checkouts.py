"""A project with six points, whose workers are processes; for tests of workers elsewhere and of lost ones."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

SUITE = """
def test_decode(ocrsweep, grid, attention):
    ocrsweep.check("decode", grid, attention)
"""
# Dies in the points that are named in DIE, as often as given, with its host if HOST_DIES, and says what ran where.
CONFTEST = """
import os, pathlib, socket, sys
import pytest

def pytest_runtest_call(item):
    with open(os.environ["TOLD"], "a") as file:
        print(item.name, socket.gethostname(), os.getcwd(), sys.prefix, sep="\\t", file=file)
    name, times = os.environ.get("DIE", "- 0").split()
    if item.name == name and pathlib.Path(os.environ["TOLD"]).read_text().count(name) <= int(times):
        if "HOST_DIES" in os.environ:
            os.kill(os.getppid(), 9)
        os._exit(1)
"""
ALONE = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "OMP_NUM_THREADS": "1"}  # for speed
COUNTED = ("--ocrsweep-analytic-only", "--ocrsweep-update")
POINTS = [f"test_decode[{grid}-{attention}]" for grid in ("1x1", "1x2", "2x3") for attention in ("eager", "flash")]


class Checkout:
    """A project with six points, whose workers are processes of their own."""

    def __init__(self, folder: Path, pytester: pytest.Pytester) -> None:
        self.path, self._pytester = folder, pytester
        self.told = folder.parent / f"{folder.name}.txt"
        (folder / "suites").mkdir(parents=True)
        (folder / "suites" / "test_decode.py").write_text(SUITE)
        (folder / "conftest.py").write_text(CONFTEST)
        (folder / "pytest.ini").write_text("[pytest]\nocrsweep_grids = 1x1,1x2,2x3\nocrsweep_baselines = baselines\n")

    def copy(self, name: str) -> Checkout:
        made = Checkout(self.path.parent / name, self._pytester)
        shutil.copytree(self.path, made.path, dirs_exist_ok=True)
        return made

    def run(
        self,
        *arguments: str,
        die: str = "- 0",
        code: int = 0,
        plugins: tuple[str, ...] = ("ocrsweep",),
        paths: tuple[str, ...] = ("suites/",),
        process: bool = False,
    ) -> str:
        """What pytest says; it must end with that code. Its controller is this process, or one of its own."""
        words = [*paths, "-v", "-p", "no:cacheprovider", *(f"-p{plugin}" for plugin in ("xdist", *plugins)), *arguments]
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(self.path)
            patch.delenv("PYTEST_ADDOPTS")
            for name, value in {**ALONE, "TOLD": str(self.told), "DIE": die}.items():
                patch.setenv(name, value)
            run = self._pytester.run if process else self._pytester.runpytest_inprocess
            result = run(*([sys.executable, "-m", "pytest"] if process else []), *words)
        told = "\n".join([*result.outlines, *result.errlines, ""])
        assert result.ret == code, told
        assert "INTERNALERROR" not in told
        return told

    @property
    def ran(self) -> list[list[str]]:
        """Item, host, folder and sys.prefix of all that began."""
        return [line.split("\t") for line in self.told.read_text().splitlines()]

    def recorded(self, stage: str = "decode") -> int:
        document = json.loads((self.path / "baselines" / "deepseek-ocr" / f"{stage}.json").read_text())
        return len(document["points"])


@contextmanager
def servers(checkout: Checkout) -> Iterator[Callable[..., list[str]]]:
    """What starts a socket server here, as another host has one, and gives the options for a worker there."""
    started = []

    def serve(die: str = "- 0", folder: Path = checkout.path, **variables: str) -> list[str]:
        with socket.create_server(("127.0.0.1", 0)) as free:
            at = "{}:{}".format(*free.getsockname())
        environment = {**os.environ, **ALONE, "TOLD": str(checkout.told), "DIE": die, **variables}
        # Unbuffered, because the server never flushes the line that is read below.
        command = [sys.executable, "-u", "-m", "execnet.script.socketserver", at]
        streams = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        started.append(subprocess.Popen(command, cwd=folder, env=environment, **streams))
        started[-1].stdout.readline()  # it listens
        name = f"host{len(started)}"
        return [f"--px=id={name}//socket={at}", f"--tx=popen//via={name}"]

    try:
        yield serve
    finally:
        for server in started:
            server.kill()
            server.communicate()
