"""What a layer of the decoder consists of: norms, attention with its cache, gated MLPs.

Source: transformers 5.23, modeling_unlimited_ocr.py UnlimitedOcrText*, cache_utils.py; joined products and late norms:
modeling_glm_ocr.py GlmOcrText*; what an engine fuses: vLLM 0.26, csrc/layernorm_kernels.cu, cache_kernels.cu,
activation_kernels.cu.
"""

from __future__ import annotations

from ..architecture import Decoder
from ..attention import ATTENTION
from ..engine import REFERENCE, Engine
from ..kernels import (
    FLOAT,
    HALF,
    VECTOR_FLOPS,
    Kernel,
    Kernels,
    Pattern,
    allocated,
    kernel,
    released,
    under,
)
from ..operations import cast, copy, elementwise, linear
from ..parameters import vectors
from ..symbolic import Size
from . import attention as attend
from .decoder_cache import Window, cache, from_cache, kept
from .quantised import matrix, quantise, quantising
from .rotary import fused_rope, product_tables, rotary_tables, rotate, section_tables

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


def tables(decoder: Decoder, batch: Size, q: Size) -> Kernels:
    """cos and sin of the positions of `q` tokens; pages share them, unless each has positions on several axes."""
    if decoder.rope_sections:
        pairs = decoder.rope == "pairs"
        return section_tables(batch * q, len(decoder.rope_sections), decoder.dim, pairs)
    return rotary_tables(q, decoder.dim)


def table_bytes(decoder: Decoder, batch: Size, q: Size) -> Size:
    """Bytes of the table of cos, and of that of sin."""
    return (batch * q if decoder.rope_sections else q) * decoder.dim * HALF


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
    rows, dim = batch * q if rows is None else rows, decoder.dim
    key_width = decoder.kv_heads * dim
    queries, keys = rows * decoder.heads * dim * HALF, rows * key_width * HALF
    parts = {"q_proj": decoder.heads * dim, "k_proj": key_width, "v_proj": key_width}
    cached = keys * kept(past, engine)  # bytes of a projection's result that are the cache
    if engine.fused_qkv:
        yield matrix("qkv_proj", rows, decoder.width, sum(parts.values()), engine)._replace(io_bytes=2 * cached)
    else:
        for name, out in parts.items():
            io: Size = 0 if name == "q_proj" else cached
            yield linear(name, rows, decoder.width, out, bias=False)._replace(io_bytes=io)
    projected = (queries + 2 * keys,) if engine.fused_qkv else (queries, keys, keys)
    own_tables = (q * dim * HALF,) * 2 if engine.product_rope and not engine.fused_rope else ()
    if own_tables:
        yield from under("rope", product_tables(q, dim))
    if engine.fused_rope:
        yield fused_rope(rows, decoder.heads * dim, key_width, dim)
    else:
        table = table_bytes(decoder, batch, q)
        yield from under("rope_q", rotate(rows * decoder.heads, dim, table))
        yield from under("rope_k", rotate(rows * decoder.kv_heads, dim, table))
        if decoder.rope == "pairs":  # the class joins what turned and a rest, which is empty
            yield copy("rope_q/join", rows * decoder.heads * dim, frees=queries)._replace(
                pattern=Pattern.STREAM, work=0
            )
            yield copy("rope_k/join", rows * key_width, frees=keys)._replace(pattern=Pattern.STREAM, work=0)
    yield released(*projected[:2] * (not engine.fused_qkv))
    query: tuple[Size, ...] = (queries,)
    gone = (keys, projected[-1])  # when the cache has them
    yield from cache(decoder, batch, q, kv, past, engine, window)
    yield released(*gone * (not kept(past, engine)), *own_tables)
    if window is not None and window.stored != 0:
        query = (*query, *(batch * kv * key_width * HALF,) * 2)  # the joined keys and values are this step's alone
    if not ATTENTION[attention].fused:
        q_copy = 0 if q == 1 or decoder.rope == "pairs" else many  # heads that lie in order need no copy
        for name in ("repeat_k", "repeat_v"):
            yield from attend.repeat(name, batch, decoder.heads, decoder.kv_heads, kv, dim)
        yield from attend.eager(batch, decoder.heads, q, kv, dim, mask=q * kv, q_copy=q_copy, kv_copy=0)
        copies = attend.repeated_bytes(batch, decoder.heads, decoder.kv_heads, kv, dim)
        yield from (released(copies, copies),) * (copies != 0)
    else:
        in_blocks = 0 if engine.kv_block_tokens is None else 2 * batch * past * key_width * engine.kv_bytes
        for k in attend.fused(batch, decoder.heads, q, kv, dim, masked=True, kv_heads=decoder.kv_heads):
            one = from_cache(k, batch * kv * key_width, engine)
            yield one._replace(io_bytes=in_blocks, allocates=allocated(queries))  # padding has rows too
    if engine.fp8_products:
        yield quantise("quantise", rows, decoder.heads * dim, frees=queries)
    yield matrix("o_proj", rows, decoder.heads * dim, decoder.width, engine, frees=queries)
    yield released(*query)


def dense_mlp(decoder: Decoder, rows: Size, engine: Engine = REFERENCE) -> Kernels:
    """The MLP of a layer without experts."""
    if decoder.joined_gate_up:
        return joined_mlp(rows, decoder.width, decoder.dense_width)
    return gated_mlp(rows, decoder.width, decoder.dense_width, engine)


def joined_mlp(rows: Size, width: int, hidden: int) -> Kernels:
    """down(up x · silu(gate x)), gate and up in one product, whose result stays until the end."""
    h = rows * hidden
    yield linear("gate_up_proj", rows, width, 2 * hidden, bias=False)
    yield elementwise("silu", "silu", h, pattern=Pattern.STRIDED)
    yield elementwise("mul", "mul", h, also=h * HALF, frees=h * HALF, pattern=Pattern.STRIDED)
    yield linear("down_proj", rows, hidden, width, bias=False, frees=(h * HALF, 2 * h * HALF))


def gated_mlp(
    rows: Size, width: int, hidden: int, engine: Engine = REFERENCE, *, bias: bool = False, compiled: bool = True
) -> Kernels:
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
        yield linear("gate_proj", rows, width, hidden, bias=bias)
        yield elementwise("silu", "silu", h, frees=h * HALF)
        yield linear("up_proj", rows, width, hidden, bias=bias)
        yield elementwise("mul", "mul", h, also=h * HALF, frees=(h * HALF, h * HALF))
    if engine.fp8_products and not compiled:
        yield quantise("quantise_hidden", rows, hidden, frees=h * HALF)
    yield matrix("down_proj", rows, hidden, width, engine, bias=bias, frees=h * HALF)


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
