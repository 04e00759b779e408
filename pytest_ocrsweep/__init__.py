"""pytest-ocrsweep: what every crop grid and stage of DeepSeek-OCR costs, and what it takes."""

from __future__ import annotations

from collections.abc import Iterable

from .cost import Cost, Ledger
from .geometry import CropGrid, Workload
from .stages import Model

__all__ = ["Cost", "CropGrid", "Ledger", "Model", "Workload", "load_model"]


def load_model(name: str = "deepseek-ocr", overrides: Iterable[str] = ()) -> Model:
    """The analytic model `name`, its Hydra configuration composed once, with `overrides` (`KEY=VALUE`).

    Raises ValueError, in one line that names the nearest valid key, for an override that does not fit.
    """
    from .config import compose  # Hydra is loaded by those who use a model, not by those who import us

    return Model(compose([f"model={name}", *overrides]).model)
