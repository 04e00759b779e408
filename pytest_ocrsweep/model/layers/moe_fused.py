"""The routers and the experts that an engine fuses.

Source: vLLM 0.26, model_executor/layers/fused_moe/fused_moe.py, experts/triton_moe.py, router/, csrc/moe/.
"""

from __future__ import annotations

from ..architecture import Decoder
from ..engine import REFERENCE, Engine
from ..kernels import BYTE, FLOAT, HALF, INDEX, INT, VECTOR_FLOPS, Kernel, Kernels, Pattern, kernel, released
from ..operations import cast, grouped_matmul, linear
from ..symbolic import Size, distinct_experts
from .decoder_parts import silu_mul
from .quantised import in_fp8, quantise_all


def fused_router(decoder: Decoder, tokens: Size) -> Kernels:
    """Scores, then their softmax and the best experts in one kernel; weights and choices stay allocated."""
    scores, picks = tokens * decoder.experts, tokens * decoder.experts_per_token
    yield linear("logits", tokens, decoder.width, decoder.experts, bias=False)
    chosen = kernel(
        "softmax_top_k",
        vector=scores * VECTOR_FLOPS["softmax"],
        reads=scores * HALF,
        writes=(picks * FLOAT, picks * INT, picks * INT),  # weights, experts, and where each choice came from
        frees=(scores * HALF, picks * INT),
        pattern=Pattern.SERIAL,
        work=scores * HALF + picks * (FLOAT + 2 * INT),
    )
    yield chosen._replace(functions=scores)


def grouped_router(decoder: Decoder, tokens: Size) -> Kernels:
    """Scores, the best group of experts, although there is one, and the best experts of it; as the other leaves them.

    Source: vLLM 0.26, model_executor/layers/fused_moe/router/grouped_topk_router.py, as torch compiles it.
    """
    scores, picks, row = tokens * decoder.experts, tokens * decoder.experts_per_token, tokens * FLOAT
    yield linear("logits", tokens, decoder.width, decoder.experts, bias=False)
    softmax_of_rows = kernel(
        "softmax",  # of each row the maximum and the sum of exponentials, and of each group the best score
        vector=scores * VECTOR_FLOPS["softmax"],
        reads=scores * HALF,
        writes=(row, row, tokens * HALF),
        pattern=Pattern.REDUCTION,
    )
    yield softmax_of_rows._replace(functions=scores)
    yield _best("best_group", tokens, tokens, frees=tokens * HALF)
    yield kernel(
        "mask",
        vector=scores * (VECTOR_FLOPS["add"] + VECTOR_FLOPS["exp"] + VECTOR_FLOPS["div"]),
        reads=(scores * HALF, row, row, tokens * INDEX),
        writes=scores * HALF,
        frees=(scores * HALF, row, row, tokens * HALF, tokens * INDEX),
        pattern=Pattern.STRIDED,
        work=scores,
    )
    yield _best("top_k", scores, picks, frees=scores * HALF)
    yield cast("to_float", picks, HALF, FLOAT, frees=picks * HALF)
    yield cast("to_int", picks, INDEX, INT, frees=picks * INDEX)


def _best(path: str, scores: Size, picks: Size, frees: Size) -> Kernel:
    """The best of some scores, and their places."""
    return kernel(
        path,
        reads=scores * HALF,
        writes=(picks * HALF, picks * INDEX),
        frees=frees,
        pattern=Pattern.SERIAL,
        work=scores * HALF + picks * (HALF + INDEX),
    )


def fused_experts(decoder: Decoder, tokens: Size, engine: Engine = REFERENCE) -> Kernels:
    """Choices sorted by expert; each product reads the rows and the weights of its experts where they lie.

    Their sum is copied into the operation's result. Products of 8-bit floats have activations of one scale.
    """
    fp8 = engine.fp8_products
    picks, width, hidden = tokens * decoder.experts_per_token, decoder.width, decoder.expert_width
    reached, least = distinct_experts(tokens, decoder.experts, decoder.experts_per_token), decoder.experts_per_token
    order, starts = picks * INT, decoder.experts * INT
    if fp8:
        yield from quantise_all("input", tokens, width)
    yield kernel("align", reads=order, writes=(order, starts), pattern=Pattern.SERIAL, work=2 * order + starts)
    up = grouped_matmul("gate_up", picks, width, 2 * hidden, decoder.experts, reached, least, 2)
    up = in_fp8(up, picks * width, 1, picks * 2 * hidden) if fp8 else up
    yield up._replace(read_bytes=up.read_bytes + order, operands=(*up.operands, order))
    yield silu_mul("silu_mul", picks, hidden)
    if fp8:
        yield from quantise_all("hidden", picks, hidden)
    down = grouped_matmul("down", picks, hidden, width, decoder.experts, reached, least)
    down = in_fp8(down, picks * hidden, 1, picks * width) if fp8 else down
    also = (order, picks * FLOAT)  # the router's weights, by which the product is multiplied before it is written
    yield down._replace(
        vector_flops=down.vector_flops + picks * width * VECTOR_FLOPS["mul"],
        read_bytes=down.read_bytes + order + picks * FLOAT,
        operands=(*down.operands, *also),
    )
    yield released(picks * hidden * HALF, order, starts, order, picks * FLOAT)
    yield released(*(tokens * width * BYTE, picks * hidden * BYTE, FLOAT, FLOAT) * fp8)
    yield kernel(
        "sum",
        vector=picks * width * VECTOR_FLOPS["sum"],
        reads=picks * width * HALF,
        writes=tokens * width * HALF,
        frees=picks * width * HALF,
        pattern=Pattern.REDUCTION,
    )
    out = tokens * width * HALF
    yield kernel("out", reads=out, writes=out, frees=out)
