"""A fused attention on the meta device, counted as the one kernel that it is on a GPU.

On the meta device it would reach the dispatcher decomposed: as products and a softmax over scores that a GPU never
writes. It is caught above the dispatcher and replaced by one operation whose output is laid out as CUDA's is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from ..model.kernels import VECTOR_FLOPS


def _output(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, bias: torch.Tensor | None, masked: bool) -> torch.Tensor:
    """[batch, heads, queries, dim], in memory [batch, queries, heads, dim]."""
    return torch.empty_like(q.transpose(1, 2), memory_format=torch.contiguous_format).transpose(1, 2)


_namespace = torch.library.Library("ocrsweep", "DEF")
_namespace.define("fused_attention(Tensor q, Tensor k, Tensor v, Tensor? bias, bool masked) -> Tensor")
_namespace.impl("fused_attention", _output, "Meta")
FUSED = torch.ops.ocrsweep.fused_attention


def vector_flops(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, bias: torch.Tensor | None, masked: bool) -> int:
    """What eager attention counts: SAM, which has a bias, scales the query; the others scale the scores."""
    scores = prod(q.shape[:-1]) * k.shape[-2]
    if bias is not None:
        return q.numel() + scores * (VECTOR_FLOPS["add"] + VECTOR_FLOPS["softmax"])
    return scores * (VECTOR_FLOPS["mul"] + VECTOR_FLOPS["softmax"] + (VECTOR_FLOPS["add"] if masked else 0))


class Fuse(TorchFunctionMode):
    """Runs each scaled_dot_product_attention as `FUSED`."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if func is not torch.nn.functional.scaled_dot_product_attention:
            return func(*args, **(kwargs or {}))
        (q, k, v), bias = args, (kwargs or {}).get("attn_mask")
        if bias is not None and bias.shape[-1] % 8:  # PyTorch's own preparation for the kernel that takes a bias
            bias = torch.nn.functional.pad(bias, (0, 8 - bias.shape[-1] % 8))[..., : bias.shape[-1]]
        masked = bool((kwargs or {}).get("is_causal")) or q.shape[-2] == 1
        return FUSED(q, k, v, bias, masked)
