"""A vision transformer over the patches of pages at their own resolution, and what merges patches into image tokens.

Source: transformers 5.23, modeling_glm_ocr.py GlmOcrVision*; modeling_paddleocr_vl.py PaddleOCRVision*.
"""

from __future__ import annotations

from ..architecture import PatchEncoder
from ..attention import ATTENTION
from ..kernels import FLOAT, HALF, Kernel, Kernels, Pattern, allocated, kernel, released, repeated, under
from ..operations import convolution, elementwise, layer_norm, linear
from ..page_by_page import one_by_one
from ..symbolic import Size
from . import attention as attend
from .decoder import layer
from .decoder_parts import gated_mlp, rms_norm
from .rotary import axial_tables, rotate_in_float


def norm(kind: str, rows: Size, width: int) -> Kernels:
    """The norm of that kind over [rows, width]; only the result stays allocated."""
    if kind == "rms_norm":
        yield from rms_norm(rows, width)
    else:
        yield layer_norm("layer_norm", rows, width)


def encoder(e: PatchEncoder, pages: Size, patches: Size, attention: str) -> Kernels:
    """[pages · patches, pixels] → [pages · patches, width], normalised; `tables` stay too."""
    rows = pages * patches
    x = rows * e.width * HALF
    yield patch_embedding(e, rows)
    yield from under("rope", axial_tables(rows, e.width // e.heads))
    yield from repeated(block(e, pages, patches, attention), e.layers)
    yield from under("final_norm", norm(e.norm, rows, e.width))
    yield released(x)


def tables(e: PatchEncoder, rows: Size) -> tuple[Size, Size]:
    """Bytes of cos and of sin, which live as long as the encoder's call."""
    return (rows * (e.width // e.heads) * FLOAT,) * 2


def patch_embedding(e: PatchEncoder, rows: Size) -> Kernel:
    """One product of each patch, as the convolution that it is."""
    shape = (rows, e.channels * e.frames, e.width, e.patch, e.patch, 1)
    one = convolution("patch_embed", *shape, bias=True, io=rows * e.pixels * HALF, pattern=Pattern.SIMT, launches=1)
    return one._replace(unneeded=0)  # nothing is padded


def block(e: PatchEncoder, pages: Size, patches: Size, attention: str) -> Kernels:
    """Pre-norm attention and MLP, each added to the stream [pages · patches, width]."""
    rows = pages * patches
    attn = under("attn", self_attention(e, pages, patches, attention))
    yield from layer(rows, e.width, attn, under("mlp", gated_mlp(rows, e.width, e.mlp_width, bias=True)))


def self_attention(e: PatchEncoder, pages: Size, patches: Size, attention: str) -> Kernels:
    """Projections, norms of heads, rotary positions in float32, full attention among the patches of each page."""
    rows, dim = pages * patches, e.width // e.heads
    x = rows * e.width * HALF
    yield linear("qkv_proj", rows, e.width, 3 * e.width)
    for name in ("q_norm", "k_norm"):
        yield from under(name, rms_norm(rows * e.heads, dim))
    yield from under("rope", rotate_in_float(rows * e.heads, dim, rows * dim * FLOAT))
    yield released(x, x)
    if ATTENTION[attention].fused:
        page = list(attend.fused(1, e.heads, patches, patches, dim, masked=False))
    else:
        page = list(attend.eager(1, e.heads, patches, patches, dim, mask=0, q_copy=0, kv_copy=0))
        page += attend.probabilities(1, e.heads, patches, patches, attention)
    yield from one_by_one(page, pages, patches * e.width)
    yield kernel("join_pages", reads=x, writes=x)
    yield linear("out_proj", rows, e.width, e.width)
    yield released(x, x, x, 3 * x)
    yield Kernel("released", frees=pages * allocated(patches * e.width * HALF), freed=(x,))


def merger(e: PatchEncoder, tokens: Size, out: int) -> Kernels:
    """[merge² · tokens, width] → [tokens, out]: a convolution of merge² patches, which stays, then a gated MLP."""
    x = tokens * out
    shape = (tokens, e.width, out, e.merge, e.merge, 1)
    yield convolution("downsample", *shape, bias=True, launches=1)._replace(unneeded=0)
    yield released(tokens * e.merge**2 * e.width * HALF)
    yield linear("proj", tokens, out, out, bias=False)
    yield layer_norm("norm", tokens, out)
    yield elementwise("gelu", "gelu", x, frees=(x * HALF, x * HALF))
    yield from gated_mlp(tokens, out, out * e.channels)
    yield released(x * HALF, *tables(e, tokens * e.merge**2))


def left(e: PatchEncoder, tokens: Size, out: int) -> list[Size]:
    """Bytes of what the call returns: the convolution's result, and the image tokens."""
    return [tokens * out * HALF] * 2
