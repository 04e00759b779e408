"""One file that is replaced: what its draft is meanwhile, what an error says, and what is none of its concern."""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pytest_ocrsweep.files import atomic

posix = pytest.mark.skipif(os.name != "posix", reason="modes and owners are POSIX's")


@pytest.fixture
def _no_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "file").write_text("old")
    return tmp_path / "file"


def drafts(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.name.endswith(atomic.DRAFT)]


@pytest.mark.parametrize(
    ("numbers", "told"),
    [
        ((errno.ENOSPC, errno.EDQUOT, errno.EFBIG), "free some space there"),
        ((errno.EACCES, errno.EPERM, errno.EROFS), "make the folder writable"),
        ((errno.EISDIR, errno.ENOTDIR, errno.EINVAL, errno.ELOOP), "move away what stands in its place"),
        ((errno.EIO, None), "see to it"),
    ],
)
def test_every_error_has_its_remedy(numbers, told):
    assert [atomic.remedy(OSError(number, "why")) for number in numbers] == [told] * len(numbers)


@posix
@pytest.mark.usefixtures("_no_umask")
def test_a_draft_is_never_open_to_more_users_than_its_file(file):
    file.chmod(0o600)
    with atomic.draft(file):
        assert [stat.S_IMODE(path.stat().st_mode) for path in drafts(file.parent)] == [0o600]


@posix
@pytest.mark.usefixtures("_no_umask")
def test_a_new_file_may_be_read_and_written_by_all_whom_the_umask_allows(tmp_path):
    atomic.write(tmp_path / "file", "new")
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o666


def test_a_draft_has_a_name_by_which_it_is_known_when_its_writer_is_dead(file):
    with atomic.draft(file):
        (draft,) = drafts(file.parent)
        found = atomic.LEFTOVER.fullmatch(draft.name)
    assert found
    assert found[1] == "file"


def test_a_file_is_removed_for_good_and_one_that_is_gone_is_no_error(file, monkeypatch):
    synced = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(os.fstat(descriptor).st_ino))
    with atomic.locked(file):
        atomic.remove(file)
        assert not file.exists()
        atomic.remove(file)
    if os.name == "posix":
        assert set(synced) == {file.parent.stat().st_ino}


def test_a_write_removes_old_drafts_of_its_file_and_of_no_other(file):
    others = [file.with_name(f".other.0a1b2c3d{atomic.DRAFT}"), file.with_name(f".other{atomic.LOCK}")]
    mine = [file.with_name(f".file.0a1b2c3d{atomic.DRAFT}"), file.with_name(f".file{atomic.DRAFT}")]
    for path in (*others, *mine):
        path.touch()
    atomic.write(file, "new")
    assert {path.name for path in file.parent.iterdir()} == {"file", *(path.name for path in others)}


def test_a_draft_that_another_writer_renames_meanwhile_stops_no_write(file, monkeypatch):
    """The stages of a model lie in one folder, and another process may record another stage."""
    other = file.with_name(f".other.0a1b2c3d{atomic.DRAFT}")
    other.touch()
    scandir = os.scandir

    @contextmanager
    def renamed_after(folder):
        with scandir(folder) as entries:
            found = list(entries)
        other.unlink(missing_ok=True)
        yield found

    monkeypatch.setattr(os, "scandir", renamed_after)
    atomic.write(file, "new")
    assert file.read_text() == "new"


def test_what_is_left_of_a_file_whose_name_has_two_lines_is_removed(tmp_path):
    (tmp_path / f".a\nb.0a1b2c3d{atomic.DRAFT}").touch()
    atomic.remove_leftovers(tmp_path)
    assert list(tmp_path.iterdir()) == []


# What an error says


def failed(path: Path) -> tuple[int | None, str | None, str]:
    with pytest.raises(OSError, match=re.escape(str(path))) as error:
        atomic.write(path, "new")
    return error.value.errno, error.value.strerror, error.value.filename


