"""The per-GPU lock, between real processes."""

from __future__ import annotations

import os
import re
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pytest_ocrsweep.errors import MeasureError
from pytest_ocrsweep.sweep import gpus
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


def test_the_file_and_its_folder_are_their_users_alone(folder: Path) -> None:
    with gpu_lock("cpu", waiting=pytest.fail):
        (own,) = folder.glob("pytest-ocrsweep-*")
        assert stat.S_IMODE(own.stat().st_mode) == 0o700
        assert stat.S_IMODE((own / "cpu.lock").stat().st_mode) == 0o600


@pytest.mark.parametrize("name", ["GPU-MIG-GPU-8f3a/1/0", "GPU-x/../../../x", "GPU-\udcff\n", "GPU-" + "9" * 300])
def test_the_lock_lies_in_its_folder_whatever_the_gpu_is_called(folder: Path, name: str) -> None:
    with gpu_lock(name, waiting=pytest.fail):
        (lock,) = folder.rglob("*.lock")
        assert lock.parent == folder / f"pytest-ocrsweep-{os.getuid()}"


@pytest.mark.parametrize(("value", "names"), [("\u00b2", ["\u00b2"]), ("1," + "9" * 5000, ["1"]), ("0,8,1", ["0"])])
def test_what_is_no_number_of_a_gpu_is_no_traceback(monkeypatch: pytest.MonkeyPatch, value: str, names: list[str]):
    monkeypatch.setenv(gpus.VISIBLE, value)
    monkeypatch.setattr(gpus, "_installed", lambda: 8)
    assert gpus.gpus() == names


def link(path: Path) -> None:
    path.symlink_to(path.parents[-2])


def others_may_write(path: Path) -> None:
    path.mkdir()
    path.chmod(0o777)


@pytest.mark.parametrize(
    ("plant", "why"),
    [
        (Path.touch, "is not a folder"),
        (link, "is not a folder"),
        (os.mkfifo, "is not a folder"),
        (others_may_write, "other users may write to"),
    ],
)
def test_what_others_put_in_the_folders_place_is_one_line(folder: Path, plant: Callable[[Path], object], why: str):
    plant(folder / f"pytest-ocrsweep-{os.getuid()}")
    with pytest.raises(MeasureError, match=why) as error, gpu_lock("cpu", waiting=pytest.fail):
        pass
    assert "\n" not in str(error.value)
    assert str(error.value).endswith("or set TMPDIR to a folder of your own")


@pytest.mark.parametrize("plant", [Path.mkdir, link, os.mkfifo])
def test_what_is_no_file_in_the_locks_place_is_one_line_and_not_followed(
    folder: Path, plant: Callable[[Path], object]
) -> None:
    with gpu_lock("cpu", waiting=pytest.fail):
        (path,) = folder.glob("*/cpu.lock")
    path.unlink()
    plant(path)
    line = pytest.raises(MeasureError, match=rf"{re.escape(str(path))}: .*\(it is not a regular file\); remove ")
    with line, gpu_lock("cpu", waiting=pytest.fail):
        pass


def test_a_folder_of_somebody_else_is_one_line(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.getuid", lambda: 4321)
    line = pytest.raises(MeasureError, match=r"pytest-ocrsweep-4321 belongs to user \d+")
    with line, gpu_lock("cpu", waiting=pytest.fail):
        pass
