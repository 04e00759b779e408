"""What a layer of the decoder consists of: norms, rotary positions, attention with its cache, gated MLPs.

Source: transformers 5.23, modeling_unlimited_ocr.py UnlimitedOcrText*, cache_utils.py; what an engine fuses: vLLM 0.26,
csrc/layernorm_kernels.cu, pos_encoding_kernels.cu, cache_kernels.cu, activation_kernels.cu.
"""

from __future__ import annotations

from ..architecture import Decoder
from ..attention import ATTENTION
from ..engine import REFERENCE, Engine
from ..kernels import (
    FLOAT,
    HALF,
    INDEX,
    VECTOR_FLOPS,
    Kernel,
    Kernels,
    Pattern,
    allocated,
    kernel,
    released,
    under,
)
from ..operations import cast, elementwise, linear, matmul
from ..parameters import vectors
from ..symbolic import Size
from . import attention as attend
from .decoder_cache import Window, cache, from_cache, kept
from .quantised import matrix, quantise, quantising

PER_ROW = VECTOR_FLOPS["add"] + VECTOR_FLOPS["rsqrt"]  # of a norm's variance
PER_ELEMENT = VECTOR_FLOPS["square"] + VECTOR_FLOPS["mean"] + 2 * VECTOR_FLOPS["mul"]


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
        "weight", "mul", x, parameters=vectors(width), frees=(x * HALF, x * FLOAT, row), pattern=Pattern.STRIDED
    )


