"""Folders that a run reads: what a path of the ini file is relative to, the baselines, the project's own `conf/`."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from .usage import usage_error

if TYPE_CHECKING:
    from ..sweep.baseline_folder import BaselineFolder


def home(config: pytest.Config) -> Path:
    """The folder that keys of the ini file are relative to; without such a file, the one pytest was started in."""
    file = config.inipath
    return file.parent if file and file.is_file() else config.invocation_params.dir


def baselines(config: pytest.Config) -> BaselineFolder:
    """Where points are read and recorded."""
    from ..sweep import baseline_folder

    return baseline_folder.find(config.getini(baseline_folder.KEY), home(config), writes=config.option.ocrsweep_update)


def config_dir(config: pytest.Config) -> Path | None:
    """The folder of the project's own models, devices and engines, if one is named."""
    given: str | None = config.option.ocrsweep_config_dir
    if given:
        return config.invocation_params.dir / given
    named: str = config.getini("ocrsweep_config_dir")
    return home(config) / named if named else None


def search(config: pytest.Config) -> None:
    """Compose settings from that folder too, until the run ends. Raises UsageError if it is not a folder."""
    folder = config_dir(config)
    if folder is None:
        return
    from ..errors import ConfigError
    from ..sweep import search_path

    try:
        search_path.check(folder)
    except ConfigError as error:
        where = "--ocrsweep-config-dir" if config.option.ocrsweep_config_dir else "ocrsweep_config_dir"
        raise usage_error(f"{where}: {error}") from None
    searched = ExitStack()
    searched.enter_context(search_path.searching(folder))
    config.add_cleanup(searched.close)
