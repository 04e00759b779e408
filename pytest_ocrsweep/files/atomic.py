"""Atomic, locked writes: a reader sees the old content or the new, never a mixture."""

from __future__ import annotations

import errno
import os
import re
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

WAIT_S = 60  # how long a writer waits for another one

# `.sweep.json.0f3a96c1.ocrsweep-draft` and the lock `.sweep.json.ocrsweep-lock` lie beside `sweep.json` while it is
# written, and stay if the writer is killed. Beside it, because os.replace cannot cross file systems, and because other
# hosts and users must see the lock. A draft's name is random and its file new: others may have put a link in its place.
DRAFT, LOCK = ".ocrsweep-draft", ".ocrsweep-lock"
LEFTOVER = re.compile(rf"\.(.+?)(?:(?:\.[0-9a-f]{{8}})?{re.escape(DRAFT)}|{re.escape(LOCK)})", re.DOTALL)

NEW_FILE = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)  # O_EXCL follows no link either
ACCESS_LIST = "system.posix_acl_access"  # the extended attribute that holds it

REMEDIES = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EFBIG), "free some space there"),
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), "make the folder writable"),
    **dict.fromkeys((errno.EISDIR, errno.ENOTDIR, errno.EINVAL, errno.ELOOP), "move away what stands in its place"),
}


def remedy(error: OSError) -> str:
    """What a user can do about a file that could not be written."""
    return REMEDIES.get(error.errno or 0, "see to it")


def write(path: Path, text: str) -> None:
    """Replace the content of `path` by `text` (UTF-8) once all of it is on the disk; makes folders. Raises OSError."""
    write_bytes(path, text.encode("utf-8"))


def write_bytes(path: Path, content: bytes) -> None:
    """Like `write`, for bytes."""
    with draft(path) as file:
        file.write(content)


@contextmanager
def draft(path: Path) -> Iterator[BinaryIO]:
    """A file to write in the block. It replaces `path` at the end, or is removed if the block fails.

    A link stays a link: what it leads to is replaced. The new file has the mode, group and owner of the old one, as far
    as this user may give them. Every OSError names `path`, also one about the draft or the lock, and one that the block
    raises.
    """
    with locked(path), _draft(path) as file:
        yield file


@contextmanager
def locked(path: Path, wait_s: float = WAIT_S) -> Iterator[None]:
    """Only this process may read, change and `replace` the file `path` in the block; makes its folder.

    Raises OSError, which names `path`, also if another process holds the lock for longer than `wait_s`. The kernel
    frees the lock of a process that dies.
    """
    with _locked(path, Path(os.path.realpath(path)), wait_s):
        yield


def replace(path: Path, text: str) -> None:
    """Like `write`, inside a block that has `locked` the file."""
    with _draft(path) as file:
        file.write(text.encode("utf-8"))


def remove(path: Path) -> None:
    """Remove the file for good, inside a block that has `locked` it. Raises OSError."""
    with _naming(path):
        path.unlink(missing_ok=True)
        _sync(path.parent)


def remove_leftovers(folder: Path) -> None:
    """Remove what killed writers of this user left in `folder`, but nothing of a file that is being written."""
    with suppress(OSError):
        for name in {name for name, _ in _leftovers(folder)}:
            with suppress(OSError), _locked(folder / name, folder / name, wait_s=0):
                _remove_drafts(folder / name)


def _leftovers(folder: Path) -> list[tuple[str, Path]]:
    """Regular files of this user that are named as drafts and locks are, each after the name of its target."""
    with os.scandir(folder) as entries:
        named = [(match[1], entry) for entry in entries if (match := LEFTOVER.fullmatch(entry.name))]
    return [(name, Path(entry.path)) for name, entry in named if _is_own(entry)]


def _is_own(entry: os.DirEntry[str]) -> bool:
    """Whether it is a regular file of this user; not if it is gone by now, as drafts of others come and go."""
    try:
        status = entry.stat(follow_symlinks=False)
    except FileNotFoundError:
        return False
    return stat.S_ISREG(status.st_mode) and (os.name != "posix" or status.st_uid == os.geteuid())


def _remove_drafts(target: Path) -> None:
    """Removes the drafts of killed writers; the caller holds the lock of `target`."""
    for name, path in _leftovers(target.parent):
        if name == target.name and path.name.endswith(DRAFT):
            with suppress(OSError):
                path.unlink()


