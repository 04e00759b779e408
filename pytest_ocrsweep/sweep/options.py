"""What a person asks of a run, and the commands that ask for it again."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from ..baselines.anchor import DRIFT_LIMIT
from ..files.text import command
from .baseline_folder import BaselineFolder

PLACE = ("-c", "--config-file", "--rootdir", "-o", "--override-ini", "-p", "--confcutdir", "--ocrsweep-config-dir")
"""Options with a value that say which project a run is of."""
SLOWDOWN = "--ocrsweep-slowdown"


@dataclass(frozen=True, slots=True)
class Slowdown:
    """By how many percent the gate's self-test slows the measured region down, or one component of it."""

    percent: float = 0.0
    component: str | None = None

    @classmethod
    def parse(cls, text: str) -> Slowdown:
        """From "3" or "decoder/attn:10". Raises ValueError."""
        component, _, percent = text.rpartition(":")
        found = cls(float(percent), component or None)
        if not 0 <= found.percent <= 1000 or (":" in text and not component):
            raise ValueError
        return found


NO_SLOWDOWN = Slowdown()


@dataclass(frozen=True, slots=True)
class Options:
    """The command line and the ini file, as plain values."""

    grids: str | None
    images: tuple[str, ...]
    overrides: tuple[str, ...]  # of the command line
    analytic_only: bool
    require_vendor: bool
    update: bool
    prune: bool
    checkpoint: Path | None
    profile: bool
    slowdown: Slowdown
    report: Path | None
    default_grids: str  # of the ini file; "" for the vendor's grids
    baselines: Path
    missing_fails: bool
    wide_fails: bool
    here: Path  # where pytest was started: paths are shown from there
    command: tuple[str, ...]  # the arguments after `pytest`, as they were typed
    drift: float = DRIFT_LIMIT  # how far a time may be from its point's anchor; a ratio
    fresh_seconds: float | None = None  # that new processes may take for what is too close to tell, if it was said
    require_counted: bool = False  # fail the user's own code whose work cannot be counted
    folder: BaselineFolder | None = None  # how `baselines` was found
    config_dir: Path | None = None  # models, devices, engines and workloads of the project
    ini_overrides: tuple[str, ...] = ()  # of the ini file
    ini_where: str = ""  # the file and key that have them

    @property
    def all_overrides(self) -> tuple[str, ...]:
        """Those of the ini file, and then those of the command line, of which each replaces one of the same key."""
        typed = {text.partition("=")[0] for text in self.overrides}
        return *(text for text in self.ini_overrides if text.partition("=")[0] not in typed), *self.overrides

    @property
    def read_only(self) -> bool:
        """Whether the baselines are the package's."""
        return self.folder is not None and self.folder.own is not None

    def shown(self, path: Path) -> str:
        """`path` as it can be typed there."""
        return os.path.relpath(path, self.here)

    def accepting(self, file: Path) -> str:
        """The command that records what the tests in `file` find in a run like this one."""
        words = ["pytest", *self._place, self.shown(file), *(f"--ocrsweep-set={text}" for text in self.overrides)]
        words += [f"--ocrsweep-grids={self.grids}"] if self.grids else []
        words += [f"--ocrsweep-image={name}" for name in self.images]
        words += [f"--ocrsweep-checkpoint={self.checkpoint}"] if self.checkpoint else []
        words += ["--ocrsweep-profile"] if self.profile else []
        return command(*words, "--ocrsweep-update")

    def accepting_drift(self, point: str, gpu: str, own: str = "") -> str:
        """The command that makes the latest times of a point, by its name, its anchor; `gpu` is a folder's name.

        `own` is the name of the user's own code, if they are its times.
        """
        if self.read_only:  # what was recorded elsewhere has no anchor that a project could move
            return self.accepting_all
        words = ["ocrsweep", "history", "accept", *point.split(), f"--gpu={gpu}"]
        words += [f"--own={own}"] if own else []
        folder = self.shown(self.baselines)
        words += [] if folder == "baselines" else [f"--baselines={folder}"]
        words += [f"--config-dir={self.shown(self.config_dir)}"] if self.config_dir else []
        return command(*words, *(f"--set={text}" for text in self.all_overrides))

    @property
    def _place(self) -> list[str]:
        """The words of the command that say which project and configuration it is about."""
        words, kept = iter(self.command), list[str]()
        for word in words:
            name, _, value = word.partition("=")
            if word in PLACE:
                kept += [word, next(words, "")]
            elif (value and name in PLACE) or re.match(r"-[cop][^-]", word):
                kept.append(word)
        return kept

    @property
    def pruning(self) -> str:
        """The command that removes what no test uses."""
        return command("pytest", *self._place, "--ocrsweep-prune")

    @property
    def accepting_all(self) -> str:
        """The same for every test of this run."""
        words, kept = iter(self.command), list[str]()
        for word in words:
            if word == SLOWDOWN:
                next(words, "")
            elif not word.startswith(f"{SLOWDOWN}="):  # such a time is no baseline
                kept.append(word)
        return command("pytest", *kept, "--ocrsweep-update")
