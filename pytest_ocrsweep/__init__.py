"""pytest-ocrsweep: what every crop grid and stage of DeepSeek-OCR costs, and what it takes."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .model.analytic import Model
    from .model.cost import Cost
    from .model.geometry import CropGrid, Workload
    from .model.ledger import Ledger

__all__ = ["Cost", "CropGrid", "Ledger", "Model", "Workload", "load_model"]

_HOMES = {
    "Cost": "model.cost",
    "CropGrid": "model.geometry",
    "Ledger": "model.ledger",
    "Model": "model.analytic",
    "Workload": "model.geometry",
}


def load_model(name: str = "deepseek-ocr", overrides: Iterable[str] = (), *, engine: str | None = None) -> Model:
    """The analytic model `name`, its Hydra configuration composed once, with `overrides` (`KEY=VALUE`).

    `engine` is what runs it: "transformers", the default, or "vllm".

    Raises ValueError, in one line that names the nearest valid key, for an override that does not fit.
    """
    from .sweep.catalogue import model_of
    from .sweep.config import compose

    return model_of(compose([f"model={name}", *([f"engine={engine}"] if engine else []), *overrides]))


def __getattr__(name: str) -> object:
    """Loads a public name when it is first used: every pytest run in an environment imports this package."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)
