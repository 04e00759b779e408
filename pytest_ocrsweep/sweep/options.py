"""What a person asks of a run, and the commands that ask for it again."""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Options:
    """The command line and the ini file, as plain values."""

    grids: str | None
    images: tuple[str, ...]
    overrides: tuple[str, ...]
    analytic_only: bool
    require_vendor: bool
    update: bool
    checkpoint: Path | None
    slowdown_percent: float
    report: Path | None
    default_grids: str  # of the ini file; "" for the vendor's grids
    baselines: Path
    missing_fails: bool
    here: Path  # where pytest was started: paths are shown from there
    command: tuple[str, ...]  # the arguments after `pytest`, as they were typed

    def shown(self, path: Path) -> str:
        """`path` as it can be typed there."""
        return os.path.relpath(path, self.here)

    def accepting(self, file: Path) -> str:
        """The command that records what the tests in `file` find in a run like this one."""
        words = ["pytest", self.shown(file), *(f"--ocrsweep-set={text}" for text in self.overrides)]
        words += [f"--ocrsweep-grids={self.grids}"] if self.grids else []
        words += [f"--ocrsweep-image={name}" for name in self.images]
        return shlex.join([*words, "--ocrsweep-update"])

    @property
    def accepting_all(self) -> str:
        """The same for every test of this run."""
        return shlex.join(["pytest", *self.command, "--ocrsweep-update"])
