"""A fused attention on the meta device, counted as the one kernel that it is on a GPU.

On the meta device it would reach the dispatcher decomposed: as products and a softmax over scores that a GPU never
writes. It is caught above the dispatcher and replaced by one operation whose output is laid out as CUDA's is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from ..model.kernels import VECTOR_FLOPS
from .compat import Arguments, Keywords


def _output(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, bias: torch.Tensor | None, masked: bool, scales_query: bool
) -> torch.Tensor:
    """[batch, heads, queries, dim], in memory [batch, queries, heads, dim]."""
    return torch.empty_like(q.transpose(1, 2), memory_format=torch.contiguous_format).transpose(1, 2)


_namespace = torch.library.Library("ocrsweep", "DEF")
_namespace.define(
    "fused_attention(Tensor q, Tensor k, Tensor v, Tensor? bias, bool masked, bool scales_query) -> Tensor"
)
_namespace.impl("fused_attention", _output, "Meta")
FUSED = torch.ops.ocrsweep.fused_attention


def vector_flops(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, bias: torch.Tensor | None, masked: bool, scales_query: bool
) -> int:
    """What eager attention counts: SAM scales the query, the others scale the scores."""
    scores = prod(q.shape[:-1]) * k.shape[-2]
    scaled = q.numel() if scales_query else scores
    added = scores * VECTOR_FLOPS["add"] if masked or bias is not None else 0
    return scaled * VECTOR_FLOPS["mul"] + added + scores * VECTOR_FLOPS["softmax"]


class Fuse(TorchFunctionMode):
    """Runs each scaled_dot_product_attention as `FUSED`."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Arguments = (),
        kwargs: Keywords | None = None,
    ) -> Any:
        if func is not torch.nn.functional.scaled_dot_product_attention:
            return func(*args, **(kwargs or {}))
        (q, k, v), named = args, kwargs or {}
        bias = named.get("attn_mask")
        if bias is not None and bias.dtype is torch.bool:  # PyTorch adds a number, for every kernel
            bias = torch.where(bias, 0.0, torch.scalar_tensor(float("-inf"), dtype=q.dtype, device=q.device))
        if bias is not None and bias.shape[-1] % 8:  # PyTorch's own preparation for the kernel that takes a bias
            bias = torch.nn.functional.pad(bias, (0, 8 - bias.shape[-1] % 8))[..., : bias.shape[-1]]
        masked = bool(named.get("is_causal")) or q.shape[-2] == 1
        own_scale = bias is not None and named.get("scale") is None  # SAM's, which scales the query if it is eager
        return FUSED(q, k, v, bias, masked, own_scale)
