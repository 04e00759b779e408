"""Folders that are read-only and disks that are full: a clear line, all else written, nothing half, nothing empty."""

from __future__ import annotations

import errno
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from documents import report

from pytest_ocrsweep.errors import ReportError
from pytest_ocrsweep.files import atomic
from pytest_ocrsweep.report import files, sqlite
from pytest_ocrsweep.report.load import load

NO_CHARTS = """
from pytest_ocrsweep.report import files
files.find_spec = lambda module: None  # they take seconds
"""
SMALL = 25_000  # bytes: data fits, the database and the page do not
PYTEST = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "ocrsweep"]
RUN = shlex.join([*PYTEST, "--ocrsweep-analytic-only", "--ocrsweep-report=out"])
ALONE = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}  # other plugins take longer to load than all this runs


@pytest.fixture
def small_files() -> Iterator[None]:
    """No file may grow above SMALL: what a full disk does, without one."""
    resource = pytest.importorskip("resource", reason="this system has no limits on files")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (SMALL, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.fixture
def mounted(recorded) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs a command in the project after some mounts, which end with it: root may write where a mode bars it."""
    if shutil.which("unshare") is None or subprocess.run(["unshare", "-rm", "true"], capture_output=True).returncode:
        pytest.skip("mounting needs `unshare -rm`, which is not allowed here")

    recorded.write("conftest.py", NO_CHARTS)

    def run(mounts: str, command: str) -> subprocess.CompletedProcess[str]:
        mine = ["unshare", "-rm", "sh", "-c", f"{mounts}\n{command}"]
        return subprocess.run(mine, cwd=recorded.path, env=ALONE, capture_output=True, text=True)

    return run


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


READ_ONLY = "mount --bind {0} {0} && mount -o remount,bind,ro {0} || exit 99"
FULL = "mount -t tmpfs -o size={1}k tmpfs {0} || exit 99"


def test_baselines_in_a_read_only_folder_are_one_line_and_all_else_is_done(recorded, mounted):
    for stage in ("prefill", "decode"):
        recorded.edit(lambda points: points[0].update(tensor_flops=1), stage)
    before = recorded.baseline().read_bytes()
    result = mounted(READ_ONLY.format("baselines"), f"{RUN} --ocrsweep-update")
    assert result.returncode == pytest.ExitCode.USAGE_ERROR
    told = [line for line in result.stdout.splitlines() if line.startswith("ERROR")]
    assert told == [
        "ERROR: baselines/deepseek-ocr/prefill.json, baselines/deepseek-ocr/decode.json: not recorded, left as before "
        "(Read-only file system): make the folder writable and update again"
    ]
    assert recorded.baseline().read_bytes() == before
    assert len(load(recorded.path / "out").points) == 12
    assert "12 passed" in result.stdout


def test_an_update_that_changes_nothing_needs_no_writable_folder(recorded, mounted):
    result = mounted(READ_ONLY.format("baselines"), f"{RUN} --ocrsweep-update")
    assert result.returncode == 0
    assert "decode.json: 0 points added, 0 changed, 6 as before" in result.stdout


def test_a_read_only_report_folder_is_said_before_the_work(recorded, mounted):
    (recorded.path / "out").mkdir()
    result = mounted(READ_ONLY.format("out"), RUN)
    assert result.returncode == pytest.ExitCode.USAGE_ERROR
    (line,) = result.stderr.strip().splitlines()
    assert line.startswith("ERROR: --ocrsweep-report: ")
    assert line.endswith("out: no report can be written there (it is not writable): give another folder")


def test_baselines_on_a_full_disk_stay_as_they_were(recorded, mounted):
    recorded.edit(lambda points: points[0].update(tensor_flops=1))
    before = recorded.baseline().read_bytes()
    fill = (
        "cp -r baselines kept; "
        + FULL.format("baselines", 16)
        + "; cp -r kept/. baselines; cat /dev/zero > baselines/filler 2>&-"
    )
    keep = f"{RUN} --ocrsweep-update; code=$?; rm baselines/filler; cp -r baselines after; exit $code"
    result = mounted(fill, keep)
    assert result.returncode == pytest.ExitCode.USAGE_ERROR
    assert "decode.json: not recorded, left as before (No space left on device): free some space there" in result.stdout
    after = recorded.path / "after" / "deepseek-ocr"
    assert (after / "decode.json").read_bytes() == before
    assert names(after) == {"prefill.json", "decode.json"}


def test_of_a_report_on_a_full_disk_all_is_whole_that_is_there(recorded, mounted):
    (recorded.path / "out").mkdir()
    result = mounted(FULL.format("out", 32), f"{RUN}; code=$?; cp -r out after; exit $code")
    assert result.returncode == pytest.ExitCode.USAGE_ERROR
    (line,) = (line for line in result.stdout.splitlines() if line.startswith("ERROR"))
    assert "No space left on device): free some space there" in line
    after = recorded.path / "after"
    assert all(path.stat().st_size for path in after.rglob("*") if path.is_file())
    assert all(list(path.iterdir()) for path in after.rglob("*") if path.is_dir())
    assert len(load(after / "sweep.json").points) == 12


def test_a_database_that_finds_no_room_is_not_there(tmp_path, small_files):
    with pytest.raises(
        ReportError, match=r"sweep\.sqlite: .*nothing was changed; free some space there, or give another"
    ):
        sqlite.write(report(), tmp_path / "sweep.sqlite")
    assert names(tmp_path) == set()


def test_what_fits_is_written_and_said_beside_what_does_not(tmp_path, small_files, monkeypatch):
    monkeypatch.setattr(files, "find_spec", lambda module: None)
    with pytest.raises(ReportError, match=r"sweep\.sqlite: .*; beside it written: sweep\.json, report\.md$"):
        files.write(report(), tmp_path)
    assert names(tmp_path) == {"sweep.json", "report.md"}


def test_a_run_whose_baselines_find_no_room_says_so_and_reports(project, small_files):
    grids = ",".join(f"1x{columns}" for columns in range(1, 60))
    result = project.run("--ocrsweep-update", f"--ocrsweep-grids={grids}")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stdout.fnmatch_lines(["ERROR: baselines/*/prefill.json, *decode.json: *(File too large): free some space *"])
    assert not (project.path / "baselines").exists()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
def test_a_write_that_fails_leaves_no_folder_that_it_made(tmp_path, monkeypatch, number):
    def full(_: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match=os.strerror(number)) as error:
        atomic.write(tmp_path / "a" / "b" / "file", "half")
    assert error.value.filename == str(tmp_path / "a" / "b" / "file")
    assert names(tmp_path) == set()
