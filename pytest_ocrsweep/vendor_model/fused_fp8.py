"""Products of 8-bit floats and the kernels that quantise for them, beside the same in plain torch, as `fused_kernels`.

Written after vLLM 0.26, model_executor/layers/quantization/input_quant_fp8.py (`forward_native`) and
csrc/quantization/w8a8/fp8/common.cu.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.nn import functional as F

from ..model.symbolic import distinct_experts
from . import compat
from .fused_kernels import Bytes, chosen_rows, define, normalised_sum, size_of

FP8, LARGEST = torch.float8_e4m3fn, 448.0  # and its largest number


def _to_fp8(x: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    return (x.float() * scale.reciprocal()).clamp(-LARGEST, LARGEST).to(FP8)


def _quantised(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """With a scale for each row."""
    scale = x.float().abs().amax(-1, keepdim=True) / LARGEST
    return _to_fp8(x, scale), scale


def _room(x: torch.Tensor, width: int) -> tuple[torch.Tensor, torch.Tensor]:
    return x.new_empty(len(x), width, dtype=FP8), x.new_empty(len(x), 1, dtype=torch.float32)


def _row_bytes(x: torch.Tensor, width: int) -> int:
    return len(x) * (width + 4)


quantise = define(
    "quantise(Tensor x) -> (Tensor, Tensor)",
    lambda x: _room(x, x.shape[-1]),
    _quantised,
    lambda x: (size_of(x), _row_bytes(x, x.shape[-1])),
)
norm_quantised = define(
    "norm_quantised(Tensor[] parts, Tensor weight, bool keeps_sum) -> Tensor[]",
    lambda parts, weight, keeps_sum: [
        *_room(parts[0], parts[0].shape[-1]),
        *(torch.empty_like(parts[0]) for _ in range(keeps_sum)),
    ],
    lambda parts, weight, keeps_sum: _quantised(normalised_sum(parts, weight)),
    lambda parts, weight, keeps_sum: (
        size_of(*parts, weight),
        _row_bytes(parts[0], parts[0].shape[-1]) + keeps_sum * size_of(parts[0]),
    ),
)
silu_mul_quantised = define(
    "silu_mul_quantised(Tensor x) -> (Tensor, Tensor)",
    lambda x: _room(x, x.shape[-1] // 2),
    lambda x: _quantised(F.silu(x.chunk(2, -1)[0]) * x.chunk(2, -1)[1]),
    lambda x: (size_of(x), _row_bytes(x, x.shape[-1] // 2)),
)
scale_of_all = define(
    "scale_of_all(Tensor x) -> Tensor",
    lambda x: x.new_empty(1, dtype=torch.float32),
    lambda x: (x.float().abs().amax(-1) / LARGEST).amax(),
    lambda x: (size_of(x), 4),
)
quantise_all = define(
    "quantise_all(Tensor x, Tensor scale) -> Tensor",
    lambda x, scale: x.new_empty(x.shape, dtype=FP8),
    _to_fp8,
    lambda x, scale: (size_of(x, scale), x.numel()),
)


def _product(x: torch.Tensor, scale: torch.Tensor, weight: torch.Tensor, weight_scale: torch.Tensor) -> torch.Tensor:
    """[rows, width] @ [out, width]ᵀ of 8-bit floats, times both scales."""
    one = x.new_ones((), dtype=torch.float32)
    return compat.scaled_product(x, weight.t(), one) * scale * weight_scale


scaled_product = define(
    "scaled_product(Tensor x, Tensor scale, Tensor weight, Tensor weight_scale) -> Tensor",
    lambda x, scale, weight, weight_scale: x.new_empty(len(x), len(weight), dtype=torch.bfloat16),
    _product,
    lambda x, scale, weight, weight_scale: (size_of(x, scale, weight, weight_scale), 2 * len(x) * len(weight)),
)
Experts = Sequence[torch.Tensor]  # weights [experts, out, width], and scales [experts, tensors]


def _experts_product(
    x: torch.Tensor,
    scale: torch.Tensor,
    experts: Experts,
    order: torch.Tensor,
    starts: torch.Tensor,
    router: torch.Tensor | None,
) -> torch.Tensor:
    """Each row meets one expert: FLOPs are those of all rows and one of them."""
    weight, weight_scales = experts
    product = _product(chosen_rows(x, order), scale, weight[0], weight_scales[0, 0])
    return product if router is None else product * router.flatten()[:, None]


def _experts_bytes(
    x: torch.Tensor,
    scale: torch.Tensor,
    experts: Experts,
    order: torch.Tensor,
    starts: torch.Tensor,
    router: torch.Tensor | None,
) -> Bytes:
    weight = experts[0]
    tokens = len(x) if router is None else len(router)
    reached = distinct_experts(tokens, len(weight), len(order) // tokens)
    assert isinstance(reached, int)
    read = len(order) * x.shape[-1] + size_of(scale) + reached * size_of(*experts) // len(weight)
    read += size_of(order, starts) + (0 if router is None else size_of(router))
    return read, 2 * len(order) * weight.shape[1]


experts_product = define(
    "scaled_experts(Tensor x, Tensor scale, Tensor[] experts, Tensor order, Tensor starts, Tensor? router) -> Tensor",
    lambda x, scale, experts, order, starts, router: x.new_empty(len(order), experts[0].shape[1], dtype=torch.bfloat16),
    _experts_product,
    _experts_bytes,
)
