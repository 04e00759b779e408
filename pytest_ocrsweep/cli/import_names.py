"""Devices, engines and pages that `ocrsweep import` knows by their names: the driver's name, and the image tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from . import flags

if TYPE_CHECKING:
    from ..baselines.serving import Pages
    from ..report.imported.tool_run import ToolRun
    from ..sweep.settings import Settings


def driver_name(name: str | None) -> str | None:
    """A GPU as its driver names it, if this is the name of a device of the catalogue; else as it is."""
    from ..sweep.config import devices

    device = None if name is None else devices().get(flags.spelled(name))
    return device.name if device else name


def by_driver(found: ToolRun) -> ToolRun:
    """The run with its GPU as the driver names it, if the user wrote a device's name into the file."""
    if "gpu" not in found.written:
        return found
    return replace(found, written={**found.written, "gpu": driver_name(found.written["gpu"]) or ""})


def image_tokens(pages: Pages, engine: str, overrides: Sequence[str], settings: Settings) -> int:
    """The image tokens of a page on an engine; of a mix, those of a page without crops. Raises ValueError."""
    from ..baselines.serving import page_size
    from ..model.geometry import CropGrid

    if pages.kind == "page":
        sides = settings.model.tiling.sides(settings.workload.resolution)
        grid = sides.grid_of(*page_size(pages.name), _most_crops(engine, overrides))
    else:
        grid = CropGrid.parse(pages.name) if pages.kind == "grid" else CropGrid(1, 1)
    return settings.workload.on(grid).image_tokens


def _most_crops(engine: str, overrides: Sequence[str]) -> int:
    """Into how many crops the engine cuts a page, as far as its settings are here; else the model's own limit."""
    from ..sweep.config import compose
    from ..sweep.search_path import choices

    known = engine in choices("engine")
    chosen = any(text.startswith("engine=") for text in overrides)
    return compose([*overrides, *([f"engine={engine}"] if known and not chosen else [])]).most_crops
