"""Values are shared and serve as keys: nobody changes one, and there may be thousands of them."""

from __future__ import annotations

from dataclasses import MISSING, fields, is_dataclass, replace
from functools import cached_property
from importlib import import_module
from pathlib import Path

import pytest

import pytest_ocrsweep
from pytest_ocrsweep import Workload, load_model

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
    "report.charts.drawing",
    "report.charts.lines",
    "report.charts.scales",
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


PACKAGE = Path(pytest_ocrsweep.__file__).parent
NEEDS_TORCH = "vendor_model"  # whose modules a pure test leaves alone


def test_a_copy_with_another_field_does_not_share_what_the_first_worked_out() -> None:
    """`replace` hands on every field that a class is made with, private ones too."""
    names = [".".join(path.relative_to(PACKAGE).with_suffix("").parts) for path in PACKAGE.rglob("*.py")]
    pure = [name for name in names if not name.startswith(NEEDS_TORCH) and not name.endswith("__main__")]
    shared = [
        f"{name}.{value.__name__}.{field.name}"
        for name in pure
        for value in vars(import_module(f"pytest_ocrsweep.{name}".removesuffix(".__init__"))).values()
        if isinstance(value, type) and is_dataclass(value) and value.__module__.endswith(name)
        for field in fields(value)
        if field.name.startswith("_") and field.init
        if field.default is not MISSING or field.default_factory is not MISSING
    ]
    assert shared == []


def test_a_model_with_another_engine_or_architecture_is_priced_anew() -> None:
    work, ours, other = Workload("2x3", batch=2), load_model(), load_model("deepseek-ocr-tiny", engine="vllm")
    for stage in ("vision", "prefill", "decode"):
        ours.ledger(stage, work)
        assert replace(ours, engine=other.engine).ledger(stage, work).total() == (
            load_model(engine="vllm").ledger(stage, work).total()
        )
        assert replace(ours, architecture=other.architecture).ledger(stage, work).total() == (
            load_model("deepseek-ocr-tiny").ledger(stage, work).total()
        )
