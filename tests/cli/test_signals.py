"""A block that is stopped by a signal ends as by Ctrl-C, and what cleans up is not disturbed."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from pytest_ocrsweep.sweep import stopping

pytestmark = pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals")

ALL = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def send(number: int) -> None:
    os.kill(os.getpid(), number)


@pytest.fixture(autouse=True)
def _as_before():
    """Every block leaves the handlers as they were; until then a signal that is not handled ends no test run."""

    def unexpected(number: int, frame: object) -> None:
        raise AssertionError(f"signal {number} was not handled")

    before = {number: signal.signal(number, unexpected) for number in ALL}
    yield
    after = [signal.signal(number, handler) for number, handler in before.items()]
    assert after == [unexpected] * len(ALL)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_that_ends_processes_ends_the_block_with_the_code_of_a_shell(number):
    with pytest.raises(SystemExit) as stopped, stopping.stopped_by_signals():
        send(number)
    assert stopped.value.code == 128 + number


def test_ctrl_c_in_such_a_block_stays_what_it_was():
    with pytest.raises(AssertionError, match="signal 2 "), stopping.stopped_by_signals():
        send(signal.SIGINT)


@pytest.mark.parametrize("number", ALL)
def test_nothing_disturbs_what_cleans_up(number):
    with stopping.undisturbed():
        send(number)
    with pytest.raises(RuntimeError), stopping.undisturbed():
        raise RuntimeError


@pytest.mark.parametrize("fails", [False, True])
def test_a_temporary_folder_goes_with_all_that_is_in_it_whatever_somebody_presses(monkeypatch, tmp_path, fails):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "link"))
    real: Callable[..., None] = shutil.rmtree

    def pressed(folder: Path, *words: object, **named: object) -> None:
        send(signal.SIGINT)
        real(folder, *words, **named)

    monkeypatch.setattr("shutil.rmtree", pressed)
    with pytest.raises(RuntimeError) if fails else stopping.undisturbed():  # noqa: SIM117  # one of two
        with stopping.temporary_folder("mine-") as folder:
            assert folder.parent == (tmp_path / "real").resolve()
            assert folder.name.startswith("mine-")
            (folder / "deep").mkdir()
            if fails:
                raise RuntimeError
    assert list((tmp_path / "real").iterdir()) == []


def test_a_temporary_folder_that_is_gone_already_is_no_error():
    with stopping.temporary_folder("mine-") as folder:
        folder.rmdir()
