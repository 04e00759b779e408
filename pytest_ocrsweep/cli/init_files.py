"""What `ocrsweep init` writes: the text of each file, and how it is put where nothing is."""

from __future__ import annotations

import json
import os
import re
import shlex
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import ConfigError
from ..files import atomic, untrusted
from ..files.text import quoted
from ..sweep import project_file
from ..sweep.project_file import Value

if TYPE_CHECKING:
    from ..sweep.settings import Settings

WORKFLOW = Path(".github/workflows/ocrsweep.yml")

NOT_ON_PYPI = "not on PyPI yet: put that wheel into the repository, or write a git URL with a commit"
BY_HAND = "add these lines for pytest yourself"

SUITE = '''\
"""The `{stage}` stage of every crop grid and attention, against its baseline."""


def test_{stage}(ocrsweep, grid, attention):
    ocrsweep.check("{stage}", grid, attention)
'''
COUNTS = """\
# Counts what each crop grid and stage of DeepSeek-OCR costs, on every pull request: no GPU, no secret, nothing written.
name: ocrsweep

on:
  pull_request:
  push:

permissions:
  contents: read

jobs:
  counts:
    runs-on: ubuntu-24.04
    timeout-minutes: 15
    steps:
      - uses: actions/checkout@3d3c42e5aac5ba805825da76410c181273ba90b1 # v7.0.1
        with:
          persist-credentials: false
      - uses: actions/setup-python@5fda3b95a4ea91299a34e894583c3862153e4b97 # v7.0.0
        with:
          python-version: "3.13"
      - run: python -m pip install {install}
      - run: python -m pytest {suites} --ocrsweep-analytic-only
"""


@dataclass
class NewFiles:
    """Writes new files below `root`, and counts what it wrote and left."""

    root: Path
    written: int = 0
    left: int = 0

    def put(self, path: Path, text: str) -> str:
        """Write a file where nothing is; gives the line that says what was done. Raises OSError."""
        target = self.root / path
        if why := self._outside(target) or _in_its_place(target, text):
            self.left += 1
            return f"{path}: left as it is: {why}"
        if os.path.lexists(target):
            return f"{path}: as before"
        target.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(target, atomic.NEW_FILE, 0o666)  # follows no link, and opens nothing that is there
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(text.encode("utf-8"))
        except OSError as error:
            with suppress(OSError):
                target.unlink()
            raise OSError(error.errno, error.strerror, str(target)) from None
        self.written += 1
        return f"{path}: written"

    def change(self, path: Path, text: str) -> str:
        """Give a file of the project, which is no link, another text."""
        atomic.write(self.root / path, text)
        self.written += 1
        return f"{path}: keys added"

    def _outside(self, target: Path) -> str | None:
        """Why a path is not the project's, if its folders are links."""
        folder = Path(os.path.realpath(target.parent))
        if folder.is_relative_to(os.path.realpath(self.root)):
            return None
        return f"its folder leads out of the project, to {folder}"


def _in_its_place(target: Path, text: str) -> str | None:
    """What else stands there; None for nothing and for the very text."""
    if not os.path.lexists(target):
        return None
    if target.is_symlink():
        return "it is a link"
    try:
        same = untrusted.read(target) == text.encode("utf-8")
    except OSError as error:
        return f"it cannot be read ({error.strerror})"
    return None if same else "it has other content"


def suite(stage: str) -> str:
    """A suite of one stage."""
    return SUITE.format(stage=stage)


def workflow(suites: Path, origin: str | None) -> str:
    """The workflow for GitHub Actions; it installs the version that runs here, from where that came from."""
    from importlib.metadata import version

    # A file of the repository: pip asks no index for a name that somebody else may take there.
    wheel = f"./pytest_ocrsweep-{version('pytest-ocrsweep')}-py3-none-any.whl # {NOT_ON_PYPI}"
    return COUNTS.format(install=f'"{origin}"' if origin else wheel, suites=suites.as_posix())


def origin() -> str | None:
    """What pip is to install to get the package that runs here; None if it came from a file of this machine."""
    from importlib.metadata import distribution

    package = distribution("pytest-ocrsweep")
    text = package.read_text("direct_url.json")  # PEP 610: pip writes it for what comes from no package index
    if text is None:
        return f"pytest-ocrsweep=={package.version}"
    with suppress(ValueError, KeyError, TypeError, AttributeError):
        found = json.loads(text)
        address, git = found["url"], found.get("vcs_info", {})
        where = f"git+{address}@{git['commit_id']}" if git.get("vcs") == "git" else address
        if re.fullmatch(r"(git\+)?https://[\w./~+-]+(@[0-9a-f]{40,64})?", where):  # no user, nothing that a shell obeys
            return f"pytest-ocrsweep @ {where}"
    return None


