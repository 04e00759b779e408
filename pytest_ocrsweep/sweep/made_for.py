"""The settings that a sweep source is swept for, and those that a database of shapes was made for: they must agree."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import ShapesError
from ..files.text import printable
from ..model.geometry import MAX_CROPS

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

    @classmethod
    def of(cls, settings: Settings) -> SweptFor:
        """What these settings sweep."""
        model, workload = settings.model, settings.workload
        positions = model.decoder.max_positions
        return cls(model.name, workload.resolution, workload.prompt_tokens, positions, settings.most_crops)


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
