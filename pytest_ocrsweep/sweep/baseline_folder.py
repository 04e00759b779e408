"""Which folder of baselines a run reads and writes: the project's own, the nearest above it, or the package's."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..model.stages import STAGES
from . import project_file

NAME = "baselines"
KEY = "ocrsweep_baselines"
PACKAGE = Path(__file__).parents[1]
FILES = tuple(f"{stage}.json" for stage in STAGES)  # of counted numbers
KINDS = {"timed", "serving"}  # folders of times, and of what serving tools measured
SHIPPED = (PACKAGE / "recorded", PACKAGE.parent / NAME)  # in a wheel; in a checkout


@dataclass(frozen=True, slots=True)
class BaselineFolder:
    """Where points are read, and where an update records them."""

    path: Path
    own: Path | None = None  # where the project's own would begin, if `path` is the package's, which is never written
    begins: bool = False  # whether this run's update begins the set
    above: Path | None = None  # another set, above the one that begins


def find(key: str, home: Path, *, writes: bool) -> BaselineFolder:
    """The folder for a run configured in the folder `home`, whose ini file names `key` or, with "", nothing.

    A folder that the ini file names is the one. Without, it is `baselines` in `home` or, if nothing is recorded there,
    in the nearest folder above it up to the repository's top. Without any, what the package recorded is read; a run
    that `writes` begins the project's own.
    """
    named = home / (key or NAME)
    if holds(named):
        return BaselineFolder(named)
    above = next(_above(home, named), None)
    if key:
        return BaselineFolder(named, begins=writes, above=above)
    if above:
        return BaselineFolder(above)
    shipped = next(filter(holds, SHIPPED), None)
    if writes or shipped is None:
        return BaselineFolder(named, begins=writes)
    return BaselineFolder(shipped, own=named)


def of_project(here: Path, *, writes: bool) -> BaselineFolder:
    """The folder of the project that `here` lies in. Raises ConfigError for an ini file that cannot be read."""
    file = project_file.own(here)
    if file is None:
        return find("", here, writes=writes)
    return find(project_file.keys(file).get(KEY, ""), file.parent, writes=writes)


def holds(folder: Path) -> bool:
    """Whether something is recorded in the folder: of any model, on any engine, in any precision, of any code."""
    return folder.is_dir() and any(
        file.is_file() and (file.name in FILES or KINDS.intersection(file.relative_to(folder).parts))
        for file in folder.glob("*/**/*.json")
    )


def _above(home: Path, named: Path) -> Iterator[Path]:
    """Sets of baselines in the folders above `home`, the nearest first, within the same repository of git."""
    for folder in (home, *home.absolute().parents):
        if folder != home and (folder / NAME) != named and holds(folder / NAME):
            yield folder / NAME
        if (folder / ".git").exists():
            return
