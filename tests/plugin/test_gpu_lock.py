"""The per-GPU lock, between real processes."""

from __future__ import annotations

import re
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pytest_ocrsweep.sweep.gpu_lock import gpu_lock

HOLD = """
import sys
from pytest_ocrsweep.sweep.gpu_lock import gpu_lock

with gpu_lock(sys.argv[1], waiting=lambda text: print(text, flush=True)):
    print("held", flush=True)
    sys.stdin.read()
"""
Hold = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Locks of their own, for this process and the ones it starts."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return tmp_path


@pytest.fixture
def hold() -> Iterator[Hold]:
    """Starts a process that takes a lock and keeps it until its input ends."""
    started = []

    def start(name: str = "GPU-1") -> subprocess.Popen[str]:
        command = [sys.executable, "-c", HOLD, name]
        started.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_a_second_process_waits_until_the_first_is_done_and_says_for_whom(hold: Hold, folder: Path) -> None:
    first = hold()
    assert first.stdout.readline() == "held\n"
    second = hold()
    said = second.stdout.readline()
    assert re.fullmatch(rf"waiting for GPU-1: process {first.pid} measures on it and holds {folder}/\S+\n", said)
    first.communicate()
    assert second.stdout.readline() == "held\n"


def test_a_killed_holder_leaves_the_lock_free(hold: Hold) -> None:
    holder = hold()
    assert holder.stdout.readline() == "held\n"
    holder.kill()
    holder.wait()
    with gpu_lock("GPU-1", waiting=pytest.fail):
        pass


def test_gpus_do_not_wait_for_each_other(hold: Hold) -> None:
    assert hold("GPU-1").stdout.readline() == "held\n"
    with gpu_lock("GPU-2", waiting=pytest.fail):
        pass


def test_it_is_free_after_a_measurement_that_failed() -> None:
    with pytest.raises(ZeroDivisionError), gpu_lock("cpu", waiting=pytest.fail):
        raise ZeroDivisionError
    with gpu_lock("cpu", waiting=pytest.fail):
        pass


def test_the_file_is_its_users_alone(folder: Path) -> None:
    with gpu_lock("cpu", waiting=pytest.fail):
        (path,) = folder.glob("pytest-ocrsweep-*-cpu.lock")
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_link_in_its_place_is_not_followed(folder: Path) -> None:
    with gpu_lock("cpu", waiting=pytest.fail):
        (path,) = folder.glob("*.lock")
    path.unlink()
    precious = folder / "precious"
    precious.write_text("kept")
    path.symlink_to(precious)
    with pytest.raises(OSError, match=re.escape(str(path))), gpu_lock("cpu", waiting=pytest.fail):
        pass
    assert precious.read_text() == "kept"
