"""What passes between the pure modules are values: they cannot be changed, nor grow a field by a typing error."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from dataclasses import FrozenInstanceError, fields, is_dataclass
from typing import Any

import pytest

MODULES = (
    *(f"model.{name}" for name in ("geometry", "architecture", "symbolic", "program", "ledger", "attention", "stages")),
    *(f"hardware.{name}" for name in ("devices", "roofline", "sizing")),
    *(f"baselines.{name}" for name in ("metrics", "gate", "sampling", "counted", "timed")),
    *(f"engines.{name}" for name in ("served", "about")),
    "sweep.check",
)


def values() -> Iterator[Any]:
    for name in MODULES:
        module = importlib.import_module(f"pytest_ocrsweep.{name}")
        for found in vars(module).values():
            if is_dataclass(found) and isinstance(found, type) and found.__module__ == module.__name__:
                yield pytest.param(found, id=f"{name}.{found.__name__}")


@pytest.mark.parametrize("value", list(values()))
def test_a_value_is_frozen_and_has_only_its_fields(value):
    made = object.__new__(value)
    assert not hasattr(made, "__dict__")
    for field in fields(value):
        with pytest.raises(FrozenInstanceError):
            setattr(made, field.name, 1)
