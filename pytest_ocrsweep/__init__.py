"""pytest-ocrsweep: what every crop grid and stage of DeepSeek-OCR costs, and what it takes."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module
from os import PathLike
from pathlib import Path
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


def load_model(
    name: str = "deepseek-ocr",
    overrides: Iterable[str] = (),
    *,
    engine: str | None = None,
    config_dir: str | PathLike[str] | None = None,
) -> Model:
    """The analytic model `name`, its Hydra configuration composed once, with `overrides` (`KEY=VALUE`).

    `engine` is what runs it: "transformers", the default, or "vllm". `config_dir` is a folder of your own models,
    devices, engines and workloads, which are chosen by name as ours are.

    Raises ValueError, in one line that names the nearest valid key, for an override that does not fit.
    """
    from .sweep.catalogue import model_of
    from .sweep.config import compose
    from .sweep.search_path import check, searched, searching

    if config_dir is not None:
        check(Path(config_dir))
    with searching(Path(config_dir) if config_dir is not None else None):
        settings = compose([f"model={name}", *([f"engine={engine}"] if engine else []), *overrides])
        return model_of(settings, searched())


def __getattr__(name: str) -> object:
    """Loads a public name when it is first used: every pytest run in an environment imports this package."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)