@contextmanager
def _locked(path: Path, target: Path, wait_s: float) -> Iterator[None]:
    """Locks `target`; errors name `path`."""
    from filelock import FileLock, Timeout

    new_folders = [folder for folder in target.parents if not folder.exists()]
    lock_file = target.with_name(f".{target.name}{LOCK}")
    try:
        with _naming(path):
            target.parent.mkdir(parents=True, exist_ok=True)
            for folder in new_folders:
                _sync(folder.parent)
            _refuse_planted(lock_file)
            lock = FileLock(lock_file, timeout=wait_s)
            try:
                lock.acquire()
            except Timeout:
                what = f"another process has been writing it for {wait_s:g} s"
                raise TimeoutError(errno.ETIMEDOUT, what) from None
        try:
            yield
        finally:
            with suppress(OSError):
                lock_file.unlink()  # before the release: a waiting process sees that it is gone, and starts over
            with suppress(OSError):
                lock.release()
    finally:
        for folder in new_folders:
            with suppress(OSError):
                folder.rmdir()  # fails, as it should, if the folder is not empty


def _refuse_planted(lock_file: Path) -> None:
    """Raises OSError for a link or pipe at the name of a lock; to lock it might change another file, or never end."""
    with suppress(FileNotFoundError):
        status = os.lstat(lock_file)
        if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
            raise OSError(errno.EINVAL, f"its lock {lock_file.name} is not a regular file of its own")


@contextmanager
def _draft(path: Path) -> Iterator[BinaryIO]:
    with _naming(path):
        target = Path(os.path.realpath(path))
        old = _status(target)
        _remove_drafts(target)
        name, file = _new_file(target, 0o666 if old is None else stat.S_IMODE(old.st_mode) & 0o777)
        try:
            with file:
                yield file
                file.flush()
                if old is not None and os.name == "posix":
                    _give_access(file.fileno(), target, old)
                os.fsync(file.fileno())
            os.replace(name, target)
        finally:
            with suppress(OSError):
                name.unlink()
        _sync(target.parent)


def _status(target: Path) -> os.stat_result | None:
    """The status of a regular file; None without one. Raises OSError for a folder, pipe, device or circular link."""
    try:
        status = os.lstat(target)
    except FileNotFoundError:
        return None
    if stat.S_ISREG(status.st_mode):
        return status
    number = {stat.S_IFDIR: errno.EISDIR, stat.S_IFLNK: errno.ELOOP}.get(stat.S_IFMT(status.st_mode), errno.EINVAL)
    what = "it is not a regular file" if number == errno.EINVAL else os.strerror(number)
    raise OSError(number, what)


def _new_file(target: Path, mode: int) -> tuple[Path, BinaryIO]:
    """An empty draft, which nobody had before: an existing file, and a link above all, is never opened."""
    while True:
        name = target.with_name(f".{target.name}.{secrets.token_hex(4)}{DRAFT}")
        with suppress(FileExistsError):
            return name, os.fdopen(os.open(name, NEW_FILE, mode | stat.S_IWUSR), "wb")


def _give_access(descriptor: int, target: Path, old: os.stat_result) -> None:
    """Owner, group, mode and access list of the file that is replaced, as far as this user may set them."""
    mode = stat.S_IMODE(old.st_mode) & 0o777
    for owner, group in ((-1, old.st_gid), (old.st_uid, -1)):
        with suppress(OSError):
            os.fchown(descriptor, owner, group)
    is_same_group = os.fstat(descriptor).st_gid == old.st_gid
    if not is_same_group:  # the bits were for another group
        mode = mode & ~0o070 | (mode & 0o007) << 3
    with suppress(OSError):  # some file systems have no modes
        os.fchmod(descriptor, mode)
    if is_same_group and hasattr(os, "getxattr"):
        with suppress(OSError):
            os.setxattr(descriptor, ACCESS_LIST, os.getxattr(target, ACCESS_LIST))


def _sync(folder: Path) -> None:
    """Puts a new name in `folder` on the disk, so that a loss of power does not bring the old file back.

    Errors are passed over, as SQLite does: the file is in place, and some file systems sync no folder.
    """
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)  # Windows opens no folder
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Turns an OSError in the block into one that names `path`."""
    try:
        yield
    except OSError as error:
        # mkdir raises FileExistsError for a file in a folder's place
        number = errno.ENOTDIR if isinstance(error, FileExistsError) else error.errno
        own_text = error.strerror if number == error.errno else None
        text = str(error) if number is None else own_text or os.strerror(number)
        raise OSError(number, text, str(path)) from None
