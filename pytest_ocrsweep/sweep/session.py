"""One sweep, without pytest: its settings, its points, and what is recorded of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from ..baselines import counted, timed
from ..baselines.counted import CountedPoints, PointKey
from ..baselines.own import CALL, FOLDER
from ..baselines.sweep_report import WORKLOAD
from ..errors import CheckpointError, ConfigError, ConfigFileError, ImageError, OcrsweepError, SourceError
from ..files.text import printable
from ..hardware.estimate import why_not
from ..model.analytic import Model
from ..model.geometry import CropGrid, Workload
from ..model.limits import refuse, refuse_pair
from ..model.stages import STAGES
from . import meters
from .catalogue import model_of
from .grid_entry import GridEntry
from .made_for import SweptFor

if TYPE_CHECKING:
    from ..hardware.devices import Device
    from .meter import Meter
    from .offset import Offsets
    from .options import Options
    from .settings import Settings


@dataclass
class Sweep:
    """What a process needs to judge points; composed and read on first use."""

    options: Options
    say: Callable[[str], object] = print  # to the person who waits
    anchor_noise: dict[tuple[str, str], float] = field(default_factory=dict)  # worked out once, by GPU and stage
    stages: tuple[str, ...] = tuple(STAGES)
    owned: dict[tuple[str, bool], Sweep] = field(default_factory=dict, init=False, repr=False)  # the user's own code
    own_name: str = ""  # of the user's own code, if the times are its

    @cached_property
    def settings(self) -> Settings:
        """The composed configuration."""
        try:
            return composed(self.options.all_overrides)
        except ConfigFileError:
            raise
        except ConfigError as error:
            raise error.at(self._origin(error)) from None

    def _origin(self, error: OcrsweepError) -> str:
        """The option or ini key with the setting that does not fit."""
        typed, ini, where = self.options.overrides, self.options.ini_overrides, self.options.ini_where
        try:
            composed(ini)
        except ConfigError as alone:
            return where if alone.message == error.message else "--ocrsweep-set"
        return where if ini and not typed else "--ocrsweep-set"

    @cached_property
    def model(self) -> Model:
        """The one analytic model of the session."""
        return model_of(self.settings)

    @property
    def recorded_as(self) -> str:
        """The folder with what is recorded, below that of all baselines."""
        return self.model.recorded_as

    @cached_property
    def source(self) -> dict[CropGrid, GridEntry]:
        from .grid_sources import DEFAULT, entries

        try:
            source = self.options.grids or self.options.default_grids or DEFAULT
            found = entries(source, SweptFor.of(self.settings))
        except SourceError as error:
            where = "--ocrsweep-grids" if self.options.grids else "the default sweep (ocrsweep_grids)"
            raise error.at(where) from None
        return {entry.grid: entry for entry in found}

    @cached_property
    def points(self) -> dict[CropGrid, GridEntry]:
        """The sweep: its source, and the grids of the pages given, each grid once."""
        merged = dict(self.source)
        for name, grid in self.pages:
            old = merged.get(grid)
            labels = [old.label] if old and old.label else []
            merged[grid] = GridEntry(grid, ", ".join([*labels, Path(name).name]))
        for grid in merged:
            try:
                refuse(self.settings.model, self.settings.engine, "decode", self.settings.workload.on(grid))
            except ValueError as error:
                raise SourceError(f"{error} (--ocrsweep-grids chooses the grids)") from None
        return merged

    @cached_property
    def pages(self) -> list[tuple[str, CropGrid]]:
        """The pages given, and the grid that the vendor would choose for each."""
        if not self.options.images:
            return []
        from ..files.image_size import page_size

        resolution, found = self.settings.workload.resolution, []
        for name in self.options.images:
            try:
                size = page_size(Path(name))
            except ImageError as error:
                raise error.at("--ocrsweep-image") from None
            found.append((name, self.model.grid_of(size.width, size.height, resolution)))
        return found

    def page_of(self, grid: CropGrid) -> Path | None:
        """The page that gives the pixels of this grid, if one was given."""
        return next((Path(name) for name, its in self.pages if its == grid), None)

    @cached_property
    def recorded(self) -> dict[str, CountedPoints]:
        """The baselines of this model by stage. Raises BaselineError for one that cannot be trusted."""
        return {stage: counted.read(self.file_of(stage), self.recorded_as, stage) for stage in STAGES}

    def problem(self, with_baselines: bool) -> str | None:
        """The problems of the settings and, if asked, of the baselines, a line for each; None if there are none."""
        with_times = with_baselines and not self.options.analytic_only
        try:
            _ = (self.settings, self.points, with_baselines and self.recorded, with_times and self.recorded_times)
            if self.measures:
                meters.check(self.settings, self.options)
            if with_times:
                self._check_own()
            if with_times and self.options.update:
                timed.check_histories(self.options.baselines, self.recorded_as)
            if with_times and self.options.checkpoint:
                self._check(self.options.checkpoint)
            if self.settings.device.calibration and (error := why_not(self.settings.device)):
                raise error.at(self._origin(error))
        except CheckpointError as error:
            return str(error)  # a line a problem
        except OcrsweepError as error:
            return printable(str(error), most=None)  # a path may hold a line's end
        return None

    def _check(self, checkpoint: Path) -> None:
        """Raises CheckpointError for weights that are no model of this run, where they would be timed."""
        if self.measures and self.settings.engine.is_reference:
            from .meter import check

            check(checkpoint, self.settings.model)

    def file_of(self, stage: str) -> Path:
        """Where this model's points at `stage` are recorded."""
        return counted.file_of(self.options.baselines, self.recorded_as, stage)

    def of_workload(self, stage: str) -> set[PointKey]:
        """What is recorded at `stage` for the workload of this session, whatever the grid."""
        return {key for key in self.recorded[stage] if self.settings.workload.holds(key.work)}

    @cached_property
    def known(self) -> dict[str, bool]:
        """Whether anything is recorded for this workload, by stage."""
        return {stage: bool(self.of_workload(stage)) for stage in STAGES}

    @cached_property
    def unmeasured(self) -> str | None:
        """Why nothing can be timed; None if it can, or if only counts are asked for."""
        if self.options.analytic_only:
            return None
        return meters.why_not(self.settings)

    @property
    def measures(self) -> bool:
        """Whether points are timed."""
        return not self.options.analytic_only and self.unmeasured is None

    def times(self, grid: CropGrid | None) -> bool:
        """Whether a point of `grid` is to be timed, as far as can be told without torch."""
        if self.options.analytic_only or self.problem(with_baselines=False):
            return False
        point = self.points.get(grid) if grid else None
        return not (point and point.analytic_only)

    @property
    def devices(self) -> list[str]:
        """What points are timed on, each by one worker of pytest-xdist."""
        return meters.devices(self.settings)

    @cached_property
    def meter(self) -> Meter:
        """What times points in this process."""
        return meters.meter(self.settings, self.model, self.options, self.say)

    @cached_property
    def offsets(self) -> Offsets:
        """What this process's device adds to all points of a family."""
        from .offset import Offsets

        return Offsets(self)

    @cached_property
    def measured_device(self) -> Device | None:
        """The GPU that is measured, as the catalogue has it; None where it does not."""
        from .config import device_of

        return device_of(self.meter.gpu)

    def _check_own(self) -> None:
        """Raises BaselineError for a damaged file of recorded times of the user's own code."""
        for name in timed.own_names(self.options.baselines, self.recorded_as):
            recorded_as = f"{self.recorded_as}/{FOLDER}/{name}"
            timed.read_all(self.options.baselines, recorded_as, (*STAGES, CALL))
            if self.options.update:
                timed.check_histories(self.options.baselines, recorded_as)

    def close(self) -> None:
        """Lets the measured device go."""
        if "meter" in self.__dict__:
            self.meter.close()

    def timed_file_of(self, stage: str, gpu: str) -> Path:
        """Where this model's times at `stage` on `gpu` are recorded."""
        return timed.file_of(self.options.baselines, self.recorded_as, timed.gpu_folder(gpu), stage)

    def timed_of(self, stage: str, gpu: str) -> timed.TimedPoints:
        """The recorded times of this model at `stage` on `gpu`."""
        return self.recorded_times.get((timed.gpu_folder(gpu), stage), {})

    @cached_property
    def recorded_times(self) -> dict[tuple[str, str], timed.TimedPoints]:
        """All times of this model, by GPU's folder and stage. Raises BaselineError for a damaged file."""
        return timed.read_all(self.options.baselines, self.recorded_as, self.stages)


def composed(overrides: Sequence[str]) -> Settings:
    """The settings of a sweep. Raises ConfigError for those that are priced only, or not at all."""
    from .config import compose
    from .rules import require_one_page

    settings = require_one_page(compose(overrides))
    refuse_pair(settings.model, settings.engine, settings.precision)
    return settings


def describe(work: Workload) -> str:
    """A workload as the options that give it."""
    return ", ".join(f"{name}={getattr(work, name)}" for name in WORKLOAD)
