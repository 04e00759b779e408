"""The power is cut: what was not synced is lost, or not, and of several writes a later one may be there alone.

An undisturbed run is written down call by call. After each call the disk may hold, as POSIX has it: a file's content as
it was last synced, or as written since, or some of it; a folder's names as it was last synced, or as they are. Each
such disk must hold old or new files, and the next run must finish the work.
"""

from __future__ import annotations

import random
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from faults import Command

DISKS = ("as synced", "names without content", "content without names", "some of both", "some of both, again")


@dataclass
class File:
    """Its content as programs see it, as it was last synced, and each change since."""

    live: bytearray = field(default_factory=bytearray)
    synced: bytes = b""
    since: list[tuple[int, bytes | None]] = field(default_factory=list)  # offset and bytes; None cuts it off there

    def change(self, at: int, data: bytes | None) -> None:
        apply(self.live, at, data)
        self.since.append((at, data))

    def sync(self) -> None:
        self.synced, self.since = bytes(self.live), []

    def some(self, chance: random.Random) -> bytes:
        content = bytearray(self.synced)
        for at, data in self.since:
            if chance.random() < 0.5:
                apply(content, at, data)
        return bytes(content)


def apply(content: bytearray, at: int, data: bytes | None) -> None:
    content.extend(bytes(max(0, at - len(content))))
    if data is None:
        del content[at:]
    else:
        content[at : at + len(data)] = data


Names = dict[Path, File | None]  # None is a folder


@dataclass
class Disk:
    """The names as programs see them, and as each folder was last synced."""

    top: Path
    live: Names
    synced: Names
    opened: dict[int, Path | File] = field(default_factory=dict)  # a folder by its path

    @classmethod
    def of(cls, folder: Path) -> Disk:
        names: Names = {}
        for path in (folder, *folder.rglob("*")):
            if path.exists():
                content = path.read_bytes() if path.is_file() else b""
                names[path] = File(bytearray(content), content) if path.is_file() else None
        return cls(folder, dict(names), names)

    def take(self, call: list[str], data: bytes) -> None:
        """One call of the run."""
        match call:
            case ["open", descriptor, flags, name]:
                self._open(int(descriptor), int(flags), Path(name))
            case ["close", descriptor]:
                self.opened.pop(int(descriptor), None)
            case ["write", descriptor, at, _]:
                self._file(descriptor).change(int(at), data)
            case ["truncate", descriptor, size]:
                self._file(descriptor).change(int(size), None)
            case ["fsync", descriptor]:
                self._sync(self.opened[int(descriptor)])
            case ["rename", old, new]:
                self.live[Path(new)] = self.live.pop(Path(old))
            case ["unlink" | "rmdir", name]:
                self.live.pop(Path(name))
            case ["mkdir", name]:
                self.live[Path(name)] = None
                if Path(name) == self.top:  # whether the folder around it is synced is not written down
                    self.synced[self.top] = None

    def _open(self, descriptor: int, flags: int, path: Path) -> None:
        if path not in self.live and flags:
            self.live[path] = File()
        found = self.live.get(path)
        self.opened[descriptor] = path if found is None else found
        if found and flags & 0o1000:  # O_TRUNC
            found.change(0, None)

    def _file(self, descriptor: str) -> File:
        found = self.opened[int(descriptor)]
        assert isinstance(found, File)
        return found

    def _sync(self, what: Path | File) -> None:
        if isinstance(what, File):
            what.sync()
            return
        for names in (self.live, self.synced):
            for path in [path for path in names if path.parent == what]:
                if path in self.live:
                    self.synced[path] = self.live[path]
                else:
                    del self.synced[path]

    def after(self, kind: str, chance: random.Random) -> dict[Path, bytes | None]:
        """What a disk may hold when the power comes back."""
        folders = sorted({path.parent for path in (*self.live, *self.synced)})
        kept = {folder: "names" in kind.split(" without")[0] for folder in folders}
        if kind.startswith("some"):
            kept = {folder: chance.random() < 0.5 for folder in folders}
        found: dict[Path, bytes | None] = {}
        for folder in folders:
            names = self.live if kept[folder] else self.synced
            for path, file in names.items():
                if path.parent == folder:
                    found[path] = None if file is None else self._content(file, kind, chance)
        return found

    @staticmethod
    def _content(file: File, kind: str, chance: random.Random) -> bytes:
        if kind.startswith("some"):
            return file.some(chance)
        return bytes(file.live) if kind.startswith("content") else file.synced


def calls(log: bytes) -> Iterator[tuple[list[str], bytes]]:
    """Each call that faults.c wrote down, with the bytes of a write."""
    at = 0
    while at < len(log):
        end = log.index(b"\n", at)
        call = log[at:end].decode().split("\t")
        size = int(call[3]) if call[0] == "write" else 0
        yield call, log[end + 1 : end + 1 + size]
        at = end + 1 + size


def put(disk: dict[Path, bytes | None], folder: Path) -> None:
    """The folder as the disk has it; a file whose folder is lost is lost."""
    shutil.rmtree(folder, ignore_errors=True)
    for path in sorted(disk):
        if path == folder or path.parent.exists():
            content = disk[path]
            if content is None:
                path.mkdir()
            else:
                path.write_bytes(content)


def cut(command: Command, every: int) -> str:
    """After each call every kind of disk is looked at, and the next run on some; gives a line on how many."""
    command.reset()
    disk, chance, looked, finished = Disk.of(command.folder), random.Random(1), 0, 0
    with tempfile.TemporaryFile() as log:
        done = command.start(log=log.fileno())
        log.seek(0)
        run = list(calls(log.read()))
    if done.code or not run:
        raise SystemExit(f"{command.name}: an undisturbed run fails:\n{done.output}")
    for place, (call, data) in enumerate(run, 1):
        disk.take(call, data)
        if call[0] == "close" or (call[0] == "open" and call[2] == "0"):
            continue
        for kind in DISKS:
            put(disk.after(kind, chance), command.folder)
            where = f"power cut after call {place}, {call[0]} {Path(call[-1]).name}, {kind}"
            found = [f"{where}: {problem}" for problem in command.look()]
            command.wrong += found
            looked += 1
            if not found and looked % every == 0:
                command.finish(where)
                finished += 1
    put(disk.after("as synced", chance), command.folder)
    command.wrong += [f"the power is cut after the run: {problem}" for problem in command.look(must_be_new=True)]
    return f"power cut on {looked} disks after {len(run)} calls; on {finished} of them the next run was looked at too"
