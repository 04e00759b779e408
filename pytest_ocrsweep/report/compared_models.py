"""The models that a comparison names, whose grids must mean the same."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import ReportError
from ..sweep.config import compose
from ..sweep.search_path import choices


def chosen(names: Sequence[str], overrides: Sequence[str]) -> list[str]:
    """The overrides with the first model that is named. Raises ReportError for models whose grids mean other things."""
    models = {name: compose([f"model={name}"]).model for name in names if name in choices("model")}
    if len({model.patch_encoder is None for model in models.values()}) > 1:
        what = f"{' and '.join(models)}: a grid is of crops for the one, and of tiles for the other;"
        raise ReportError(what, "lay them side by side over an image, --page page.png")
    return [*(f"model={name}" for name in list(models)[:1]), *overrides]
