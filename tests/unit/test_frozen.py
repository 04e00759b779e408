"""Values are shared and serve as keys: nobody changes one, and there may be thousands of them."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from functools import cached_property
from importlib import import_module

import pytest

MODULES = (
    "baselines.anchor",
    "baselines.evidence",
    "baselines.gate",
    "baselines.history",
    "baselines.blame",
    "baselines.paired",
    "baselines.paired_group",
    "baselines.process_noise",
    "baselines.recorded_time",
    "baselines.shared",
    "baselines.takes",
    "baselines.timed",
    "hardware.engine_times",
    "hardware.plan",
    "model.engine",
    "sweep.timed_point",
    "sweep.turns",
    "sweep.worktree",
)


@pytest.mark.parametrize("name", MODULES)
def test_the_values_of_a_module_are_frozen_and_have_slots(name: str) -> None:
    module = import_module(f"pytest_ocrsweep.{name}")
    classes = [each for each in vars(module).values() if isinstance(each, type) and each.__module__ == module.__name__]
    for value in filter(is_dataclass, classes):
        assert value.__dataclass_params__.frozen, value
        if not any(isinstance(each, cached_property) for each in vars(value).values()):  # which needs a __dict__
            assert set(vars(value).get("__slots__", ())) >= {field.name for field in fields(value)}, value
