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
    result = mounted(FULL.format("out", 44), f"{RUN}; code=$?; cp -r out after; exit $code")
    assert result.returncode == pytest.ExitCode.USAGE_ERROR
    (line,) = (line for line in result.stdout.splitlines() if line.startswith("ERROR"))
    assert "free some space there" in line
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
    with pytest.raises(
        ReportError, match=r"sweep\.sqlite: .*; beside it written: sweep\.json, summary\.json, report\.md, "
    ):
        files.write(report(), tmp_path)
    assert names(tmp_path) == {"sweep.json", "summary.json", "report.md", "charts", ".ocrsweep-report.json"}


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


# Names that somebody else has put there


def planted_link(path: Path) -> None:
    path.symlink_to(path.parent / "precious")


def planted_hard_link(path: Path) -> None:
    path.hardlink_to(path.parent / "precious")


PLANT = pytest.mark.parametrize("plant", [planted_link, planted_hard_link, os.mkfifo, Path.mkdir])


@PLANT
@pytest.mark.parametrize("suffix", [".ocrsweep-draft", ".0a1b2c3d.ocrsweep-draft"])
def test_what_stands_at_the_name_of_a_draft_is_never_written_to(tmp_path, plant, suffix):
    (tmp_path / "precious").write_text("kept")
    plant(tmp_path / f".file{suffix}")
    atomic.write(tmp_path / "file", "new")
    assert (tmp_path / "file").read_text() == "new"
    assert (tmp_path / "precious").read_text() == "kept"


@PLANT
def test_what_stands_at_the_name_of_a_lock_is_refused(tmp_path, plant):
    (tmp_path / "precious").write_text("kept")
    plant(tmp_path / ".file.ocrsweep-lock")
    with pytest.raises(OSError, match=r"its lock \.file\.ocrsweep-lock is not a regular file of its own"):
        atomic.write(tmp_path / "file", "new")
    assert names(tmp_path) == {"precious", ".file.ocrsweep-lock"}
    assert (tmp_path / "precious").read_text() == "kept"


def test_a_draft_is_a_new_file_even_if_its_random_name_was_guessed(tmp_path, monkeypatch):
    names_drawn = iter(["0a1b2c3d", "0a1b2c3d", "11111111"])
    monkeypatch.setattr("secrets.token_hex", lambda _: next(names_drawn))
    (tmp_path / "precious").write_text("kept")
    (tmp_path / ".file.0a1b2c3d.ocrsweep-draft").symlink_to(tmp_path / "precious")
    atomic.write(tmp_path / "file", "new")
    assert (tmp_path / "precious").read_text() == "kept"
    assert (tmp_path / "file").read_text() == "new"


@pytest.mark.parametrize("plant", [os.mkfifo, Path.mkdir])
def test_what_is_no_file_is_not_replaced(tmp_path, plant):
    plant(tmp_path / "file")
    with pytest.raises(OSError, match=r"it is not a regular file|Is a directory"):
        atomic.write(tmp_path / "file", "new")
    assert not (tmp_path / "file").is_file()
    assert names(tmp_path) == {"file"}


def test_leftovers_are_regular_files_of_this_user(tmp_path, monkeypatch):
    planted_names = {".a.ocrsweep-draft", ".b.0a1b2c3d.ocrsweep-draft", ".c.ocrsweep-lock"}
    for name, plant in zip(sorted(planted_names), (planted_link, os.mkfifo, Path.mkdir), strict=True):
        plant(tmp_path / name)
    for name in (".a.00000000.ocrsweep-draft", ".b.ocrsweep-draft", ".d.ocrsweep-lock"):
        (tmp_path / name).touch()
    atomic.remove_leftovers(tmp_path)
    assert names(tmp_path) == planted_names
    (tmp_path / ".e.ocrsweep-draft").touch()
    monkeypatch.setattr("os.geteuid", lambda: 4321)
    atomic.remove_leftovers(tmp_path)
    assert ".e.ocrsweep-draft" in names(tmp_path)


# What a file was before


def test_a_link_stays_a_link_and_what_it_leads_to_is_replaced(tmp_path):
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared" / "real").write_text("old")
    (tmp_path / "first").symlink_to("second")
    (tmp_path / "second").symlink_to("shared/real")
    atomic.write(tmp_path / "first", "new")
    assert os.readlink(tmp_path / "first") == "second"
    assert os.readlink(tmp_path / "second") == "shared/real"
    assert (tmp_path / "shared" / "real").read_text() == "new"
    assert names(tmp_path / "shared") == {"real"}


def test_links_in_a_circle_are_an_error_and_stay(tmp_path):
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(OSError, match="symbolic links"):
        atomic.write(tmp_path / "a", "new")
    assert names(tmp_path) == {"a", "b"}


@pytest.mark.parametrize("mode", [0o664, 0o640, 0o600, 0o444])
def test_a_file_keeps_its_mode(tmp_path, mode):
    (tmp_path / "file").touch()
    (tmp_path / "file").chmod(mode)
    atomic.write(tmp_path / "file", "new")
    assert (tmp_path / "file").stat().st_mode & 0o7777 == mode


def test_a_new_file_has_the_mode_that_the_umask_leaves(tmp_path):
    before = os.umask(0o027)
    try:
        atomic.write(tmp_path / "file", "new")
    finally:
        os.umask(before)
    assert (tmp_path / "file").stat().st_mode & 0o7777 == 0o640


@pytest.mark.skipif(os.name == "nt" or os.geteuid() != 0, reason="only root may give a file away")
def test_a_file_keeps_its_owner_and_group(tmp_path):
    (tmp_path / "file").touch()
    os.chown(tmp_path / "file", 1234, 4321)
    atomic.write(tmp_path / "file", "new")
    status = (tmp_path / "file").stat()
    assert (status.st_uid, status.st_gid) == (1234, 4321)


def test_a_group_that_cannot_be_kept_gives_its_rights_to_no_other(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    (tmp_path / "file").chmod(0o664)
    real = os.fstat

    def of_another_group(descriptor: int) -> os.stat_result:
        status = list(real(descriptor))
        return os.stat_result([*status[:5], status[5] + 1, *status[6:]])

    monkeypatch.setattr("os.fstat", of_another_group)
    atomic.write(tmp_path / "file", "new")
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o644


def test_a_folder_is_synced_once_a_file_in_it_has_its_name(tmp_path, monkeypatch):
    calls: list[str] = []
    sync, rename = os.fsync, os.replace

    def fsync(descriptor: int) -> None:
        calls.append(f"fsync {Path(os.readlink(f'/proc/self/fd/{descriptor}')).name.partition('.ocrsweep')[0][:5]}")
        sync(descriptor)

    monkeypatch.setattr("os.fsync", fsync)
    monkeypatch.setattr("os.replace", lambda *paths: (calls.append("rename"), rename(*paths)))
    (tmp_path / "top").mkdir()
    atomic.write(tmp_path / "top" / "below" / "file", "new")
    assert calls == ["fsync top", "fsync .file", "rename", "fsync below"]
