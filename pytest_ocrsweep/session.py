"""One sweep, without pytest: which points it has, and what each is judged to be."""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from . import baselines
from .baselines import WORKLOAD, BaselineError, Key, Points
from .geometry import RESOLUTIONS, CropGrid, Workload
from .metrics import counted
from .report import sweep_json
from .report.sweep_json import Row
from .stages import STAGES, Model

if TYPE_CHECKING:
    from .config import Settings
    from .sweep import Point

NOT_MEASURED = "this version counts and does not time the vendor model"


class SweepError(ValueError):
    """A setting that does not fit, in one line that says what to do."""


@dataclass(frozen=True, slots=True)
class Options:
    """The command line and the ini file, as plain values."""

    grids: str | None
    images: tuple[str, ...]
    overrides: tuple[str, ...]
    analytic_only: bool
    require_vendor: bool
    update: bool
    report: Path | None
    default_grids: str  # of the ini file; "" leaves it to the configuration
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


class Judgement(NamedTuple):
    """A point's row; `failure` or `skip` says why it did not pass."""

    row: Row
    failure: str | None = None
    skip: str | None = None


@dataclass
class Sweep:
    """What a process needs to judge points; composed and read on first use."""

    options: Options

    @cached_property
    def settings(self) -> Settings:
        """The composed configuration."""
        from .config import ConfigError, compose

        try:
            return compose(self.options.overrides)
        except ConfigError as error:
            raise SweepError(f"--ocrsweep-set: {error}") from None

    @cached_property
    def model(self) -> Model:
        """The one analytic model of the session."""
        return Model(self.settings.model)

    @property
    def _asked(self) -> str | None:
        """The source of the command line, by either option."""
        by_override = any(text.startswith("grids=") for text in self.options.overrides)
        return self.options.grids or (self.settings.grids if by_override else None)

    @cached_property
    def _source(self) -> dict[CropGrid, Point]:
        from .sweep import SourceError, points

        source = self._asked or self.options.default_grids or self.settings.grids
        try:
            found = points(source)
        except SourceError as error:
            where = "--ocrsweep-grids" if self.options.grids else "the default sweep (ocrsweep_grids)"
            raise SweepError(f"{where}: {error}") from None
        return {point.grid: point for point in found}

    @cached_property
    def points(self) -> dict[CropGrid, Point]:
        """The sweep: its source, and the grids of the pages given, each grid once."""
        from .sweep import Point

        merged = dict(self._source)
        for name, grid in self.pages:
            old = merged.get(grid)
            labels = [old.label] if old and old.label else []
            merged[grid] = Point(grid, ", ".join([*labels, Path(name).name]))
        for grid in merged:
            try:
                self.settings.workload.on(grid)
            except ValueError as error:
                raise SweepError(f"{error} (--ocrsweep-grids chooses the grids)") from None
        return merged

    @cached_property
    def pages(self) -> list[tuple[str, CropGrid]]:
        """The pages given, and the grid that the vendor would choose for each."""
        if not self.options.images:
            return []
        from .image import ImageError, page_size

        crop_side = RESOLUTIONS[self.settings.workload.resolution].crop_side
        found = []
        for name in self.options.images:
            try:
                size = page_size(Path(name))
            except ImageError as error:
                raise SweepError(f"--ocrsweep-image: {error}") from None
            crops = crop_side and CropGrid.for_image(size.width, size.height, crop_side)
            found.append((name, crops or CropGrid(1, 1)))
        return found

    @cached_property
    def recorded(self) -> dict[str, Points]:
        """The baselines of this model by stage. Raises SweepError for one that cannot be trusted."""
        name = self.model.name
        try:
            return {stage: baselines.read(self.file_of(stage), name, stage) for stage in STAGES}
        except BaselineError as error:
            raise SweepError(str(error)) from None

    def problem(self, with_baselines: bool) -> str | None:
        """What is wrong with the settings, or with the baselines too, in one line."""
        try:
            _ = (self.settings, self.points, with_baselines and self.recorded)
        except SweepError as error:
            return str(error)
        return None

    def file_of(self, stage: str) -> Path:
        """Where this model's points at `stage` are recorded."""
        return baselines.file_of(self.options.baselines, self.model.name, stage)

    def of_workload(self, stage: str) -> set[Key]:
        """What is recorded at `stage` for the workload of this session, whatever the grid."""
        return {key for key in self.recorded[stage] if key.work == self.settings.workload.on(key.work.grid)}

    @cached_property
    def known(self) -> dict[str, bool]:
        """Whether anything is recorded for this workload, by stage."""
        return {stage: bool(self.of_workload(stage)) for stage in STAGES}

    @property
    def unmeasured(self) -> str | None:
        """Why the vendor is not timed although it was asked for; None where nobody asked."""
        return None if self.options.analytic_only else NOT_MEASURED

    def judge(self, stage: str, grid: CropGrid, attention: str, file: Path) -> Judgement:
        """Count one point and compare it with its baseline; `file` holds the test, for the remedy."""
        work, options = self.settings.workload.on(grid), self.options
        found = sweep_json.row(stage, work, attention, self.model.ledger(stage, work, attention), vendor=None)
        point = self.points.get(grid)
        if options.require_vendor and self.unmeasured and not (point and point.analytic_only):
            found["verdict"] = "FAIL"
            return Judgement(found, f"--ocrsweep-require-vendor: nothing was measured: {self.unmeasured}")

        old = self.recorded[stage].get(Key(work, attention))
        changes = baselines.compare(old, counted(found)) if old else []
        if options.update:
            found["verdict"] = "PASS" if old and not changes else "RECORDED"
            return Judgement(found)
        if old is None:
            return self._missing(found, work, file)
        found["verdict"] = "FAIL" if changes else "PASS"
        if not changes:
            return Judgement(found)
        lines = [f"{stage} {grid} {attention} is not what {options.shown(self.file_of(stage))} records:"]
        lines += [f"  {change}" for change in changes]
        return Judgement(found, "\n".join([*lines, options.accepting(file)]))

    def _missing(self, found: Row, work: Workload, file: Path) -> Judgement:
        """A hole in what should be recorded is a failure; what was asked for beyond it is skipped."""
        options, stage = self.options, found["stage"]
        in_default = self._asked is None and work.grid in self._source
        if options.missing_fails or (in_default and (self.known[stage] or not options.overrides)):
            found["verdict"] = "FAIL"
            lines = [
                f"no baseline recorded for {stage} {work.grid} {found['attention']} of workload "
                f"{describe(work)} in {options.shown(self.file_of(stage))}; to record it:",
                options.accepting(file),
            ]
            return Judgement(found, "\n".join(lines))
        found["verdict"] = "NO BASELINE"
        what = f"grid {work.grid}" if self.known[stage] else f"workload {describe(work)}"
        return Judgement(found, skip=f"no baseline for {what}")


def describe(work: Workload) -> str:
    """A workload as the options that give it."""
    return ", ".join(f"{name}={getattr(work, name)}" for name in WORKLOAD)