def test_a_file_in_a_folders_place_is_no_folder(file):
    path = file / "below"
    assert failed(path) == (errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path))


@posix
@pytest.mark.parametrize(
    ("plant", "number", "what"),
    [(Path.mkdir, errno.EISDIR, "Is a directory"), (os.mkfifo, errno.EINVAL, "it is not a regular file")],
)
def test_what_stands_in_a_files_place_is_said(tmp_path, plant, number, what):
    plant(tmp_path / "file")
    assert failed(tmp_path / "file") == (number, what, str(tmp_path / "file"))


@posix
def test_what_stands_in_a_locks_place_is_said(tmp_path):
    (tmp_path / f".file{atomic.LOCK}").mkdir()
    what = "its lock .file.ocrsweep-lock is not a regular file of its own"
    assert failed(tmp_path / "file") == (errno.EINVAL, what, str(tmp_path / "file"))


def test_who_waits_for_a_lock_too_long_is_told_as_one_who_waits(file):
    with atomic.locked(file), pytest.raises(TimeoutError) as error, atomic.locked(file, wait_s=0.05):
        pass
    assert (error.value.errno, error.value.filename) == (errno.ETIMEDOUT, str(file))
    assert error.value.strerror == "another process has been writing it for 0.05 s"


@pytest.mark.parametrize(
    ("raised", "number", "what"),
    [
        (OSError("no number"), None, "no number"),
        (OSError(errno.ENOSPC, "of its own"), errno.ENOSPC, "of its own"),
        (OSError(errno.EIO, None), errno.EIO, os.strerror(errno.EIO)),
    ],
    ids=["without a number", "with a text", "without a text"],
)
def test_an_error_of_the_block_names_the_file_and_keeps_what_it_says(file, raised, number, what):
    with pytest.raises(OSError, match=re.escape(str(file))) as error, atomic.draft(file):
        raise raised
    assert (error.value.errno, error.value.strerror, error.value.filename) == (number, what, str(file))
    assert file.read_text() == "old"


# Who may do what with a file


@posix
def test_the_group_is_given_by_itself_for_most_users_may_give_no_file_away(file, monkeypatch):
    given = []
    monkeypatch.setattr("os.fchown", lambda _, owner, group: given.append((owner, group)))
    atomic.write(file, "new")
    assert given == [(-1, file.stat().st_gid), (file.stat().st_uid, -1)]


@posix
@pytest.mark.parametrize(("mode", "kept"), [(0o664, 0o644), (0o665, 0o655), (0o640, 0o600)])
@pytest.mark.skipif(not hasattr(os, "getxattr"), reason="this system has no access lists")
def test_another_group_has_the_rights_of_all_and_no_access_list(file, monkeypatch, mode, kept):
    file.chmod(mode)
    real, copied = os.fstat, []

    def of_another_group(descriptor: int) -> os.stat_result:
        status = list(real(descriptor))
        return os.stat_result([*status[:5], status[5] + 1, *status[6:]])

    with monkeypatch.context() as patch:
        patch.setattr("os.fstat", of_another_group)
        patch.setattr("os.getxattr", lambda *_: b"list")
        patch.setattr("os.setxattr", lambda *arguments: copied.append(arguments))
        atomic.write(file, "new")
    assert stat.S_IMODE(file.stat().st_mode) == kept
    assert copied == []


@pytest.mark.skipif(not hasattr(os, "getxattr"), reason="this system has no access lists")
def test_an_access_list_is_copied(file, monkeypatch):
    copied = []
    monkeypatch.setattr("os.getxattr", lambda path, name: f"{name} of {Path(path).name}".encode())
    monkeypatch.setattr("os.setxattr", lambda descriptor, name, value: copied.append((name, value)))
    atomic.write(file, "new")
    assert copied == [("system.posix_acl_access", b"system.posix_acl_access of file")]
