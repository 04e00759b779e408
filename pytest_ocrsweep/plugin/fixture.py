"""The fixtures: `ocrsweep` checks a point, `ocrsweep_model` is the analytic model."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from .state import sweep_of

if TYPE_CHECKING:
    from ..model.analytic import Model
    from .checker import Checker


@pytest.fixture(scope="session")
def ocrsweep_model(request: pytest.FixtureRequest) -> Model:
    """The analytic model, as --ocrsweep-set has it: `ocrsweep_model.ledger(stage, workload, attention)`."""
    return sweep_of(request.config).model


@pytest.fixture(scope="session")
def ocrsweep(request: pytest.FixtureRequest) -> Checker:
    """Checks one point against its baseline: `ocrsweep.check(stage, grid, attention)`."""
    from .checker import Checker

    return Checker(request.config)
