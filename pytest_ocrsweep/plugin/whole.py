"""Whether a run is one of every test that could use a recorded point; only then is a point known to be unused."""

from __future__ import annotations

from pathlib import Path

import pytest

from .state import FILTERED, TO_RUN, sweep_of

OPTIONS = ("lf", "ignore", "ignore_glob", "deselect", "noconftest")  # that leave out tests, some without a word
KEYS = (  # of an ini file, that choose tests or their grids
    "addopts",
    "ocrsweep_grids",
    "python_files",
    "python_classes",
    "python_functions",
    "testpaths",
    "norecursedirs",
)


def ignored(path: Path, config: pytest.Config) -> str | None:
    """Why a path that pytest or a conftest.py leaves out may hold tests; None for what is never looked into."""
    if path.is_dir():
        never = ("__pycache__", *config.getini("norecursedirs"))
        is_environment = (path / "pyvenv.cfg").is_file() or (path / "conda-meta").is_dir()
        return None if is_environment or _matches(path, never) else f"{path.name} is ignored"
    return f"{path.name} is ignored" if _matches(path, config.getini("python_files")) else None


def _matches(path: Path, patterns: tuple[str, ...] | list[str]) -> bool:
    return any(path.match(pattern) for pattern in patterns)


def left_out(session: pytest.Session, exitstatus: int, came: int) -> str | None:
    """Why the run is not one of every test, as far as is known at its end; `came` tests came to a point."""
    config = session.config
    if (why := config.stash.get(FILTERED, None)) or (why := _by_options(config) or _by_configuration(config)):
        return why
    if session.shouldfail or session.shouldstop or exitstatus not in (0, 1):
        return "the run ended early"
    if missing := to_run(config) - came:
        return f"{missing} tests came to no point"
    partial = config.option.ocrsweep_prune and not of_all_paths(config)
    return f"the run is not of all tests below {config.rootpath}" if partial else None


def of_all_paths(config: pytest.Config) -> bool:
    """Whether the run is of the project's root, or of all paths that its configuration names."""
    root, paths = config.rootpath, [config.invocation_params.dir / argument for argument in config.args]
    named = [root / path for path in config.getini("testpaths")]
    return root in paths or bool(named and set(named) <= set(paths))


def _by_options(config: pytest.Config) -> str | None:
    for name in OPTIONS:
        if config.getoption(name, None):
            return f"the run has --{name.replace('_', '-')}"
    if any("::" in argument for argument in config.args):
        return "tests were chosen by name"
    for key in (text.partition("=")[0] for text in config.getoption("override_ini", None) or ()):
        if key in KEYS:
            return f"the run has -o {key}"
    return "the run has --ocrsweep-grids" if config.option.ocrsweep_grids else None


def _by_configuration(config: pytest.Config) -> str | None:
    """Another configuration than that of the project which the baselines are of may choose fewer tests or grids."""
    from ..sweep import project_file

    own = project_file.own(sweep_of(config).options.baselines.resolve())
    if own is None or (config.inipath and own.samefile(config.inipath)):
        return None
    return f"the run is not configured by {own}"


def to_run(config: pytest.Config) -> int:
    """How many tests that check points there are to run; under pytest-xdist the workers know."""
    workers = config.pluginmanager.get_plugin("ocrsweep-workers")
    return len(workers.points) if workers else config.stash.get(TO_RUN, 0)
