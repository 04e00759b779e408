"""Finds a device for a ledger, which names it or gives the device itself."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from ..errors import ConfigError
from ..files.near_miss import did_you_mean
from ..files.text import quoted
from ..hardware import roofline
from ..hardware.devices import Device
from ..hardware.estimate import Estimate, estimate
from ..model.analytic import Model
from ..model.architecture import Architecture
from ..model.engine import Engine
from ..model.ledger import Ledger
from ..model.precision import Precision
from .config import devices
from .search_path import searching
from .settings import Settings


@dataclass(frozen=True)
class Catalogue:
    """Floors and estimates on the devices of conf/device/, and of a folder of the project's."""

    config_dir: Path | None = None

    def device(self, device: Device | str) -> Device:
        """A device, or that of a name: of its file ("h200") or of its driver. Raises ConfigError for another."""
        if isinstance(device, Device):
            return device
        with searching(self.config_dir):
            known = devices()
        found = known.get(device) or next((each for each in known.values() if each.name == device), None)
        if found is None:
            meant = did_you_mean(device, known)
            raise ConfigError(f"no device is called {quoted(device)}: choose from {', '.join(known)}{meant}")
        return found

    def floor(self, ledger: Ledger, device: Device | str) -> roofline.Floor:
        """As `Ledger.floor`."""
        return roofline.floor(ledger, self.device(device))

    def estimate(self, ledger: Ledger, device: Device | str) -> Estimate:
        """As `Ledger.estimate`."""
        return estimate(ledger, self.device(device))


def model_of(settings: Settings, config_dir: Path | None = None) -> Model:
    """The analytic model of the settings, whose ledgers know the catalogue, with the devices of `config_dir`."""
    return _model(settings.model, settings.engine, settings.precision, config_dir)


@lru_cache(8)  # stages that are laid out stay so: tests that each load the model, or change its workload, share them
def _model(model: Architecture, engine: Engine, precision: Precision, config_dir: Path | None) -> Model:
    return Model(model, Catalogue(config_dir), engine, precision)
