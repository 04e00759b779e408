"""A vision transformer over the patches of pages at their own resolution.

Source: transformers 5.23, modeling_glm_ocr.py GlmOcrVision*; modeling_paddleocr_vl.py PaddleOCRVision*.
"""

from __future__ import annotations

from collections.abc import Callable

from ..architecture import PatchEncoder
from ..attention import ATTENTION
from ..kernels import (
    FLOAT,
    HALF,
    INDEX,
    VECTOR_FLOPS,
    Kernel,
    Kernels,
    Pattern,
    allocated,
    held,
    kernel,
    released,
    repeated,
    under,
)
from ..operations import cast, convolution, elementwise, layer_norm, linear
from ..page_by_page import one_by_one
from ..parameters import Parameter
from ..symbolic import Size
from . import attention as attend
from .decoder import layer
from .decoder_parts import gated_mlp, rms_norm
from .rotary import axial_tables, rotate_in_float

TAPS = 4  # trained positions around a patch, between which its own is interpolated


def encoder(e: PatchEncoder, pages: Size, patches: Size, attention: str) -> Kernels:
    """[pages · patches, pixels] → [pages · patches, width], normalised; the tables of angles stay, if not `nested`."""
    rows = pages * patches
    x, norm = rows * e.width * HALF, NORMS[e.norm]
    yield patch_embedding(e, rows)
    if e.has_table:
        yield from under("positions", resized_positions(e, rows))
    yield from under("rope", axial_tables(rows, e.width // e.heads))
    embedded = (held(x),) * e.nested
    yield from embedded * (e.layers > 1)  # of repeated blocks the last is listed, which is not the first
    yield from repeated(block(e, pages, patches, attention), e.layers)
    yield from embedded * (e.layers == 1)
    yield from (released(*tables(e, rows)),) * e.nested
    yield from under("final_norm", norm(rows, e.width))
    yield released(*(x,) * (1 + e.nested))


def tables(e: PatchEncoder, rows: Size) -> tuple[Size, Size]:
    """Bytes of cos and of sin."""
    return (rows * (e.width // e.heads) * FLOAT,) * 2


def patch_embedding(e: PatchEncoder, rows: Size) -> Kernel:
    """One product of each patch, as the convolution that it is. Its frames are one page, so one of them is enough."""
    frame = rows * e.channels * e.patch**2
    shape = (rows, e.channels * e.frames, e.width, e.patch, e.patch, 1)
    one = convolution("patch_embed", *shape, bias=True, io=frame * HALF, pattern=Pattern.SIMT, launches=1)
    return one._replace(unneeded=2 * (e.frames - 1) * frame * e.width)


def resized_positions(e: PatchEncoder, rows: Size) -> Kernels:
    """Adds to each patch the mean of the trained positions around it, by weights that the host has worked out."""
    x, taps, table = rows * e.width, rows * TAPS * e.width, e.position_side**2
    yield kernel(
        "gather",
        reads=(rows * TAPS * INDEX, taps * HALF),
        resident=table * e.width * HALF,
        used=e.width * HALF,  # whatever the page is, at least one row
        writes=taps * HALF,
        parameters=(Parameter("table", table, e.width),),
    )
    yield kernel(
        "weigh",
        vector=taps * VECTOR_FLOPS["mul"],
        reads=(taps * HALF, rows * TAPS * FLOAT),
        writes=taps * FLOAT,
        frees=taps * HALF,
        pattern=Pattern.STRIDED,
        work=taps,
    )
    yield kernel(
        "sum",
        vector=taps * VECTOR_FLOPS["sum"],
        reads=taps * FLOAT,
        writes=x * FLOAT,
        frees=taps * FLOAT,
        pattern=Pattern.REDUCTION,
    )
    yield cast("to_half", x, FLOAT, HALF)
    yield elementwise("add", "add", x, also=x * HALF, frees=(x * HALF, x * FLOAT, x * HALF))


def block(e: PatchEncoder, pages: Size, patches: Size, attention: str) -> Kernels:
    """Pre-norm attention and MLP, each added to the stream [pages · patches, width]."""
    rows = pages * patches
    attn = under("attn", self_attention(e, pages, patches, attention))
    yield from layer(rows, e.width, attn, under("mlp", mlp(e, rows)), norm=NORMS[e.norm])
    if e.returns_scores and not ATTENTION[attention].fused:
        scores = e.heads * patches * patches * HALF
        yield Kernel("released", frees=pages * allocated(scores), freed=(pages * scores,))


def mlp(e: PatchEncoder, rows: Size) -> Kernels:
    """The MLP of a block, with biases."""
    if e.gated_mlp:
        return gated_mlp(rows, e.width, e.mlp_width, bias=True)
    return plain_mlp(rows, e.width, e.mlp_width)


def plain_mlp(rows: Size, width: int, hidden: int) -> Kernels:
    """linear, GELU, linear."""
    yield linear("fc1", rows, width, hidden)
    yield elementwise("gelu", "gelu", rows * hidden, frees=rows * hidden * HALF)
    yield linear("fc2", rows, hidden, width, frees=rows * hidden * HALF)


def self_attention(e: PatchEncoder, pages: Size, patches: Size, attention: str) -> Kernels:
    """Projections, norms of heads, rotary positions in float32, full attention among the patches of each page."""
    rows, dim = pages * patches, e.width // e.heads
    x = rows * e.width * HALF
    yield from attend.projections(rows, e.width, joined=e.joined_qkv)
    for name in ("q_norm", "k_norm") * e.head_norms:
        yield from under(name, rms_norm(rows * e.heads, dim))
    yield from under("rope", rotate_in_float(rows * e.heads, dim, rows * dim * FLOAT))
    names = e.head_norms or not e.joined_qkv  # queries and keys were tensors of their own before they turned
    yield released(*(x, x) * names)
    kept: tuple[Size, ...] = (patches * e.width,)
    if ATTENTION[attention].fused:
        page = list(attend.fused(1, e.heads, patches, patches, dim, masked=False))
    else:
        page = list(attend.eager(1, e.heads, patches, patches, dim, mask=0, q_copy=0, kv_copy=0))
        if e.returns_scores:
            kept = (*kept, e.heads * patches * patches)
        else:
            page += attend.probabilities(1, e.heads, patches, patches, attention)
    yield from one_by_one(page, pages, kept)
    yield kernel("join_pages", reads=x, writes=x)
    yield linear("out_proj", rows, e.width, e.width)
    yield released(x, x, x, 3 * x if e.joined_qkv else x)
    yield Kernel("released", frees=pages * allocated(patches * e.width * HALF), freed=(x,))


def _layer_norm(rows: Size, width: int) -> Kernels:
    yield layer_norm("layer_norm", rows, width)


NORMS: dict[str, Callable[[Size, int], Kernels]] = {"rms_norm": rms_norm, "layer_norm": _layer_norm}