def baselines(folder: Path, stages: Sequence[str], grids: str, settings: Settings) -> dict[Path, str]:
    """The counted numbers of each stage, as files below `folder`. Raises SourceError, ConfigError."""
    from ..baselines import counted
    from ..baselines.counted import PointKey
    from ..baselines.metrics import analytic, exact_numbers
    from ..sweep.catalogue import model_of
    from . import flags

    model, texts = model_of(settings), {}
    works = [settings.workload.on(entry.grid) for entry in flags.points(grids or None, settings)]
    for stage in stages:
        points = {
            PointKey(work, attention): exact_numbers(work, analytic(model.ledger(stage, work, attention)))
            for work in works
            for attention in settings.engine.attentions
        }
        file = counted.file_of(folder, model.recorded_as, stage)
        texts[file] = counted.dump(model.recorded_as, stage, points)
    return texts


# Keys of the file that configures pytest


def set_keys(files: NewFiles, file: Path, keys: Mapping[str, Value]) -> str:
    """Add the keys that the file does not have; gives the line that says what was done. Raises ConfigError."""
    if not file.exists():  # or it is a link that leads nowhere
        new = with_keys(file.name, "", keys)
        if new is None:
            raise ConfigError(f"{file}: such a file cannot hold {quoted('; '.join(_lines(file.name, keys)))}")
        return files.put(file, new)
    text = project_file.read(file)
    present = project_file.parsed(file.name, text)
    read = {name: as_given(file.name, name, present[name], keys[name]) for name in keys if name in present}
    if other := {name: value for name, value in read.items() if value != keys[name]}:
        files.left += 1
        what = ", ".join(f"{name} is {quoted(value)}" for name, value in other.items())
        return f"{file}: left as it is: {what}"
    missing = {name: value for name, value in keys.items() if name not in present}
    if not missing:
        return f"{file}: as before"
    changed = with_keys(file.name, text, missing)
    if changed is None or file.is_symlink():
        files.left += 1
        lines = "; ".join(_lines(file.name, missing))
        return f"{file}: left as it is; {BY_HAND}: {lines}"
    return files.change(file, changed)


def as_given(name: str, key: str, value: object, like: Value) -> object:
    """A key's value in a file of that name, as words if the one `like` it is. Raises ConfigError."""
    return project_file.words(name, key, value) if isinstance(like, list) else value


def with_keys(name: str, text: str, keys: Mapping[str, Value]) -> str | None:
    """A text with lines for the keys after the header of pytest's table or section; all else stays to the byte.

    A file without that header gets one at its end. None if a parser does not find just these keys added.
    """
    end = "\r\n" if "\r\n" in text else "\n"
    lines = "".join(f"{line}{end}" for line in _lines(name, keys))
    text += end if text and not text.endswith("\n") else ""  # the header may be the last line
    headers = [re.escape(each) for each in _headers(name)]
    places = [match for each in headers for match in re.finditer(rf"^\[{each}\][ \t]*(#[^\r\n]*)?\r?\n", text, re.M)]
    if places:
        at = places[0].end()
        changed = text[:at] + lines + text[at:]
    else:
        gap = end if text else ""
        changed = f"{text}{gap}[{_headers(name)[0]}]{end}{lines}"
    try:
        before, after = project_file.parsed(name, text), dict(project_file.parsed(name, changed))
        for key, value in keys.items():
            if key in after:
                after[key] = as_given(name, key, after[key], value)
        return changed if after == {**before, **keys} else None
    except ConfigError:  # a table that is written in another way, as in one line
        return None


def _headers(name: str) -> tuple[str, ...]:
    if name == "pyproject.toml":
        return "tool.pytest.ini_options", "tool.pytest"
    return ("pytest",) if name.endswith(".toml") else (project_file.section_of(name),)


def _lines(name: str, keys: Mapping[str, Value]) -> list[str]:
    def written(value: Value) -> str:
        if name.endswith(".toml"):
            return json.dumps(value, ensure_ascii=False)
        return shlex.join(value) if isinstance(value, list) else value

    return [f"{key} = {written(value)}" for key, value in keys.items()]
