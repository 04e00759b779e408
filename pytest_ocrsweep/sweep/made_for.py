"""The settings that a sweep source is swept for, and those that a database of shapes was made for: they must agree."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import ShapesError
from ..files.text import printable
from ..model.geometry import MAX_CROPS, TILING, CropGrid, Tiling

if TYPE_CHECKING:
    from .settings import Settings

KEYS = {  # fields that both have → the settings that they are
    "model": "model",
    "resolution": "workload.resolution",
    "prompt_tokens": "workload.prompt_tokens",
    "max_positions": "model.decoder.max_positions",
}


@dataclass(frozen=True, slots=True)
class SweptFor:
    """What a source is swept for: the resolution cuts its pages, and a database of shapes must agree with all four."""

    model: str
    resolution: str
    prompt_tokens: int
    max_positions: int | None = None  # None: not known, as of recorded points
    most_crops: int = MAX_CROPS  # of the engine, or of the model's own processor
    tiling: Tiling = TILING

    @classmethod
    def of(cls, settings: Settings) -> SweptFor:
        """What these settings sweep."""
        model, workload = settings.model, settings.workload
        positions = model.decoder.max_positions
        sizes = (workload.resolution, workload.prompt_tokens, positions, settings.most_crops)
        return cls(model.name, *sizes, model.tiling)

    @classmethod
    def recorded(cls, model: str, resolution: str, prompt_tokens: int) -> SweptFor:
        """What recorded points of a model are looked for; of one without a configuration, as DeepSeek-OCR's."""
        from .config import compose
        from .search_path import choices

        name = model.partition("/")[0]  # an engine's points are in a folder of the model's
        if name not in choices("model"):
            return cls(model, resolution, prompt_tokens)
        known = compose([f"model={name}"]).model
        return cls(model, resolution, prompt_tokens, None, known.most_crops, known.tiling)

    @property
    def has_crops(self) -> bool:
        """Whether the mode cuts pages. Raises ValueError for one that the model does not have."""
        return self.tiling.sides(self.resolution).crop_side is not None

    def grid_of(self, width: int, height: int) -> CropGrid:
        """The grid that a page of `width` × `height` pixels is cut into. Raises ValueError as `for_image` does."""
        return self.tiling.sides(self.resolution).grid_of(width, height, self.most_crops)


@dataclass(frozen=True, slots=True)
class MadeFor:
    """The row of the table `made_for`: the settings that the shapes were computed for."""

    model: str
    resolution: str
    prompt_tokens: int
    max_positions: int
    max_aspect: float

    def require(self, swept_for: SweptFor) -> None:
        """Raises ShapesError, which names both, if the shapes are swept for other settings."""
        then, now = ({key: getattr(side, name) for name, key in KEYS.items()} for side in (self, swept_for))
        changed = [key for key in then if now[key] not in (then[key], None)]
        if changed:
            was, to_be = (", ".join(f"{key}={printable(str(side[key]))}" for key in changed) for side in (then, now))
            settings = " ".join(f"--set {key}={now[key]}" for key in changed)
            raise ShapesError(
                f"it was made for {was}, and this sweep is of {to_be};",
                f"make another: ocrsweep shapes --db FILE {settings}",
            )
