"""The sweep of one name of the user's own code: the whole sweep's settings and device, and times of its own."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from ..baselines.own import CALL, FOLDER
from ..model.analytic import Model
from ..model.geometry import CropGrid
from ..model.stages import STAGES
from .grid_entry import GridEntry
from .options import NO_SLOWDOWN
from .session import Sweep

if TYPE_CHECKING:
    from .own_meter import OwnMeter
    from .settings import Settings


@dataclass
class OwnSweep(Sweep):
    """Judges what was timed under `own_name`; its times lie in a folder of that name, below the model's."""

    whole: Sweep | None = None

    @classmethod
    def of(cls, whole: Sweep, name: str) -> OwnSweep:
        """The whole sweep's for this name, which it has once."""
        if name not in whole.owned:
            whole.owned[name] = cls(whole.options, whole.say, stages=(*STAGES, CALL), own_name=name, whole=whole)
        own = whole.owned[name]
        assert isinstance(own, OwnSweep)
        return own

    @property
    def _whole(self) -> Sweep:
        assert self.whole is not None
        return self.whole

    @cached_property
    def settings(self) -> Settings:
        return self._whole.settings

    @cached_property
    def model(self) -> Model:
        return self._whole.model

    @cached_property
    def source(self) -> dict[CropGrid, GridEntry]:
        return self._whole.source

    @cached_property
    def points(self) -> dict[CropGrid, GridEntry]:
        return self._whole.points

    @property
    def recorded_as(self) -> str:
        return f"{self.model.recorded_as}/{FOLDER}/{self.own_name}"

    @cached_property
    def meter(self) -> OwnMeter:
        from .own_meter import OwnMeter

        options, base = self.options, self._whole.meter
        own = OwnMeter(self.settings, self.model, None, options.profile, options.update)
        own.slowdown = NO_SLOWDOWN if options.slowdown.component is None else options.slowdown
        own.whole = base
        return own

    def untimed(self, grid: CropGrid | None) -> str | None:
        """Why nothing is timed there; None if it is."""
        engine = self.settings.engine
        if self.options.analytic_only:
            return "--ocrsweep-analytic-only"
        if not engine.is_reference:
            return f"your own code is timed with engine=transformers, and this run has engine={engine.name}"
        if self._whole.unmeasured:
            return self._whole.unmeasured
        return None if self.times(grid) else f"the sweep says analytic_only of {grid}"
