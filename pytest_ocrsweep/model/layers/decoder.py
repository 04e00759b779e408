"""The language model: `q` new tokens attend to `kv` keys. A prefill has (s, s), a decode step has (1, s + i).

Source: transformers 5.23, modeling_unlimited_ocr.py UnlimitedOcrText*, integrations/moe.py, cache_utils.py.
"""

from __future__ import annotations

from collections.abc import Iterable

from ..architecture import Decoder
from ..attention import ATTENTION
from ..kernels import (
    FLOAT,
    HALF,
    INDEX,
    VECTOR_FLOPS,
    Kernel,
    Kernels,
    Pattern,
    held,
    kernel,
    released,
    repeated,
    under,
)
from ..operations import cast, elementwise, linear
from ..symbolic import Size
from . import attention as attend
from .moe import EXPERTS, router


def embed(decoder: Decoder, tokens: Size) -> Kernels:
    """One row of the embedding table for each token."""
    row = decoder.width * HALF
    yield kernel(
        "embed",
        reads=(tokens * INDEX, tokens * row),
        resident=decoder.vocabulary * row,
        used=row,  # whatever the tokens are, at least one row
        io=tokens * INDEX,
        writes=tokens * row,
    )


def head(decoder: Decoder, tokens: Size, pages: Size) -> Kernels:
    """Logits of every token over the whole vocabulary, of which a page's last token alone is needed."""
    logits = linear("head", tokens, decoder.width, decoder.vocabulary, bias=False)
    yield logits._replace(unneeded=2 * (tokens - pages) * decoder.width * decoder.vocabulary)


