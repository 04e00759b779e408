"""The router; the routed experts in each of transformers' implementations; and the whole mixture.

Source: transformers 5.23, modeling_unlimited_ocr.py UnlimitedOcrTextTopkRouter, integrations/moe.py.
"""

from __future__ import annotations

from ..architecture import Decoder
from ..engine import REFERENCE, Engine
from ..kernels import FLOAT, HALF, INDEX, INT, VECTOR_FLOPS, Kernel, Kernels, Pattern, in_place, kernel, released, under
from ..operations import cast, elementwise, grouped_matmul, matmul, softmax
from ..parameters import Parameter
from ..symbolic import Size, distinct_experts
from .decoder_parts import gated_mlp
from .moe_fused import fused_experts, fused_router, grouped_router


def mixture(decoder: Decoder, tokens: Size, experts: str, engine: Engine = REFERENCE) -> Kernels:
    """Router, routed experts by the way `experts` or fused, shared experts as one wide MLP, and their sum."""
    x, picks = tokens * decoder.width, tokens * decoder.experts_per_token
    shared = decoder.shared_experts * decoder.expert_width
    shared_experts = under("shared_experts", gated_mlp(tokens, decoder.width, shared, engine, compiled=False))
    if engine.fused_experts:
        logits, *chosen = grouped_router(decoder, tokens) if engine.grouped_router else fused_router(decoder, tokens)
        yield from under("router", [logits])
        yield from shared_experts
        yield from under("router", chosen)
        yield from under("experts", fused_experts(decoder, tokens, engine))
    elif engine.looped_experts:
        yield from under("router", router(decoder, tokens))
        yield released(tokens * decoder.experts * FLOAT)
        yield from under("experts", looped_experts(decoder, tokens))
        yield from shared_experts
    else:
        yield from under("router", router(decoder, tokens))
        yield from under("experts", EXPERTS[experts](decoder, tokens))
        yield from shared_experts
    if not engine.fused_norms:  # else the next norm adds them
        yield elementwise("add_shared", "add", x, also=x * HALF, frees=(x * HALF, x * HALF))
    if not engine.fused_experts:
        of_router = () if engine.looped_experts else (tokens * decoder.experts * FLOAT,)
        yield released(*of_router, picks * FLOAT, picks * INDEX)


def router(decoder: Decoder, tokens: Size) -> Kernels:
    """Scores in float32, the best experts and their weights; logits, weights and choices stay allocated."""
    x, scores = tokens * decoder.width, tokens * decoder.experts
    picks, table = tokens * decoder.experts_per_token, decoder.experts * decoder.width
    yield cast("to_float", x, HALF, FLOAT)
    weight = (Parameter("matrix", decoder.experts, decoder.width),)
    yield cast("weight_to_float", table, HALF, FLOAT, parameters=weight)
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
    reached, least = distinct_experts(tokens, decoder.experts, decoder.experts_per_token), decoder.experts_per_token
    rows, index = picks * width * HALF, picks * INDEX
    counts = decoder.experts * INT
    yield kernel("sort", reads=index, writes=(index, index), pattern=Pattern.SERIAL, work=3 * index, launches=22)
    yield kernel("token", reads=index, writes=index)
    yield kernel("gather", reads=(rows, index), writes=rows, frees=index)
    yield kernel("gather_weights", reads=(picks * FLOAT, index), writes=picks * FLOAT, pattern=Pattern.REDUCTION)
    yield cast("to_int", picks, INDEX, INT)
    yield kernel("count", reads=picks * INT, writes=counts, launches=2)
    yield kernel("offsets", reads=counts, writes=counts, launches=2)
    yield grouped_matmul("gate_up", picks, width, 2 * hidden, decoder.experts, reached, least, 2)
    yield from under("gate", gate(picks, hidden))
    yield grouped_matmul("down", picks, hidden, width, decoder.experts, reached, least)
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
    least = decoder.experts_per_token * width * hidden * HALF
    gathered = kernel("gather_gate_up", reads=index, weights=up, resident=2 * table, used=2 * reached, writes=up)
    ours = (Parameter("experts", hidden, width, 2 * decoder.experts),)
    yield gathered._replace(least_bytes=2 * least, parameters=ours)
    yield matmul("gate_up", picks, 2 * hidden, width, 1, pattern=Pattern.GROUPED)
    yield from under("gate", gate(picks, hidden))
    gathered = kernel("gather_down", reads=index, weights=down, resident=table, used=reached, writes=down, frees=up)
    ours = (Parameter("experts", width, hidden, decoder.experts),)
    yield gathered._replace(least_bytes=least, parameters=ours)
    yield matmul("down", picks, width, hidden, 1, frees=picks * hidden * HALF, pattern=Pattern.GROUPED)
    yield weigh(picks, width)
    yield from combine(tokens, picks, width)
    yield released(rows, rows, down)


def looped_experts(decoder: Decoder, tokens: Size) -> Kernels:
    """Tokens sorted by expert, then each expert that has some on its own. Source: DeepSeek's moe_infer.

    A line of the loop stands for all experts that are reached. What one of them allocates for itself alone is not
    listed: the products of all, beside which the sum runs, are more.
    """
    picks, width, hidden = tokens * decoder.experts_per_token, decoder.width, decoder.expert_width
    reached, least = distinct_experts(tokens, decoder.experts, decoder.experts_per_token), decoder.experts_per_token
    index, rows, inside = picks * INDEX, picks * width * HALF, picks * hidden
    hits, counts = tokens * decoder.experts * INDEX, decoder.experts * INDEX
    yield kernel("zeros", writes=hits)
    yield in_place(kernel("mark", reads=index, writes=index, pattern=Pattern.STRIDED, work=picks))
    yield kernel("count", reads=hits, writes=counts, pattern=Pattern.REDUCTION)
    yield kernel(
        "sort", reads=index, writes=(index, index), frees=index, pattern=Pattern.SERIAL, work=3 * index, launches=22
    )
    yield kernel("token", reads=index, writes=index)
    yield kernel("gather", reads=(rows, index), writes=rows, frees=index)
    yield kernel("counts_to_host", reads=counts)
    looped = [
        _of_each("gate_proj", picks, width, hidden, decoder.experts, reached, least),
        elementwise("silu", "silu", inside),
        _of_each("up_proj", picks, width, hidden, decoder.experts, reached, least),
        elementwise("mul", "mul", inside, also=inside * HALF),
        _of_each("down_proj", picks, hidden, width, decoder.experts, reached, least),
    ]
    for k in looped[:-1]:
        yield in_place(k)._replace(launches=reached)
    yield looped[-1]._replace(launches=reached)
    yield kernel("join", reads=rows, writes=rows)
    yield kernel("restore", reads=(rows, index), writes=rows)
    yield cast("to_float", picks * width, HALF, FLOAT)
    weighed = elementwise("weigh", "mul", picks * width, also=picks * FLOAT, itemsize=FLOAT, pattern=Pattern.STRIDED)
    yield in_place(weighed)
    yield from combine(tokens, picks, width)
    yield released(*(rows,) * 4, index, hits, counts)


def _of_each(path: str, picks: Size, width: int, out: int, experts: int, reached: Size, least: int) -> Kernel:
    """One product for each expert reached, of its own tokens."""
    product = grouped_matmul(path, picks, width, out, experts, reached, least)
    rows = picks * width * HALF
    return product._replace(read_bytes=rows + reached * width * out * HALF, operands=(rows,))


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
