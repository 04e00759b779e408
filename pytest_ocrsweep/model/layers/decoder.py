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
    INT,
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
from ..operations import cast, elementwise, grouped_matmul, linear, matmul, softmax
from ..symbolic import Size, distinct_experts
from . import attention as attend


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


def head(decoder: Decoder, tokens: Size) -> Kernels:
    """Logits of every token over the whole vocabulary."""
    yield linear("head", tokens, decoder.width, decoder.vocabulary, bias=False)


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
    yield from (embedded,) * (times > 1)  # of repeated layers the last is listed, which is not the first
    yield from repeated([*layer(batch * q, decoder.width, attn, mlp), *kept], times)
    yield from (embedded,) * (times == 1)
    for mlp, times in others:
        yield from repeated([*layer(batch * q, decoder.width, attn, mlp), *kept], times)
    yield from under("final_norm", rms_norm(batch * q, decoder.width))
    table = q * (decoder.width // decoder.heads) * HALF
    yield released(x, x, table, table)  # the stream, the embedded tokens, cos and sin: the head sees none of them


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


def router(decoder: Decoder, tokens: Size) -> Kernels:
    """Scores in float32, the best experts and their weights; logits, weights and choices stay allocated."""
    x, scores = tokens * decoder.width, tokens * decoder.experts
    picks, table = tokens * decoder.experts_per_token, decoder.experts * decoder.width
    yield cast("to_float", x, HALF, FLOAT)
    yield cast("weight_to_float", table, HALF, FLOAT, weights=True)
    frees = (x * FLOAT, table * FLOAT)
    yield matmul("logits", 1, tokens, decoder.width, decoder.experts, itemsize=FLOAT, frees=frees)
    yield softmax("softmax", scores)
    yield kernel(
        "top_k",
        reads=scores * FLOAT,
        writes=(picks * FLOAT, picks * INDEX),
        pattern=Pattern.SERIAL,
        work=scores * FLOAT + picks * (FLOAT + INDEX),
    )
    yield elementwise("scale", "mul", picks, itemsize=FLOAT, frees=(picks * FLOAT, scores * FLOAT))


def grouped_experts(decoder: Decoder, tokens: Size) -> Kernels:
    """Tokens sorted by expert, one product per expert reached, and back. Source: grouped_mm_experts_forward."""
    picks, width, hidden = tokens * decoder.experts_per_token, decoder.width, decoder.expert_width
    reached = distinct_experts(tokens, decoder.experts, decoder.experts_per_token)
    rows, index = picks * width * HALF, picks * INDEX
    counts = decoder.experts * INT
    yield kernel("sort", reads=index, writes=(index, index), pattern=Pattern.SERIAL, work=3 * index, launches=22)
    yield kernel("token", reads=index, writes=index)
    yield kernel("gather", reads=(rows, index), writes=rows, frees=index)
    yield kernel("gather_weights", reads=(picks * FLOAT, index), writes=picks * FLOAT, pattern=Pattern.REDUCTION)
    yield cast("to_int", picks, INDEX, INT)
    yield kernel("count", reads=picks * INT, writes=counts, launches=2)
    yield kernel("offsets", reads=counts, writes=counts, launches=2)
    yield grouped_matmul("gate_up", picks, width, 2 * hidden, decoder.experts, reached)
    yield from under("gate", gate(picks, hidden))
    yield grouped_matmul("down", picks, hidden, width, decoder.experts, reached)
    yield released(picks * hidden * HALF)
    yield weigh(picks, width)
    yield kernel("positions", writes=index)
    yield kernel("invert", reads=(index, index), writes=index, frees=index, pattern=Pattern.REDUCTION)
    yield kernel("restore", reads=(picks * width * FLOAT, index), writes=picks * width * FLOAT)
    yield released(picks * width * FLOAT)
    yield from combine(tokens, picks, width)
    yield released(rows, rows, *(index,) * 3, picks * FLOAT, picks * INT, counts, counts)


def batched_experts(decoder: Decoder, tokens: Size) -> Kernels:
    """Each pick's own copy of its expert's weights. Source: batched_mm_experts_forward."""
    picks, width, hidden = tokens * decoder.experts_per_token, decoder.width, decoder.expert_width
    rows, index = picks * width * HALF, picks * INDEX
    up, down = (picks * out * width * HALF for out in (2 * hidden, hidden))
    table = decoder.experts * width * hidden * HALF
    reached = distinct_experts(tokens, decoder.experts, decoder.experts_per_token) * width * hidden * HALF
    yield kernel("repeat", reads=tokens * width * HALF, writes=rows, pattern=Pattern.STRIDED, work=picks * width)
    yield kernel("gather_gate_up", reads=index, weights=up, resident=2 * table, used=2 * reached, writes=up)
    yield matmul("gate_up", picks, 2 * hidden, width, 1, pattern=Pattern.GROUPED)
    yield from under("gate", gate(picks, hidden))
    yield kernel("gather_down", reads=index, weights=down, resident=table, used=reached, writes=down, frees=up)
    yield matmul("down", picks, width, hidden, 1, frees=picks * hidden * HALF, pattern=Pattern.GROUPED)
    yield weigh(picks, width)
    yield from combine(tokens, picks, width)
    yield released(rows, rows, down)


EXPERTS = {"grouped_mm": grouped_experts, "batched_mm": batched_experts}


def gate(picks: Size, hidden: int) -> Kernels:
    """silu(gate) · up, over the two halves of [picks, 2·hidden]."""
    h = picks * hidden
    yield elementwise("silu", "silu", h, pattern=Pattern.STRIDED)
    yield elementwise("mul", "mul", h, also=h * HALF, frees=(h * HALF, 2 * h * HALF), pattern=Pattern.STRIDED)


def weigh(picks: Size, width: int) -> Kernel:
    """Multiplies by the router's float32 weights, so that the products are float32."""
    x = picks * width
    return kernel("weigh", vector=x, reads=(x * HALF, picks * FLOAT), writes=x * FLOAT, pattern=Pattern.STRIDED, work=x)


def combine(tokens: Size, picks: Size, width: int) -> Kernels:
    """Sums over each token's experts in float32 and casts to half; frees the weighed products."""
    x, products = tokens * width, picks * width
    yield kernel(
        "sum",
        vector=products * VECTOR_FLOPS["sum"],
        reads=products * FLOAT,
        writes=x * FLOAT,
        pattern=Pattern.REDUCTION,
    )
    yield cast("to_half", x, FLOAT, HALF, frees=(x * FLOAT, products * FLOAT))
