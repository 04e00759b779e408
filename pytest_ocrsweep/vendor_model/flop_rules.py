"""What each operation of the reference model counts: tensor FLOPs by torch's formulas and two of ours, vector FLOPs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.utils.flop_counter import flop_registry, sdpa_flop_count

from ..model.kernels import VECTOR_FLOPS
from . import fused_attention
from .compat import (
    CPU_FLASH_ATTENTION,
    GROUPED_MM,
    SAFE_SOFTMAX,
    SOFTMAX,
    TO_COPY,
    UNSAFE_VIEW,
    UPSAMPLE_BICUBIC,
    Operation,
    Packet,
)
from .fused_attention import FUSED
from .fused_kernels import KERNELS

aten = torch.ops.aten
ADD_A_RULE = "add one to pytest_ocrsweep/vendor_model/flop_rules.py"


class Uncounted(Exception):
    """An operation without a rule: a count that left it out would be too low."""


ELEMENTWISE: dict[Packet, str] = {  # by their names in VECTOR_FLOPS, which is per element of the output
    aten.add: "add",
    aten.sub: "add",
    aten.mul: "mul",
    aten.mul_: "mul",
    aten.neg: "neg",
    aten.pow: "square",
    aten.rsqrt: "rsqrt",
    aten.sqrt: "sqrt",
    aten.div: "div",
    aten.reciprocal: "div",
    aten.exp: "exp",
    aten.cos: "cos",
    aten.sin: "sin",
    aten.sigmoid: "sigmoid",
    aten.silu: "silu",
    aten.gelu: "gelu",
    SOFTMAX: "softmax",
    aten.native_layer_norm: "layer_norm",
    aten.upsample_linear1d: "interpolate_linear",
}
REDUCTIONS = {aten.sum, aten.mean}  # one an element of the input
MOVES = {  # no floating-point arithmetic: copies, casts, gathers, integer and boolean work, sorting, comparisons
    aten.clone,
    TO_COPY,
    aten.copy_,
    aten.cat,
    aten.stack,
    aten.constant_pad_nd,
    aten.embedding,
    aten.index,
    aten.index_put_,
    aten.scatter_,
    aten.masked_scatter,
    aten.eq,
    aten.sort,
    aten.topk,
    aten.histc,
    aten.cumsum,
    aten.floor_divide,
    aten.arange,
    aten.zeros,
    aten.full,
    aten.fill_,
    aten.new_zeros,
    aten.new_ones,
    aten.abs,
    aten.amax,
    aten.clamp,
    aten.scalar_tensor,
    aten.le,
    aten.ge,
    aten.bitwise_and,
    aten.bitwise_or,
    aten.where,
}
ALLOCATIONS = {aten.empty, aten.empty_like, aten.empty_strided, aten.new_empty}
VIEWS = {UNSAFE_VIEW, aten.view, aten.detach, aten.alias, aten.lift_fresh}  # besides those whose schema says it
DECOMPOSED = {  # what else a fused attention becomes on the meta device
    SAFE_SOFTMAX,
    aten.tril,
    aten.where,
    aten.scalar_tensor,
    aten.logical_not,
    aten.ones,
    aten.masked_fill_,
    aten.masked_fill,
}


def grouped_mm_flops(a: Sequence[int], b: Sequence[int], *_: object, out_shape: object = None, **__: object) -> int:
    """[rows, k] @ [experts, k, n] by groups of rows: each row meets one expert."""
    (rows, k), (_experts, _k, n) = a, b
    return 2 * rows * k * n


def cpu_attention_flops(
    q: Sequence[int], k: Sequence[int], v: Sequence[int], *_: object, out_shape: object = None, **__: object
) -> int:
    """The fused attention of a CPU, for which torch has the formula but no entry."""
    return int(sdpa_flop_count(q, k, v))


FORMULAS: dict[Packet, Callable[..., int]] = {
    GROUPED_MM: grouped_mm_flops,
    CPU_FLASH_ATTENTION: cpu_attention_flops,
}
# Operations that FlopCounterMode counts, and those that have no products.
KNOWN = frozenset().union(
    flop_registry, FORMULAS, ELEMENTWISE, REDUCTIONS, MOVES, ALLOCATIONS, VIEWS, {UPSAMPLE_BICUBIC}, DECOMPOSED
)


def is_view(operation: Operation) -> bool:
    """Whether the result shares memory with an argument, which is not written."""
    return operation.is_view or operation.overloadpacket in VIEWS


def require_tensor_rule(operation: Operation) -> None:
    """Raises Uncounted for an operation without a FLOP formula and without a rule that it has no products."""
    packet = operation.overloadpacket
    if packet not in KNOWN and packet not in KERNELS and not is_view(operation):
        raise Uncounted(f"{packet} has no FLOP formula: {ADD_A_RULE}")


def vector_flops(
    packet: Packet, args: Sequence[Any], inputs: Sequence[torch.Tensor], outputs: Sequence[torch.Tensor]
) -> int:
    """FLOPs outside products of one operation. Raises Uncounted if no rule knows it."""
    first = outputs[0]
    if packet in (aten.addmm, aten.convolution):  # the bias; products are tensor FLOPs
        return first.numel() if packet is aten.addmm or args[2] is not None else 0
    if packet is FUSED:
        return fused_attention.vector_flops(*args)
    if packet is UPSAMPLE_BICUBIC:
        scale = max(inputs[0].shape[-1] / first.shape[-1], 1.0)
        return int(first.numel() * 2 * (2 * -(-2 * scale // 1) + 1) ** 2)
    if packet in REDUCTIONS:
        return inputs[0].numel() if first.is_floating_point() else 0
    if packet in ELEMENTWISE:
        return int(first.numel() * VECTOR_FLOPS[ELEMENTWISE[packet]]) if first.is_floating_point() else 0
    if packet in MOVES or packet in flop_registry or packet in FORMULAS:
        return 0
    raise Uncounted(f"{packet} has no rule for vector FLOPs: {ADD_A_RULE}")