def layers(
    decoder: Decoder, batch: Size, q: Size, kv: Size, past: Size, many: Size, attention: str, experts: str
) -> Kernels:
    """Rotary tables, every layer, the last norm. The cache already holds `past` of the `kv` keys."""
    x = batch * q * decoder.width * HALF
    yield from under("rope", rotary_tables(q, decoder.width // decoder.heads))
    attn = list(under("attn", self_attention(decoder, batch, q, kv, past, many, attention)))
    kept = list(attend.probabilities(batch, decoder.heads, q, kv, attention))
    dense = under("mlp", gated_mlp(batch * q, decoder.width, decoder.dense_width))
    sparse = mixture(decoder, batch * q, experts)
    stacks = ((dense, decoder.dense_layers), (sparse, decoder.layers - decoder.dense_layers))
    (mlp, times), *others = ((mlp, times) for mlp, times in stacks if times)
    embedded = held(x)  # the caller keeps the embedded tokens until the last norm is done; they are the first's stream
    stack = [*layer(batch * q, decoder.width, attn, mlp), *kept]
    last = [] if q == 1 else list(last_token(decoder, batch, kv, many, attention, experts))
    yield from (embedded,) * (times > 1)  # of repeated layers the last is listed, which is not the first
    yield from _ended(stack, repeated(stack, times), [] if others else last)
    yield from (embedded,) * (times == 1)
    for mlp, times in others:
        stack = [*layer(batch * q, decoder.width, attn, mlp), *kept]
        yield from _ended(stack, repeated(stack, times), last)
    yield from under("final_norm", rms_norm(batch * q, decoder.width))
    table = q * (decoder.width // decoder.heads) * HALF
    yield released(x, x, table, table)  # the stream, the embedded tokens, cos and sin: the head sees none of them


def last_token(decoder: Decoder, batch: Size, kv: Size, many: Size, attention: str, experts: str) -> Kernels:
    """The last layer for each page's last token: all of it that is needed, but for the others' keys and values."""
    sparse = decoder.layers > decoder.dense_layers
    dense = under("mlp", gated_mlp(batch, decoder.width, decoder.dense_width))
    attn = under("attn", self_attention(decoder, batch, 1, kv, kv - 1, many, attention))
    yield from layer(batch, decoder.width, attn, mixture(decoder, batch, experts) if sparse else dense)


def _ended(stack: Iterable[Kernel], layers: Iterable[Kernel], last: Iterable[Kernel]) -> Kernels:
    """The repeated `layers` of a `stack`, in the last of which what `last` does is enough."""
    whole, enough = {k.path: k for k in stack}, {k.path: k for k in last}
    for k in layers:
        if not enough or k.path in ("attn/k_proj", "attn/v_proj") or k.path not in whole:
            yield k
            continue
        one, needed = whole[k.path], enough.get(k.path, Kernel(k.path))
        unneeded = one.tensor_flops - one.unneeded - (needed.tensor_flops - needed.unneeded)
        yield k._replace(
            unneeded=k.unneeded + unneeded,
            functions=k.functions - one.functions + needed.functions,
        )


def layer(rows: Size, width: int, attn: Iterable[Kernel], mlp: Iterable[Kernel]) -> Kernels:
    """Pre-norm attention and MLP, each added to the stream [rows, width]."""
    x = rows * width * HALF
    yield from under("norm1", rms_norm(rows, width))
    yield from attn
    yield released(x)
    yield elementwise("residual1", "add", rows * width, also=x, frees=x)
    yield from under("norm2", rms_norm(rows, width))
    yield from mlp
    yield released(x)
    yield elementwise("residual2", "add", rows * width, also=x, frees=(x, x, x))


def rms_norm(rows: Size, width: int) -> Kernels:
    """x / √(mean x² + ε) in float32, times the weight, in eight kernels; only the result stays allocated."""
    x, row = rows * width, rows * FLOAT
    yield cast("to_float", x, HALF, FLOAT)
    yield elementwise("square", "square", x, itemsize=FLOAT)
    yield kernel(
        "mean", vector=x * VECTOR_FLOPS["mean"], reads=x * FLOAT, writes=row, frees=x * FLOAT, pattern=Pattern.REDUCTION
    )
    yield elementwise("epsilon", "add", rows, itemsize=FLOAT)
    yield elementwise("rsqrt", "rsqrt", rows, itemsize=FLOAT, frees=row)
    yield elementwise("scale", "mul", x, also=row, itemsize=FLOAT, frees=(x * FLOAT, row), pattern=Pattern.STRIDED)
    yield cast("to_half", x, FLOAT, HALF)
    yield elementwise(
        "weight", "mul", x, weights=width * HALF, frees=(x * HALF, x * FLOAT, row), pattern=Pattern.STRIDED
    )


def rotary_tables(q: Size, dim: int) -> Kernels:
    """cos and sin of position × frequency, [q, dim], shared by every layer and page."""
    half = q * (dim // 2)
    yield cast("to_float", q, INDEX, FLOAT)
    yield kernel("angles", vector=half, reads=(q * FLOAT, dim // 2 * FLOAT), writes=half * FLOAT)
    yield kernel("repeat", reads=2 * half * FLOAT, writes=2 * half * FLOAT)
    for function in ("cos", "sin"):
        yield elementwise(function, function, 2 * half, itemsize=FLOAT)
        yield elementwise(f"{function}_scale", "mul", 2 * half, itemsize=FLOAT, frees=2 * half * FLOAT)
    yield cast("cos_to_half", 2 * half, FLOAT, HALF)
    yield cast("sin_to_half", 2 * half, FLOAT, HALF)
    yield released(q * FLOAT, half * FLOAT, *(2 * half * FLOAT,) * 3)


def rotate(vectors: Size, dim: int, table: Size) -> Kernels:
    """x·cos + rotate_half(x)·sin over [vectors, dim]; its result and x stay allocated."""
    x, half = vectors * dim * HALF, vectors * (dim // 2) * HALF
    yield elementwise("cos", "mul", vectors * dim, also=table, pattern=Pattern.STRIDED)
    yield elementwise("negate", "neg", vectors * (dim // 2), pattern=Pattern.STRIDED)
    yield kernel("swap", reads=x, writes=x, frees=half, pattern=Pattern.STRIDED, work=vectors * dim)
    yield elementwise("sin", "mul", vectors * dim, also=table, frees=x, pattern=Pattern.STRIDED)
    yield elementwise("add", "add", vectors * dim, also=x, frees=(x, x))


def self_attention(decoder: Decoder, batch: Size, q: Size, kv: Size, past: Size, many: Size, attention: str) -> Kernels:
    """Projections, rotary positions, attention, and the cache, which each step copies with the new token appended."""
    rows, dim = batch * q, decoder.width // decoder.heads
    queries, keys = rows * decoder.width * HALF, rows * decoder.kv_heads * dim * HALF
    before, after = (batch * n * decoder.kv_heads * dim * HALF for n in (past, kv))
    yield linear("q_proj", rows, decoder.width, decoder.heads * dim, bias=False)
    yield linear("k_proj", rows, decoder.width, decoder.kv_heads * dim, bias=False)
    yield linear("v_proj", rows, decoder.width, decoder.kv_heads * dim, bias=False)
    yield from under("rope_q", rotate(rows * decoder.heads, dim, q * dim * HALF))
    yield from under("rope_k", rotate(rows * decoder.kv_heads, dim, q * dim * HALF))
    yield released(queries, keys)
    for name in ("cache_k", "cache_v"):
        yield kernel(name, reads=(before, keys), io=before + keys, writes=after, frees=before)
    yield released(keys, keys)
    if not ATTENTION[attention].fused:
        q_copy = 0 if q == 1 else many  # a single query's heads need no reordering
        yield from attend.eager(batch, decoder.heads, q, kv, dim, mask=q * kv, q_copy=q_copy, kv_copy=0)
    else:
        yield from attend.fused(batch, decoder.heads, q, kv, dim, masked=True)
    yield linear("o_proj", rows, decoder.heads * dim, decoder.width, bias=False, frees=queries)
    yield released(queries)


def gated_mlp(rows: Size, width: int, hidden: int) -> Kernels:
    """down(silu(gate x) · up x)."""
    h = rows * hidden
    yield linear("gate_proj", rows, width, hidden, bias=False)
    yield elementwise("silu", "silu", h, frees=h * HALF)
    yield linear("up_proj", rows, width, hidden, bias=False)
    yield elementwise("mul", "mul", h, also=h * HALF, frees=(h * HALF, h * HALF))
    yield linear("down_proj", rows, hidden, width, bias=False, frees=h * HALF)


def mixture(decoder: Decoder, tokens: Size, experts: str) -> Kernels:
    """Router, routed experts by the implementation `experts`, shared experts as one wide MLP, and their sum."""
    x, picks = tokens * decoder.width, tokens * decoder.experts_per_token
    yield from under("router", router(decoder, tokens))
    yield from under("experts", EXPERTS[experts](decoder, tokens))
    shared = decoder.shared_experts * decoder.expert_width
    yield from under("shared_experts", gated_mlp(tokens, decoder.width, shared))
    yield elementwise("add_shared", "add", x, also=x * HALF, frees=(x * HALF, x * HALF))
    yield released(tokens * decoder.experts * FLOAT, picks * FLOAT, picks * INDEX)
