"""From patches of pages at their own resolution to image tokens: what merges those of each tile.

Source: transformers 5.23, modeling_glm_ocr.py GlmOcrVisionModel and GlmOcrVisionPatchMerger; modeling_paddleocr_vl.py
PaddleOCRProjector.
"""

from __future__ import annotations

from collections.abc import Callable

from ..architecture import PatchEncoder
from ..kernels import HALF, Kernel, Kernels, allocated, kernel, released
from ..operations import convolution, copy, elementwise, layer_norm, linear
from ..page_by_page import one_by_one
from ..symbolic import Size
from .decoder_parts import gated_mlp
from .patch_encoder import plain_mlp, tables


def by_convolution(e: PatchEncoder, pages: Size, tokens: Size, columns: Size, out: int) -> Kernels:
    """A convolution of each tile, whose result stays, a product with a norm, and a gated MLP; frees the patches."""
    rows = pages * tokens
    x = rows * out
    shape = (rows, e.width, out, e.merge, e.merge, 1)
    yield convolution("downsample", *shape, bias=True, launches=1)._replace(unneeded=0)  # nothing is padded
    yield released(rows * e.merge**2 * e.width * HALF)
    yield linear("proj", rows, out, out, bias=False)
    yield layer_norm("norm", rows, out)
    yield elementwise("gelu", "gelu", x, frees=(x * HALF, x * HALF))
    yield from gated_mlp(rows, out, out * e.channels)
    yield released(x * HALF, *tables(e, rows * e.merge**2))


def by_mlp(e: PatchEncoder, pages: Size, tokens: Size, columns: Size, out: int) -> Kernels:
    """Page by page: a norm, patches of a tile side by side, and an MLP; then all pages as one. The patches stay.

    `columns` is 1 for several columns of tiles, and 0 for one, whose tiles lie one after the other already.
    """
    patches, wide = tokens * e.merge**2, e.width * e.merge**2
    side_by_side = copy("tiles", patches * e.width * columns, frees=patches * e.width * columns * HALF)
    page = [layer_norm("norm", patches, e.width), side_by_side, *plain_mlp(tokens, wide, wide)]
    page[-1] = linear("fc2", tokens, wide, out, frees=tokens * wide * HALF)
    x = pages * tokens * out * HALF
    yield from one_by_one(page, pages, tokens * out)
    yield kernel("join_pages", reads=x, writes=x)
    yield released(patches * e.width * HALF)
    yield Kernel("released", frees=pages * allocated(tokens * out * HALF), freed=(x,))


MERGERS: dict[str, Callable[[PatchEncoder, Size, Size, Size, int], Kernels]] = {
    "convolution": by_convolution,
    "mlp": by_mlp,
}


def left(e: PatchEncoder, tokens: Size, out: int) -> list[Size]:
    """Bytes of what the call returns beside the image tokens, and of these: the convolution's result, or patches."""
    beside = out if e.merger == "convolution" else e.width * e.merge**2
    return [tokens * beside * HALF, tokens * out * HALF]
