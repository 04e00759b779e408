"""Where configuration files lie: in the package, and in a folder of the project that a run or command names.

The folder is Hydra's `--config-dir`: it has the groups `model/`, `device/`, `engine/`, `precision/` and `workload/`, or
some of them. One folder at a time is searched in a process, as Hydra and `sys.path` have it: reports, models and
devices are looked up by name in many places.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import ConfigFileError
from . import project_file

CONF = Path(__file__).parents[1] / "conf"
KEY = "ocrsweep_config_dir"
GROUPS = ("model", "device", "engine", "precision", "workload")
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,99}")  # what Hydra takes for a choice without quotes

Stamp = tuple[tuple[str, int, int], ...]  # path, time of the last change and size of each file

_searched: list[Path | None] = [None]


@contextmanager
def searching(folder: Path | None) -> Iterator[None]:
    """In the block, `folder` is searched too; None leaves the search path as it is."""
    _searched.append(folder.absolute() if folder else _searched[-1])
    try:
        yield
    finally:
        _searched.pop()


def searched() -> Path | None:
    """The project's folder that is searched now."""
    return _searched[-1]


def of_command(given: Path | None) -> Path | None:
    """The folder that a command searches: the one given, else that of the ini file. Raises ConfigFileError."""
    if given is not None:
        check(given)
        return given
    file = project_file.own(Path())
    named = project_file.keys(file).get(KEY) if file and project_file.mentions(file, KEY) else None
    if file is None or not named:
        return None
    check(file.parent / named)
    return file.parent / named


def stamp(folder: Path | None) -> Stamp:
    """What changes if a file of the folder does."""
    files = [file for group in GROUPS for file in sorted((folder / group).glob("*.yaml"))] if folder else []
    return tuple((str(file), (status := file.stat()).st_mtime_ns, status.st_size) for file in files)


def ours(group: str) -> dict[str, Path]:
    """The package's files of a group, by the name that chooses them."""
    return {file.stem: file for file in sorted((CONF / group).glob("*.yaml"))}


def theirs(group: str) -> dict[str, Path]:
    """The project's."""
    folder = searched()
    return {file.stem: file for file in sorted((folder / group).glob("*.yaml"))} if folder else {}


def choices(group: str) -> dict[str, Path]:
    """All that `GROUP=NAME` can choose."""
    return ours(group) | theirs(group)


def shown(file: Path) -> str:
    """A path as a person finds it."""
    return os.path.relpath(file) if file.absolute().is_relative_to(Path.cwd()) else str(file)


def check(folder: Path) -> None:
    """Raises ConfigFileError for a folder without a group, and for names that would be taken for others."""
    if not folder.is_dir():
        raise ConfigFileError(f"{shown(folder)} is not a folder")
    if "${" in str(folder.absolute()):
        raise ConfigFileError(
            f"{shown(folder)}: Hydra takes '${{' in a path for an interpolation:", "rename the folder"
        )
    found = [group for group in GROUPS if (folder / group).is_dir()]
    if not found:
        names = sorted(each.name for each in folder.iterdir() if each.is_dir())
        near = [match for name in names for match in difflib.get_close_matches(name, GROUPS, 1)]
        meant = f"; did you mean {near[0]}/?" if near else ""
        raise ConfigFileError(
            f"{shown(folder)} has none of the folders {', '.join(f'{each}/' for each in GROUPS)}{meant}"
        )
    for group in found:
        for file in sorted((folder / group).iterdir()):
            _check_name(group, file)


def _check_name(group: str, file: Path) -> None:
    if file.suffix == ".yml":
        raise ConfigFileError(f"{shown(file)}: Hydra reads .yaml only:", "rename the file")
    if file.suffix != ".yaml":
        return
    if not NAME.fullmatch(file.stem):
        raise ConfigFileError(f"{shown(file)}: a name has letters, digits, '_' and '-':", "rename the file")
    if file.stem.casefold() in ours(group):  # which are in small letters; some disks take both for one folder
        raise ConfigFileError(
            f"{shown(file)}: pytest-ocrsweep has a {group} of that name, which nothing replaces:", "rename the file"
        )
