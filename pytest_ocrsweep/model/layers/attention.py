"""The attention that every encoder after SAM and the decoder share: with scores in memory, or fused."""

from __future__ import annotations

from ..attention import ATTENTION
from ..kernels import FLOAT, HALF, VECTOR_FLOPS, Kernels, Pattern, kernel, released
from ..operations import (
    above_diagonal,
    below_diagonal,
    cast,
    copy,
    elementwise,
    fused_attention,
    linear,
    matmul,
    softmax,
)
from ..symbolic import Size

BIAS_ALIGNMENT = 8  # elements; PyTorch pads an attention bias to it for its memory-efficient kernel


def projections(rows: Size, width: int, *, joined: bool) -> Kernels:
    """Queries, keys and values [rows, width] with biases, `joined` in one product or in three."""
    if joined:
        yield linear("qkv_proj", rows, width, 3 * width)
        return
    for name in ("q_proj", "k_proj", "v_proj"):
        yield linear(name, rows, width, width)


def eager(
    batch: Size,
    heads: int,
    q: Size,
    kv: Size,
    dim: int,
    *,
    mask: Size,
    q_copy: Size,
    kv_copy: Size,
    unseen: int | None = None,
) -> Kernels:
    """Scores, scale, mask, softmax in float32, values; leaves the probabilities allocated, and the output.

    `mask` is the mask's elements, 0 for none; it hides the keys after a query, or `unseen` pairs of a query and a key.
    `q_copy` and `kv_copy` are 1 where the layout of several heads makes the vendor's matmul copy its operand first,
    else 0. Source: `eager_attention_forward`, modeling_unlimited_ocr.py and modeling_deepseek_ocr2.py.
    """
    scores = batch * heads * q * kv
    out, keys = batch * heads * q * dim, batch * heads * kv * dim
    pattern = Pattern.NARROW if q == 1 else Pattern.BATCHED
    if heads == 1:  # it lies as a matmul takes it
        q_copy = kv_copy = 0
    yield copy("copy_q", out * q_copy)
    yield copy("copy_k", keys * kv_copy)
    copies = (out * q_copy * HALF, keys * kv_copy * HALF)
    causal = mask != 0 and q != 1
    unneeded = above_diagonal(batch, heads, q, dim) if causal else 0
    exponentials = below_diagonal(batch, heads, q) if causal else scores
    if unseen is not None:
        unneeded, exponentials = 2 * batch * heads * dim * unseen, scores - batch * heads * unseen
    yield matmul("scores", batch * heads, q, dim, kv, frees=copies, pattern=pattern)._replace(unneeded=unneeded)
    yield elementwise("scale", "mul", scores, frees=scores * HALF)
    if mask != 0:
        yield elementwise("mask", "add", scores, also=mask * HALF, frees=scores * HALF, pattern=Pattern.STRIDED)
    yield cast("to_float", scores, HALF, FLOAT)
    yield softmax("softmax", scores, frees=scores * FLOAT)._replace(functions=exponentials)
    yield cast("to_half", scores, FLOAT, HALF, frees=(scores * FLOAT, scores * HALF))
    yield copy("copy_v", keys * kv_copy)
    values = matmul("values", batch * heads, q, kv, dim, frees=keys * kv_copy * HALF, pattern=pattern)
    yield values._replace(unneeded=unneeded)
    if q != 1 and heads != 1:  # a single query's heads stand side by side already
        yield copy("merge_heads", out, frees=out * HALF)


def repeat(name: str, batch: Size, heads: int, kv_heads: int, kv: Size, dim: int) -> Kernels:
    """Keys or values of `kv_heads`, each copied for all heads that share it; nothing runs where none is shared."""
    if heads != kv_heads:
        out = batch * heads * kv * dim
        yield kernel(
            name, reads=batch * kv_heads * kv * dim * HALF, writes=out * HALF, pattern=Pattern.STRIDED, work=out
        )


def repeated_bytes(batch: Size, heads: int, kv_heads: int, kv: Size, dim: int) -> Size:
    """Bytes of the copies that `repeat` leaves allocated."""
    return batch * heads * kv * dim * HALF if heads != kv_heads else 0


def fused_with_mask(batch: Size, heads: int, q: Size, kv: Size, dim: int, *, unseen: int) -> Kernels:
    """The same with a mask [batch, 1, q, kv] of booleans, which PyTorch turns into numbers before each kernel."""
    scores, mask = batch * heads * q * kv, batch * q * kv
    per_score = VECTOR_FLOPS["mul"] + VECTOR_FLOPS["softmax"] + VECTOR_FLOPS["add"]
    row = -(-kv // BIAS_ALIGNMENT) * BIAS_ALIGNMENT if isinstance(kv, int) else kv
    numbers, padded = mask * HALF, batch * q * row * HALF if row != kv else 0
    for number in ("nothing", "hidden"):
        yield kernel(f"mask/{number}", writes=HALF)
    yield kernel(
        "mask/numbers",
        reads=(mask, HALF, HALF),
        writes=numbers,
        frees=(HALF, HALF),
        pattern=Pattern.STRIDED,
        work=mask,
    )
    if padded != 0:
        yield copy("mask/pad", mask, into=batch * q * row, frees=numbers)._replace(pattern=Pattern.ABSORBED)
    one = fused_attention(
        "fused",
        batch,
        heads,
        q,
        kv,
        dim,
        vector=scores * per_score,
        bias=numbers,
        frees=numbers if padded == 0 else padded,
    )
    hidden = batch * heads * unseen
    yield one._replace(unneeded=4 * hidden * dim, functions=scores - hidden)


def fused(
    batch: Size, heads: int, q: Size, kv: Size, dim: int, *, masked: bool, kv_heads: int | None = None
) -> Kernels:
    """One kernel that does the arithmetic of `eager` and leaves only the output; heads may share `kv_heads` keys."""
    per_score = VECTOR_FLOPS["mul"] + VECTOR_FLOPS["softmax"] + (VECTOR_FLOPS["add"] if masked else 0)
    vector = batch * heads * q * kv * per_score
    yield fused_attention("fused", batch, heads, q, kv, dim, vector=vector, causal=masked, kv_heads=kv_heads)


def probabilities(batch: Size, heads: int, q: Size, kv: Size, attention: str) -> Kernels:
    """Frees the probabilities, which eager attention returns beside its output and the layer holds until its end."""
    if not ATTENTION[attention].fused:
        yield released(batch * heads * q * kv * HALF)
