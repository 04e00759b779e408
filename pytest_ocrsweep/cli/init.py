"""`ocrsweep init`: the files with which a project begins, none of which replaces one that is there."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import ArgumentError, ConfigError
from ..files.text import printable, quoted
from ..model.stages import STAGES
from ..sweep import baseline_folder, project_file, search_path
from . import flags, init_files
from .flags import Subparsers
from .init_files import NewFiles

if TYPE_CHECKING:
    from ..sweep.project_file import Value
    from ..sweep.settings import Settings

GRIDS = "ocrsweep_grids"
SET = "ocrsweep_set"
KEYS = (baseline_folder.KEY, GRIDS, SET, search_path.KEY)

EXAMPLES = """\
examples:
  ocrsweep init                             all suites, ini keys, a workflow for pull requests, counted baselines
  ocrsweep init --stage decode --grids 1x1,2x3
  ocrsweep init --engine vllm --set precision=fp8
  ocrsweep init --suites tests/cost --config-dir conf --no-workflow

Run it at the top of your project. A file that is there is never replaced. If there is one of the same name with other
content, it is left, in one line. Settings go to the ini key ocrsweep_set. Then `pytest` compares what is counted with
the baselines.
"""


def add(subparsers: Subparsers) -> None:
    parser = subparsers.add_parser(
        "init",
        help="begin in your own project: suites, ini keys, a workflow, baselines",
        description="Write what a project needs to gate what DeepSeek-OCR costs; change nothing that is there.",
        epilog=EXAMPLES,
    )
    flags.add_stages(parser)
    text = "what to sweep, as for pytest's --ocrsweep-grids; an ini key keeps it (default: the grids of the model)"
    parser.add_argument("--grids", metavar="SOURCE", type=flags.given, help=text)
    text = "the folder for the suites (default: suites, or ocrsweep in the first of pytest's testpaths)"
    parser.add_argument("--suites", metavar="DIR", type=flags.path, help=text)
    parser.add_argument("--no-workflow", action="store_true", help="write no workflow for GitHub Actions")
    flags.add_settings(parser, flags.ALL)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    root = Path()
    file = _configuration(root)
    present = project_file.parsed(file.name, project_file.read(file)) if file.exists() else {}
    wanted = _keys(options, root)
    held = {name: present[name] for name in KEYS if name in present and (present[name] or name in wanted)}
    keys = {**wanted, **{name: _value(file, name, value) for name, value in held.items()}}
    _composed(options.overrides, "")  # though the file's may come before them
    asked, there = wanted.get(SET), keys.get(SET)
    if asked is not None and list(asked) != list(there or []):
        raise ArgumentError(
            f"{file}: {SET} is {' '.join(there or [])}, and {' '.join(asked)} is asked for:",
            "change it there, or use --ocrsweep-set with pytest",
        )
    settings = _composed(list(keys.get(SET, [])), f"{file}: {SET}" if SET in held else "")
    suites = options.suites or _suites(root, present)
    if suites.is_absolute() or ".." in suites.parts or str(suites).startswith("-") or not str(suites).isprintable():
        raise ArgumentError(f"--suites {printable(str(suites))}: it must be a folder of this project, such as suites")
    stages = list(dict.fromkeys(options.stages or STAGES))
    texts = {
        **{suites / f"test_ocrsweep_{stage}.py": init_files.suite(stage) for stage in stages},
        **init_files.baselines(Path(str(keys[baseline_folder.KEY])), stages, str(keys.get(GRIDS, "")), settings),
    }  # before the first file is written, as it may refuse
    files = NewFiles(root)
    lines = [init_files.set_keys(files, file, wanted)]
    lines += [files.put(path, text) for path, text in texts.items()]
    lines += [] if options.no_workflow else [_workflow(files, root, suites)]
    first = "add the lines, then " if init_files.BY_HAND in lines[0] else ""
    flags.show(*lines, *_next(files, suites, present, first))
    return 0


def _value(file: Path, name: str, value: object) -> Value:
    """The value of a key that is there. Raises ConfigError, and ArgumentError for one that is no text."""
    if name == SET:
        return project_file.words(file.name, name, value)
    if isinstance(value, str) and value:
        return value
    raise ArgumentError(f"{file}: {name} must be text, got {quoted(value)}; give it a value, or delete the line")


def _composed(overrides: Sequence[str], where: str) -> Settings:
    """The settings that pytest will make of them. Raises ConfigError."""
    from ..sweep.session import composed

    try:
        return composed(overrides)
    except ConfigError as error:
        raise error.at(where) if where else error from None


def _configuration(root: Path) -> Path:
    """The file for the ini keys, which need not be there yet. Raises ArgumentError below another project's."""
    above = project_file.own(root)
    if above and above.absolute().parent != root.absolute() and not (root / ".git").exists():
        raise ArgumentError(f"init: {above} configures pytest for this folder too:", f"run it in {above.parent}")
    recorded = baseline_folder.find("", root, writes=True).path
    if not recorded.absolute().is_relative_to(root.absolute()):
        raise ArgumentError(
            f"init: {recorded} has baselines already, and this would begin others:", f"run it in {recorded.parent}"
        )
    own = project_file.of_folder(root)
    return own or root / ("pyproject.toml" if (root / "pyproject.toml").is_file() else "pytest.ini")


def _keys(options: argparse.Namespace, root: Path) -> dict[str, Value]:
    """The ini keys that are asked for; a folder of one's own models is one only if it is named."""
    keys: dict[str, Value] = {baseline_folder.KEY: baseline_folder.NAME}
    if options.grids:
        keys[GRIDS] = options.grids
    if options.overrides:
        keys[SET] = options.overrides
    if options.config_dir:
        folder: Path = options.config_dir
        inside = folder.absolute().is_relative_to(root.absolute())
        keys[search_path.KEY] = str(folder.absolute().relative_to(root.absolute()) if inside else folder.absolute())
    return keys


def _suites(root: Path, present: Mapping[str, object]) -> Path:
    """Where pytest finds them without an argument."""
    paths = _testpaths(present)
    return Path(paths[0]) / "ocrsweep" if paths and (root / paths[0]).is_dir() else Path("suites")


def _testpaths(present: Mapping[str, object]) -> list[str]:
    value = present.get("testpaths")
    if isinstance(value, str):
        return value.split()
    return [str(each) for each in value] if isinstance(value, list) else []


def _workflow(files: NewFiles, root: Path, suites: Path) -> str:
    top = next((each for each in (root, *root.absolute().parents) if (each / ".git").exists()), root)
    if top.absolute() != root.absolute():
        return f"{init_files.WORKFLOW}: not written, as GitHub reads it at the top of the repository only, {top}"
    if not re.fullmatch(r"[\w./-]+", suites.as_posix()):
        return f"{init_files.WORKFLOW}: not written, as the name {suites.as_posix()} needs quotes in a shell"
    origin = init_files.origin()
    line = files.put(init_files.WORKFLOW, init_files.workflow(suites, origin))
    return line if origin or not line.endswith("written") else f"{line}; its line of pip: {init_files.NOT_ON_PYPI}"


def _next(files: NewFiles, suites: Path, present: Mapping[str, object], first: str) -> Iterator[str]:
    """What was done in all, and the command that comes next."""
    if not files.written:
        yield "nothing changed: " + ("some files were left" if files.left else "all is there already")
        return
    paths = _testpaths(present)
    found = not paths or any(suites.is_relative_to(path) for path in paths)
    written = f"{files.written} file{'s' * (files.written != 1)} written"
    yield f"{written}; next: {first}pytest{'' if found else f' {suites.as_posix()}'}"
