"""Which files of a report's folder we wrote: only those are replaced or removed, and never through a link.

A manifest in the folder names each file with the SHA-256 of what was written; for the time of writing it has the old
and the new one, so that a process that dies leaves nothing that the next one does not know.
"""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any

from ..errors import ReportError
from ..files import atomic, database, untrusted
from .load import JSON, SQLITE, load
from .sqlite_schema import APPLICATION_ID

MANIFEST, SCHEMA = ".ocrsweep-report.json", 1
PAGE, HTML, CHARTS, SUMMARY = "report.md", "index.html", "charts", "summary.json"
CHART_NAMES: tuple[str, ...] = ("time", "attained", "change", "roofline", "flops", "bytes", "memory", "required")
OLD_CHARTS = (  # that earlier versions wrote
    *("split-linear", "split-log", "intensity", "parts-flops", "parts-bytes", "parts-time", "kv-cache"),
    *("required-flops", "required-bytes"),
)
SVG = tuple(f"{CHARTS}/{name}.svg" for name in (*CHART_NAMES, *OLD_CHARTS))
NAMES = (JSON, SUMMARY, PAGE, HTML, *SVG)  # the files of a sweep that a manifest may name
SERVING = ("serving.json", "serving.md")  # what `ocrsweep import` writes
LOOKS = {  # how our files begin, or what they have, for folders of versions without a manifest
    PAGE: re.compile(rb"## [^\n]*(?:points failed|, none failed)\n"),
    HTML: re.compile(rb'<!doctype html>.*<a class="skip" href="#points">Skip to the points</a>', re.DOTALL),
    **dict.fromkeys(SVG, re.compile(rb'<svg xmlns="http://www\.w3\.org/2000/svg"[^>]* class="marks"')),
}
MOVE = "move it away, or give another folder"


@dataclass
class Owned:
    """A report's folder, and the digests that the manifest has of each file; None without a manifest."""

    folder: Path
    digests: dict[str, list[str]] | None

    @classmethod
    def read(cls, folder: Path) -> Owned:
        """The folder with its manifest. Raises ReportError if a file with the manifest's name is not a manifest."""
        file = folder / MANIFEST
        try:
            if file.is_symlink():
                raise ValueError("it is a link")
            document = untrusted.parse_json(untrusted.read(file, most=1 << 20))
            return cls(folder, _digests(document))
        except FileNotFoundError:
            return cls(folder, None)
        except (OSError, ValueError, RecursionError) as error:
            why = error.strerror if isinstance(error, OSError) else str(error).partition(";")[0]
            raise ReportError(f"{file}: this is not the list of a report's files ({why}):", "move it away") from None

    def refusal(self, name: str) -> str | None:
        """Why the file may not be replaced; None if it is ours, or missing."""
        file = self.folder / name
        try:
            if file.parent != self.folder and not stat.S_ISDIR(os.lstat(file.parent).st_mode):
                return f"{file.parent} is not a folder but a file or a link"
            status = os.lstat(file)
        except FileNotFoundError:
            return None
        except OSError as error:  # as of a folder that this user may not enter
            return f"{file} cannot be looked at ({error.strerror})"
        if not stat.S_ISREG(status.st_mode):
            return f"{file} is not a regular file"
        if name == SQLITE and status.st_nlink > 1:  # it is changed in place; all others get a new file
            return f"{file} has another name, under which somebody else may keep it"
        if self.has(name):
            return None
        written = "was changed after it was written" if name in (self.digests or {}) else "was not written by ocrsweep"
        return f"{file} {written}"

    def has(self, name: str) -> bool:
        """Whether a regular file is as this suite wrote it."""
        file = self.folder / name
        with suppress(OSError):
            if name == SQLITE:  # runs are added to it
                return database.application(file) == APPLICATION_ID or not file.stat().st_size
            content = untrusted.read(file)
            if self.digests is not None:
                return digest(content) in self.digests.get(name, ())
            return self._is_report and (name == JSON or (name in LOOKS and bool(LOOKS[name].match(content))))
        return False

    @cached_property
    def _is_report(self) -> bool:
        """Whether the folder's sweep.json is one, although no manifest says so."""
        try:
            load(self.folder / JSON)
        except ReportError:
            return False
        return not (self.folder / JSON).is_symlink()

    def adopt(self) -> None:
        """Takes over the files that a version without manifests wrote."""
        if self.digests is None:
            self.digests = {name: [self.digest(name)] for name in NAMES if self.has(name) and not self.refusal(name)}

    def digest(self, name: str) -> str:
        """The digest of the file that is there now."""
        return digest(untrusted.read(self.folder / name))

    def is_there(self, name: str) -> bool:
        """Whether there is a file of ours."""
        return os.path.lexists(self.folder / name) and not self.refusal(name)

    def save(self) -> None:
        """Writes the manifest."""
        document = {"schema": SCHEMA, "files": self.digests or {}}
        atomic.replace(self.folder / MANIFEST, json.dumps(document, indent=1, sort_keys=True) + "\n")


def put(folder: Path, texts: Mapping[str, str], all_of: str | None = None) -> dict[str, str]:
    """Write files by their names in the folder; gives those that could not be written, and why.

    `all_of` is the beginning of names: our other files that begin so are removed. Raises OSError and ReportError if the
    manifest cannot be written: then nothing is.
    """
    problems: dict[str, str] = {}
    Owned.read(folder)  # before the lock: through a link it would be a file of another folder
    with atomic.locked(folder / MANIFEST):
        owned = Owned.read(folder)
        owned.adopt()
        digests = owned.digests or {}
        refusals = {name: owned.refusal(name) for name in texts}
        stale = [name for name in digests if all_of and name.startswith(all_of) and name not in texts]
        stale = [name for name in stale if owned.is_there(name)]
        new = {name: digest(text.encode("utf-8")) for name, text in texts.items() if not refusals[name]}
        both = {name: [*([owned.digest(name)] if owned.is_there(name) else []), new[name]] for name in new}
        owned.digests = digests = {**digests, **both}
        owned.save()
        for name, text in texts.items():
            if why := refusals[name]:
                problems[name] = f"{why}: {MOVE}"
                continue
            try:
                atomic.write(folder / name, text)
                digests[name] = [new[name]]
            except OSError as error:
                problems[name] = (
                    f"{folder / name} cannot be written ({error.strerror or error}): {atomic.remedy(error)}"
                )
        for name in stale:
            with suppress(OSError):
                (folder / name).unlink()
                digests.pop(name, None)
        owned.save()
    return problems


def digest(content: bytes) -> str:
    return sha256(content).hexdigest()


def _digests(document: Any) -> dict[str, list[str]]:
    """The digests in a manifest, by the file's name. Raises ValueError, also for a name that we never write."""
    if (
        not isinstance(document, dict)
        or document.get("schema") != SCHEMA
        or not isinstance(document.get("files"), dict)
    ):
        raise ValueError(f"its schema is not {SCHEMA}")
    files: dict[str, list[str]] = document["files"]
    for name, digests in files.items():
        if name not in (*NAMES, *SERVING):
            raise ValueError(f"{name!r:.60} is no file of a report")
        if not isinstance(digests, list) or not all(isinstance(each, str) for each in digests):
            raise ValueError(f"the digests of {name} are not a list")
    return files
