"""The kernels that an engine fuses, each as one operation of torch, with the same operation in plain torch beside it.

An engine's kernel reads its operands and writes its results once, and does what plain torch does meanwhile: bytes are
those of its operands and results, FLOPs are those of the plain operation, counted at the dispatcher.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional as F

from ..model.symbolic import distinct_experts
from .compat import Packet

_namespace = torch.library.Library("ocrsweep_engine", "DEF")
Bytes = tuple[int, int]  # read and written


@dataclass(frozen=True, slots=True)
class Fused:
    """One fused kernel: what it does in plain torch, and what it moves."""

    plain: Callable[..., object]
    moved: Callable[..., Bytes]


KERNELS: dict[Packet, Fused] = {}


def define(
    schema: str, meta: Callable[..., object], plain: Callable[..., object], moved: Callable[..., Bytes]
) -> Packet:
    name = schema.partition("(")[0]
    _namespace.define(schema)
    _namespace.impl(name, meta, "Meta")
    packet: Packet = getattr(torch.ops.ocrsweep_engine, name)
    KERNELS[packet] = Fused(plain, moved)
    return packet


def size_of(*tensors: torch.Tensor) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def _nothing(*_: object) -> None:
    """A kernel whose results take the places of operands."""


def _normalised(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    wide = x.float()
    return weight * (wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + 1e-6)).to(x.dtype)


def normalised_sum(parts: Sequence[torch.Tensor], weight: torch.Tensor, *_: object) -> torch.Tensor:
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return _normalised(total, weight)


norm = define(
    "norm(Tensor[] parts, Tensor weight, int copies, bool keeps_sum) -> Tensor[]",
    lambda parts, weight, copies, keeps_sum: [torch.empty_like(parts[0]) for _ in range(copies + keeps_sum)],
    normalised_sum,
    lambda parts, weight, copies, keeps_sum: (size_of(*parts, weight), (copies + keeps_sum) * size_of(parts[0])),
)


def _rotated(q: torch.Tensor, k: torch.Tensor, positions: torch.Tensor, table: torch.Tensor) -> object:
    """Halves of each vector, turned by the angle of its position: two products and a sum for each element."""
    cos, sin = table[positions].chunk(2, -1)
    turned = []
    for x in (q, k):
        first, second = x.view(*x.shape[:-1], -1, table.shape[-1]).chunk(2, -1)
        cos_, sin_ = cos[:, None], sin[:, None]
        turned += [first * cos_ - second * sin_, second * cos_ + first * sin_]
    return turned


rope = define(
    "rope(Tensor q, Tensor k, Tensor positions, Tensor table) -> (Tensor, Tensor)",
    lambda q, k, positions, table: (q.new_empty(q.shape), k.new_empty(k.shape)),
    _rotated,
    lambda q, k, positions, table: (
        size_of(q, k, positions) + positions.numel() * table.shape[-1] * table.element_size(),
        size_of(q, k),
    ),
)
cache_ = define(
    "cache_(Tensor k, Tensor v, Tensor(a!) keys, Tensor(b!) values, Tensor slots) -> ()",
    _nothing,
    _nothing,
    lambda k, v, keys, values, slots: (size_of(k, v, slots), size_of(k, v)),
)


def _attended(out: torch.Tensor, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> object:
    """Scores, their scale and mask, softmax and values, as eager attention has them."""
    scores = torch.matmul(q, k.transpose(-1, -2)) * 0.125
    masked = scores + torch.empty(q.shape[-2], k.shape[-2], dtype=q.dtype, device=q.device)
    return torch.matmul(masked.softmax(-1), v)


attention_ = define(
    "attention_(Tensor(a!) out, Tensor q, Tensor k, Tensor v) -> ()",
    _nothing,
    _attended,
    lambda out, q, k, v: (size_of(q, k, v), size_of(q)),
)
silu_mul = define(
    "silu_mul(Tensor x) -> Tensor",
    lambda x: x.new_empty(*x.shape[:-1], x.shape[-1] // 2),
    lambda x: F.silu(x.chunk(2, -1)[0]) * x.chunk(2, -1)[1],
    lambda x: (size_of(x), size_of(x) // 2),
)
softmax_top_k = define(
    "softmax_top_k(Tensor logits, int chosen) -> (Tensor, Tensor, Tensor)",
    lambda logits, chosen: (
        logits.new_empty(len(logits), chosen, dtype=torch.float32),
        *(logits.new_empty(len(logits), chosen, dtype=torch.int32) for _ in range(2)),
    ),
    lambda logits, chosen: logits.float().softmax(-1).topk(chosen),
    lambda logits, chosen: (size_of(logits), len(logits) * chosen * 12),
)
group_softmax = define(
    "group_softmax(Tensor logits) -> (Tensor, Tensor, Tensor)",
    lambda logits: (*(logits.new_empty(len(logits), 1, dtype=torch.float32) for _ in range(2)), logits[:, :1].clone()),
    lambda logits: logits.float().softmax(-1),
    lambda logits: (size_of(logits), len(logits) * (4 + 4 + logits.element_size())),
)
group_scores = define(
    "group_scores(Tensor logits, Tensor greatest, Tensor total, Tensor group) -> Tensor",
    lambda logits, greatest, total, group: torch.empty_like(logits),
    lambda logits, greatest, total, group: (logits.float() - greatest).exp() / total,
    lambda logits, greatest, total, group: (size_of(logits, greatest, total, group), size_of(logits)),
)
align = define(
    "align(Tensor choices, int experts) -> (Tensor, Tensor)",
    lambda choices, experts: (choices.new_empty(choices.numel()), choices.new_empty(experts)),
    lambda choices, experts: choices.flatten().sort(),
    lambda choices, experts: (size_of(choices), size_of(choices) + experts * choices.element_size()),
)


to_host = define("to_host(Tensor x) -> ()", _nothing, _nothing, lambda x: (size_of(x), 0))
from_host = define(
    "from_host(Tensor like, int count) -> Tensor",
    lambda like, count: like.new_empty(count),
    lambda like, count: like.new_empty(count),
    lambda like, count: (0, count * like.element_size()),
)


def chosen_rows(x: torch.Tensor, order: torch.Tensor) -> torch.Tensor:
    """The row of `x` for each choice; `x` may have one for each already."""
    return x if len(x) == len(order) else x[order.long()]


def _experts_product(
    x: torch.Tensor, experts: torch.Tensor, order: torch.Tensor, starts: torch.Tensor, scale: torch.Tensor | None
) -> torch.Tensor:
    product = torch.bmm(chosen_rows(x, order)[:, None], experts[order.long()].transpose(1, 2))[:, 0]
    return product if scale is None else product * scale.flatten()[:, None].to(product.dtype)


def _experts_bytes(
    x: torch.Tensor, experts: torch.Tensor, order: torch.Tensor, starts: torch.Tensor, scale: torch.Tensor | None
) -> Bytes:
    tokens = len(x) if scale is None else len(scale)
    reached = distinct_experts(tokens, len(experts), len(order) // tokens)
    assert isinstance(reached, int)
    rows = len(order) * x.shape[-1] * x.element_size()
    read = rows + reached * size_of(experts) // len(experts) + size_of(order, starts)
    return read + (0 if scale is None else size_of(scale)), len(order) * experts.shape[1] * x.element_size()


experts_product = define(
    "experts_product(Tensor x, Tensor experts, Tensor order, Tensor starts, Tensor? scale) -> Tensor",
    lambda x, experts, order, starts, scale: x.new_empty(len(order), experts.shape[1]),
    _experts_product,
    _experts_bytes,
)


def plain_call(packet: Packet, args: Sequence[Any]) -> Callable[[], object]:
    """The same operation in plain torch, on the same arguments."""
    return lambda: KERNELS[packet].plain(*args)
