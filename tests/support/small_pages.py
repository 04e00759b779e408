"""The tiny model with pages a quarter as wide: every kind of line that it has at its own size, in a tenth of the time.

As at its own size, SAM's map of a view is no whole number of windows, a crop's padded map has several, and positions
are interpolated for crops alone.
"""

from __future__ import annotations

from pytest_ocrsweep import Workload, load_model

SIDES = (
    "model.tiling.view_sides=[256,128,160,256,320,320]",
    "model.tiling.crop_sides=[192,0,0,0,0,256]",
    "model.sam.image_side=256",
    "model.sam.window=5",
    "model.clip.image_side=56",
)
SMALL = load_model("deepseek-ocr-tiny", overrides=SIDES)


def small(work: Workload) -> Workload:
    """The pages as this model cuts them."""
    return work.cut_by(SMALL.architecture.tiling)