def fused_norm(
    path: str, rows: Size, width: int, *, parts: int = 1, copies: int = 1, keeps_sum: bool = False
) -> Kernel:
    """The same of the sum of `parts`, in one kernel: [rows, width], `copies` times, and the sum if it `keeps_sum`."""
    x = rows * width
    return kernel(
        path,
        vector=x * ((parts - 1) * VECTOR_FLOPS["add"] + PER_ELEMENT) + rows * PER_ROW,
        reads=(x * HALF,) * parts,
        weights=width * HALF,
        writes=(x * HALF,) * (copies + keeps_sum),
        pattern=Pattern.NORM,
        work=x,
        parameters=vectors(width),
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


def product_tables(q: Size, dim: int) -> Kernels:
    """The same by a product in float32 of [dim / 2, 1] frequencies, which are cast first, and [1, q] positions."""
    half, whole = q * (dim // 2) * FLOAT, q * dim
    yield cast("frequencies", dim // 2, HALF, FLOAT)
    yield cast("to_float", q, INDEX, FLOAT)
    angles = matmul("angles", 1, dim // 2, 1, q, itemsize=FLOAT)
    yield angles._replace(unneeded=angles.tensor_flops)  # a table made before holds them
    yield kernel("repeat", reads=(half, half), writes=whole * FLOAT)
    for function in ("cos", "sin"):
        yield elementwise(function, function, whole, itemsize=FLOAT)
    for function in ("cos", "sin"):
        yield elementwise(f"{function}_scale", "mul", whole, itemsize=FLOAT, frees=whole * FLOAT)
    yield cast("cos_to_half", whole, FLOAT, HALF)
    yield cast("sin_to_half", whole, FLOAT, HALF)
    yield released(dim // 2 * FLOAT, q * FLOAT, half, *(whole * FLOAT,) * 3)


def rotate(vectors: Size, dim: int, table: Size) -> Kernels:
    """x·cos + rotate_half(x)·sin over [vectors, dim]; its result and x stay allocated."""
    x, half = vectors * dim * HALF, vectors * (dim // 2) * HALF
    yield elementwise("cos", "mul", vectors * dim, also=table, pattern=Pattern.STRIDED)
    yield elementwise("negate", "neg", vectors * (dim // 2), pattern=Pattern.STRIDED)
    yield kernel("swap", reads=x, writes=x, frees=half, pattern=Pattern.STRIDED, work=vectors * dim)
    yield elementwise("sin", "mul", vectors * dim, also=table, frees=x, pattern=Pattern.STRIDED)
    yield elementwise("add", "add", vectors * dim, also=x, frees=(x, x))


def fused_rope(rows: Size, width: int, key_width: int, dim: int) -> Kernel:
    """Rotates queries and keys, `width` and `key_width` elements a row; cos and sin come from a row of a table.

    The two halves of a vector take two products and a sum each: the negation is a difference.
    """
    x = rows * (width + key_width)
    return kernel(
        "rope",
        vector=x * (2 * VECTOR_FLOPS["mul"] + VECTOR_FLOPS["add"]),
        reads=(x * HALF, rows * INDEX, rows * dim * HALF),
        writes=(rows * width * HALF, rows * key_width * HALF),
        pattern=Pattern.STRIDED,
        work=x,
    )


def self_attention(
    decoder: Decoder,
    batch: Size,
    q: Size,
    kv: Size,
    past: Size,
    many: Size,
    attention: str,
    engine: Engine = REFERENCE,
    rows: Size | None = None,
    window: Window | None = None,
) -> Kernels:
    """Projections, rotary positions, the cache, attention.

    The cache is a tensor that each step copies with the new token appended, or lies in blocks that stay where they are;
    or, with a `window`, it is the prompt's and the window's, which each step copies into one.
    `rows` are those of the products, if padding makes them more than the `batch * q` that attend.
    """
    rows, dim = batch * q if rows is None else rows, decoder.width // decoder.heads
    key_width = decoder.kv_heads * dim
    queries, keys = rows * decoder.width * HALF, rows * key_width * HALF
    parts = {"q_proj": decoder.heads * dim, "k_proj": key_width, "v_proj": key_width}
    cached = keys * kept(past, engine)  # bytes of a projection's result that are the cache
    if engine.fused_qkv:
        yield matrix("qkv_proj", rows, decoder.width, sum(parts.values()), engine)._replace(io_bytes=2 * cached)
    else:
        for name, out in parts.items():
            io: Size = 0 if name == "q_proj" else cached
            yield linear(name, rows, decoder.width, out, bias=False)._replace(io_bytes=io)
    projected = (queries + 2 * keys,) if engine.fused_qkv else (queries, keys, keys)
    tables = (q * dim * HALF,) * 2 if engine.product_rope and not engine.fused_rope else ()
    if tables:
        yield from under("rope", product_tables(q, dim))
    if engine.fused_rope:
        yield fused_rope(rows, decoder.heads * dim, key_width, dim)
    else:
        yield from under("rope_q", rotate(rows * decoder.heads, dim, q * dim * HALF))
        yield from under("rope_k", rotate(rows * decoder.kv_heads, dim, q * dim * HALF))
    yield released(*projected[:2] * (not engine.fused_qkv))
    query: tuple[Size, ...] = (queries,)
    gone = (keys, projected[-1])  # when the cache has them
    yield from cache(decoder, batch, q, kv, past, engine, window)
    yield released(*gone * (not kept(past, engine)), *tables)
    if window is not None and window.stored != 0:
        query = (*query, *(batch * kv * key_width * HALF,) * 2)  # the joined keys and values are this step's alone
    if not ATTENTION[attention].fused:
        q_copy = 0 if q == 1 else many  # a single query's heads need no reordering
        yield from attend.eager(batch, decoder.heads, q, kv, dim, mask=q * kv, q_copy=q_copy, kv_copy=0)
    else:
        in_blocks = 0 if engine.kv_block_tokens is None else 2 * batch * past * key_width * engine.kv_bytes
        for k in attend.fused(batch, decoder.heads, q, kv, dim, masked=True):
            one = from_cache(k, batch * kv * key_width, engine)
            yield one._replace(io_bytes=in_blocks, allocates=allocated(queries))  # padding has rows too
    if engine.fp8_products:
        yield quantise("quantise", rows, decoder.heads * dim, frees=queries)
    yield matrix("o_proj", rows, decoder.heads * dim, decoder.width, engine, frees=queries)
    yield released(*query)


def gated_mlp(rows: Size, width: int, hidden: int, engine: Engine = REFERENCE, *, compiled: bool = True) -> Kernels:
    """down(silu(gate x) · up x).

    Activations in 8 bits come from the norm before and from the activation, if all are `compiled` together.
    """
    h = rows * hidden
    if engine.fp8_products and not compiled:
        yield quantise("quantise", rows, width)
    if engine.fused_gate_up:
        yield matrix("gate_up_proj", rows, width, 2 * hidden, engine)
        act = silu_mul("silu_mul", rows, hidden)
        yield quantising(act, rows, hidden) if engine.fp8_products and compiled else act
    else:
        yield linear("gate_proj", rows, width, hidden, bias=False)
        yield elementwise("silu", "silu", h, frees=h * HALF)
        yield linear("up_proj", rows, width, hidden, bias=False)
        yield elementwise("mul", "mul", h, also=h * HALF, frees=(h * HALF, h * HALF))
    if engine.fp8_products and not compiled:
        yield quantise("quantise_hidden", rows, hidden, frees=h * HALF)
    yield matrix("down_proj", rows, hidden, width, engine, frees=h * HALF)


def silu_mul(path: str, rows: Size, hidden: int) -> Kernel:
    """silu of the first half of [rows, 2·hidden] times the second, which it frees."""
    h = rows * hidden
    one = kernel(
        path,
        vector=h * (VECTOR_FLOPS["silu"] + VECTOR_FLOPS["mul"]),
        reads=2 * h * HALF,
        writes=h * HALF,
        frees=2 * h * HALF,
        pattern=Pattern.STRIDED,
        work=h,
    )
    return one._replace(functions=h)
