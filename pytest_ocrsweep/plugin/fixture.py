"""The fixtures: `ocrsweep` checks a point, `ocrsweep_model` is the analytic model."""

from __future__ import annotations

from types import ModuleType
from typing import TYPE_CHECKING

import pytest

from .state import sweep_of

if TYPE_CHECKING:
    from ..model.analytic import Model
    from .checker import Checker


def fixtures(config: pytest.Config) -> ModuleType:
    """The fixtures of one run, as a plugin of their own.

    None takes a `request`: pytest makes one anew for every test, which takes it as long as we take for a point.
    """

    @pytest.fixture(scope="session")
    def ocrsweep_model() -> Model:
        """The analytic model, as --ocrsweep-set has it: `ocrsweep_model.ledger(stage, workload, attention)`."""
        return sweep_of(config).model

    @pytest.fixture(scope="session")
    def ocrsweep() -> Checker:
        """Checks one point against its baseline: `ocrsweep.check(stage, grid, attention)`."""
        from .checker import Checker

        return Checker(config)

    plugin = ModuleType("ocrsweep-fixtures")
    vars(plugin).update(ocrsweep=ocrsweep, ocrsweep_model=ocrsweep_model)
    return plugin
