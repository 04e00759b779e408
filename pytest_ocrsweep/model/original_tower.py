"""The vision tower as DeepSeek's own code runs it: page by page, a page's crops before its view.

Its loop names what it makes, and a name lasts until the next page has its own: so the tokens of a page are not all that
stays. Source: DeepSeek-OCR's modeling_deepseekocr.py, DeepseekOCRModel.forward.
"""

from __future__ import annotations

from dataclasses import dataclass

from .architecture import Architecture
from .engine import Engine
from .geometry import queries
from .kernels import HALF, Kernels, released, under
from .layers import clip, projector, sam
from .sizes import COLUMNS, MANY_COLUMNS, ROWS
from .symbolic import Size


@dataclass(frozen=True, slots=True)
class Remains:
    """What a page leaves beside its tokens: SAM's and CLIP's features and the lines of tokens of each kind of view."""

    model: Architecture
    resolution: str
    crops: bool

    @property
    def sizes(self) -> tuple[Size, ...]:
        """Bytes of each tensor."""
        return (*(self.of_crops if self.crops else ()), *self.of_view)

    @property
    def of_view(self) -> tuple[Size, Size, Size]:
        """SAM's features, CLIP's, and the lines of the global view."""
        q = queries(self.model.tiling.sides(self.resolution).base_side)
        return (*self._features(1, q), q * (q + 1) * self.model.decoder.width * HALF)

    @property
    def of_crops(self) -> tuple[Size, Size, Size]:
        """The same of the crops."""
        c = queries(self.model.tiling.sides(self.resolution).crop_side or 0)
        lines = ROWS * c * (COLUMNS * c + 1)
        return (*self._features(ROWS * COLUMNS, c), lines * self.model.decoder.width * HALF)

    def _features(self, images: Size, q: int) -> tuple[Size, Size]:
        wide = self.model.with_sam.downsample_widths[-1]
        return images * q * q * wide * HALF, images * (q * q + 1) * self.model.with_clip.width * HALF


def page_alone(
    model: Architecture, resolution: str, crops: bool, attention: str, engine: Engine, tokens: Size, before: Size
) -> Kernels:
    """One page, which leaves its tokens and its remains; `before` is 1 if another page left its own, which it frees."""
    sides, width, remains = model.tiling.sides(resolution), model.decoder.width, Remains(model, resolution, crops)
    q = queries(sides.base_side)
    if crops:
        assert sides.crop_side is not None
        c, images = queries(sides.crop_side), ROWS * COLUMNS
        crop_tokens = images * c * c * width
        of_crops = view(model, images, sides.crop_side, 1, attention, engine, remains.of_crops, before)
        yield from (k._replace(weight_bytes=0, used_bytes=0) for k in of_crops)
    yield from view(model, 1, sides.base_side, 0, attention, engine, remains.of_view, before)
    yield from under("projector", [projector.newlines("global_lines", 1, q, q, width, owner=True)])
    yield released(q * q * width * HALF)
    if crops:
        placed = crop_tokens * MANY_COLUMNS
        newlines = projector.newlines("crop_lines", 1, ROWS * c, COLUMNS * c, width, owner=False)
        yield from under("projector", [projector.place_crops(placed)])
        yield released(placed * HALF)
        yield from under("projector", [newlines])
        yield released(crop_tokens * HALF)
    yield from under("projector", [projector.pages(1, tokens, width)])


def view(
    model: Architecture,
    images: Size,
    side: int,
    many: Size,
    attention: str,
    engine: Engine,
    remains: tuple[Size, Size, Size],
    before: Size,
) -> Kernels:
    """SAM, CLIP and projector over [images, 3, side, side]; all features stay, those of the page before go in turn."""
    patches, wide = queries(side), model.with_clip.width + model.with_sam.downsample_widths[-1]
    of_sam, of_clip, lines = (before * size for size in remains)
    yield from under("sam", sam.encoder(model.with_sam, images, side, many, attention, engine))
    yield released(of_sam)
    yield from under("clip", clip.encoder(model.with_clip, images, patches, many, attention, engine))
    yield released(of_clip)
    join = projector.join(images, patches, model.with_clip.width, model.with_sam.downsample_widths[-1])
    yield from under("projector", [join._replace(frees=0, freed=())])
    yield released(lines)
    yield from under("projector", [projector.project(images, patches, wide, model.decoder.width)])
    yield released(projector.joined_bytes(images, patches, model.with_clip.width, model.with_sam.downsample_widths[-1]))
