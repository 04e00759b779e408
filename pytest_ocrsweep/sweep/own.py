"""The sweep of one name of the user's own code: the whole sweep's settings and device, and times of its own."""

from __future__ import annotations

from dataclasses import dataclass, replace
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
    from .meter import Meter
    from .own_meter import OwnMeter
    from .settings import Settings


@dataclass
class HostSweep(Sweep):
    """A sweep whose device is the host's CPU, whatever the settings say."""

    @classmethod
    def of(cls, whole: Sweep) -> HostSweep:
        """That of a sweep, with its model."""
        host = cls(whole.options, whole.say)
        host.settings = replace(whole.settings, vendor=replace(whole.settings.vendor, device="cpu", energy_ms=None))
        host.model = whole.model
        return host

    @cached_property
    def meter(self) -> Meter:
        """Without a lock: it is taken for each call."""
        from .meter import Meter

        return Meter(self.settings, self.model, slowdown=self.options.slowdown)


@dataclass
class OwnSweep(Sweep):
    """Judges what was timed under `own_name`; its times lie in a folder of that name, below the model's."""

    whole: Sweep | None = None

    @classmethod
    def of(cls, whole: Sweep, name: str, *, host: bool = False) -> OwnSweep:
        """The whole sweep's for this name, which it has once; with `host` for what runs on the host's CPU."""
        if (name, host) not in whole.owned:
            on = HostSweep.of(whole) if host else whole
            whole.owned[name, host] = cls(whole.options, whole.say, stages=(*STAGES, CALL), own_name=name, whole=on)
        own = whole.owned[name, host]
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
        from .own_meter import HostMeter, OwnMeter

        options, base = self.options, self._whole.meter
        own = (HostMeter if isinstance(self._whole, HostSweep) else OwnMeter)(
            self.settings, self.model, None, options.profile, options.update
        )
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
