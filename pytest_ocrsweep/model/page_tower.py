"""The vision tower as vLLM runs it: page by page, each page's view to its lines of tokens before the page's crops.

Its loop copies a page's view out of all pages first, and a name of the loop lasts until the next page has its own.
Source: vLLM 0.26, model_executor/models/deepseek_ocr.py, _pixel_values_to_embedding.
"""

from __future__ import annotations

from dataclasses import dataclass

from .architecture import Architecture
from .engine import Engine
from .geometry import queries
from .kernels import HALF, INDEX, VECTOR_FLOPS, Kernel, Kernels, Pattern, kernel, released, under
from .layers import clip, projector, sam
from .original_tower import Remains
from .sizes import COLUMNS, MANY_COLUMNS, ROWS
from .symbolic import Size


@dataclass(frozen=True, slots=True)
class Page:
    """A page's pixels, in elements, and bytes of what it leaves."""

    model: Architecture
    resolution: str
    crops: bool

    @property
    def view_pixels(self) -> int:
        return self.model.with_sam.channels * self.model.tiling.sides(self.resolution).base_side ** 2

    @property
    def crop_pixels(self) -> Size:
        return ROWS * COLUMNS * self.model.with_sam.channels * self._crop_side**2

    @property
    def _crop_side(self) -> int:
        return self.model.tiling.sides(self.resolution).crop_side or 0

    @property
    def remains(self) -> Remains:
        return Remains(self.model, self.resolution, self.crops)

    @property
    def named(self) -> tuple[Size, ...]:
        """Bytes of what it leaves beside its tokens: its view, and the lines of tokens of its view and crops."""
        crop_lines = self.remains.of_crops[-1:] if self.crops else ()
        return self.view_pixels * HALF, self.remains.of_view[-1], *crop_lines


def pixel_sum(path: str, pixels: Size) -> Kernel:
    """The sum of pixels, by which the engine asks whether there are any."""
    return kernel(
        path,
        vector=pixels * VECTOR_FLOPS["sum"],
        reads=pixels * HALF,
        writes=HALF,
        frees=HALF,
        pattern=Pattern.REDUCTION,
    )


def page_alone(page: Page, attention: str, engine: Engine, tokens: Size, before: Size) -> Kernels:
    """One page, which leaves its tokens and what it named; `before` is 1 if it frees what another page named."""
    model, width = page.model, page.model.decoder.width
    sides = model.tiling.sides(page.resolution)
    q, pixels = queries(sides.base_side), page.view_pixels
    *features, lines = page.remains.of_view
    yield kernel("pixels/view", reads=(pixels * HALF, INDEX), io=pixels * HALF, writes=pixels * HALF)
    yield released(before * pixels * HALF)
    yield from _projected(model, 1, sides.base_side, 0, attention, engine)
    yield from under("projector", [projector.newlines("global_lines", 1, q, q, width, owner=True)])
    yield released(q * q * width * HALF, *features, before * lines)
    if page.crops:
        assert sides.crop_side is not None
        c, images = queries(sides.crop_side), ROWS * COLUMNS
        *features, lines = page.remains.of_crops
        yield pixel_sum("pixels/sum_of_crops", page.crop_pixels)
        for k in _projected(model, images, sides.crop_side, 1, attention, engine):
            yield k._replace(weight_bytes=0, used_bytes=0)
        placed = images * c * c * width * MANY_COLUMNS
        newlines = projector.newlines("crop_lines", 1, ROWS * c, COLUMNS * c, width, owner=False)
        yield from under("projector", [projector.place_crops(placed), newlines])
        yield released(placed * HALF, images * c * c * width * HALF, *features, before * lines)
    yield from under("projector", [projector.pages(1, tokens, width)])


def _projected(model: Architecture, images: Size, side: int, many: Size, attention: str, engine: Engine) -> Kernels:
    """Both encoders and projector over [images, 3, side, side]; SAM's and CLIP's features stay."""
    patches, of_clip, of_sam = queries(side), model.with_clip.width, model.with_sam.downsample_widths[-1]
    encoded = sam.encoder(model.with_sam, images, side, many, attention, engine)
    if many == 0:  # a view is a copy that is there already
        encoded = (k._replace(io_bytes=0) for k in encoded)
    yield from under("sam", encoded)
    yield from under("clip", clip.encoder(model.with_clip, images, patches, many, attention, engine))
    join = projector.join(images, patches, of_clip, of_sam)
    project = projector.project(images, patches, of_clip + of_sam, model.decoder.width)
    yield from under("projector", [join._replace(frees=0, freed=()), project])
    yield released(projector.joined_bytes(images, patches, of_clip, of_sam))
