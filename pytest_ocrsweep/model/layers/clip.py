"""CLIP-L over SAM's features: embeddings, pre-norm, blocks with QuickGELU.

Source: transformers 5.23, modeling_unlimited_ocr.py, UnlimitedOcrVisionEmbeddings to UnlimitedOcrVisionEncoder.
"""

from __future__ import annotations

from ..architecture import Clip
from ..attention import ATTENTION
from ..engine import REFERENCE, Engine
from ..kernels import FLOAT, HALF, INDEX, Kernel, Kernels, Pattern, allocated, kernel, released, repeated, under
from ..operations import copy, elementwise, layer_norm, linear
from ..parameters import Parameter, vectors
from ..symbolic import Size
from . import attention as attend
from .sam_positions import resize


def encoder(clip: Clip, images: Size, patches: int, many: Size, attention: str, engine: Engine = REFERENCE) -> Kernels:
    """[images, width, patches, patches] features of SAM → [images, patches² + 1, width]."""
    tokens = images * (patches * patches + 1)
    x = tokens * clip.width * HALF
    yield from under("embeddings", embeddings(clip, images, patches, engine))
    yield layer_norm("pre_norm", tokens, clip.width, frees=x)
    # The caller keeps the first block's stream until the last block is done; the L2 rule follows the blocks alone.
    normed = allocated(x * (clip.layers > 1))
    yield Kernel("held", allocates=normed)
    blocks = repeated(block(clip, images, patches * patches + 1, many, attention, engine), clip.layers)
    yield from _without_class_token(clip, images, patches * patches + 1, blocks)
    yield Kernel("released", frees=normed)


def _without_class_token(clip: Clip, images: Size, tokens: int, blocks: Kernels) -> Kernels:
    """The blocks; in the last one, the class token's own row is not needed."""
    square, wide = 2 * clip.width * clip.width, 2 * clip.width * clip.mlp_width
    products = {
        "attn/q_proj": square,
        "attn/qkv_proj": square,
        "attn/out_proj": square,
        "mlp/fc1": wide,
        "mlp/fc2": wide,
    }
    products |= dict.fromkeys(("attn/scores", "attn/values"), 2 * tokens * clip.width)
    products |= {"attn/fused": 4 * tokens * clip.width}
    for k in blocks:
        yield k._replace(unneeded=k.unneeded + images * products[k.path]) if k.path in products else k


def embeddings(clip: Clip, images: Size, patches: int, engine: Engine = REFERENCE) -> Kernels:
    """Prepends the class token and adds positions, resized where the view is not the trained size."""
    trained = clip.image_side // clip.patch
    tokens = patches * patches + 1
    x = images * tokens * clip.width
    yield kernel(
        "class_token",
        reads=images * patches * patches * clip.width * HALF,
        weights=clip.width * HALF,
        writes=x * HALF,
        pattern=Pattern.STRIDED,
        work=x,
        parameters=vectors(clip.width),
    )
    table = (trained * trained + 1) * clip.width * HALF
    if patches == trained:
        rows = (Parameter("table", trained * trained + 1, clip.width),)
        yield kernel("positions", reads=tokens * INDEX, weights=table, writes=table, parameters=rows)
    elif engine.original_clip:
        yield from _gathered_positions(clip, trained, patches)
    else:
        yield from resize(clip.width, trained, patches)
        yield kernel(
            "positions",
            reads=patches * patches * clip.width * HALF,
            weights=clip.width * HALF,
            writes=tokens * clip.width * HALF,
            frees=patches * patches * clip.width * HALF,
            parameters=(Parameter("table", 1, clip.width),),
        )
    yield elementwise("add", "add", x, also=tokens * clip.width * HALF, frees=(x * HALF, tokens * clip.width * HALF))


def _gathered_positions(clip: Clip, trained: int, patches: int) -> Kernels:
    """The table looked up whole and put into another order before it is resized, as DeepSeek's own code does."""
    rows, square, resized = trained * trained + 1, trained * trained * clip.width, patches * patches * clip.width
    table, ours = rows * clip.width * HALF, (Parameter("table", rows, clip.width),)
    yield kernel("gather", reads=rows * INDEX, weights=table, writes=table, parameters=ours)
    yield copy("order", square)
    yield from resize(clip.width, trained, patches, gathered=True)
    out = (resized + clip.width) * HALF
    yield kernel("positions", reads=(resized * HALF, clip.width * HALF), writes=out, frees=resized * HALF)
    yield released(square * FLOAT, rows * clip.width * HALF)


def block(clip: Clip, images: Size, tokens: int, many: Size, attention: str, engine: Engine = REFERENCE) -> Kernels:
    """Pre-norm attention and MLP, each added to the stream [images, tokens, width]."""
    rows = images * tokens
    x = rows * clip.width
    yield layer_norm("norm1", rows, clip.width)
    yield from under("attn", self_attention(clip, images, tokens, many, attention, engine))
    yield released(x * HALF)
    yield elementwise("residual1", "add", x, also=x * HALF, frees=x * HALF)
    yield layer_norm("norm2", rows, clip.width)
    yield from under("mlp", mlp(rows, clip.width, clip.mlp_width))
    yield released(x * HALF)
    yield elementwise("residual2", "add", x, also=x * HALF, frees=(x * HALF, x * HALF, x * HALF))
    yield from attend.probabilities(images, clip.heads, tokens, tokens, attention)


def self_attention(
    clip: Clip, images: Size, tokens: int, many: Size, attention: str, engine: Engine = REFERENCE
) -> Kernels:
    """Full attention among the tokens of each image."""
    rows, dim = images * tokens, clip.width // clip.heads
    x = rows * clip.width * HALF
    yield from attend.projections(rows, clip.width, joined=engine.joins_clip)
    if not ATTENTION[attention].fused:
        yield from attend.eager(images, clip.heads, tokens, tokens, dim, mask=0, q_copy=many, kv_copy=many)
    else:
        yield from attend.fused(images, clip.heads, tokens, tokens, dim, masked=False)
    yield linear("out_proj", rows, clip.width, clip.width, frees=x)
    yield released(*((3 * x,) if engine.joins_clip else (x, x, x)))


def mlp(rows: Size, width: int, hidden: int) -> Kernels:
    """linear, x·σ(1.702 x) as three kernels, linear."""
    h = rows * hidden
    yield linear("fc1", rows, width, hidden)
    yield elementwise("gelu/scale", "mul", h)
    yield elementwise("gelu/sigmoid", "sigmoid", h, frees=h * HALF)
    yield elementwise("gelu/mul", "mul", h, also=h * HALF, frees=(h * HALF, h * HALF))
    yield linear("fc2", rows, hidden, width, frees=h * HALF)
