"""Every private name of torch that this package uses, and every method of transformers that it replaces.

Seen to work with torch 2.11 to 2.13 and transformers 5.23, the releases of `versions.SUPPORTED`. What has a public name
is used by that name: `AutoModel….from_config`, `set_experts_implementation`, `OpOverload.overloadpacket`.
"""

from __future__ import annotations

from typing import Any

import torch
from torch._ops import OpOverload, OpOverloadPacket
from torch.utils._python_dispatch import TorchDispatchMode

__all__ = ["DispatchMode", "Operation", "Packet"]

# Types of what a dispatch mode is called with: an operation such as aten.add.Tensor, and all of its overloads.
Operation = OpOverload
Packet = OpOverloadPacket

# torch documents `__torch_dispatch__`, and the class of a mode that has one only under this name.
DispatchMode = TorchDispatchMode

# Operations that the reference model runs and for which torch has only a private name.
aten = torch.ops.aten
SOFTMAX = aten._softmax
SAFE_SOFTMAX = aten._safe_softmax
UPSAMPLE_BICUBIC = aten._upsample_bicubic2d_aa
TO_COPY = aten._to_copy
UNSAFE_VIEW = aten._unsafe_view
GROUPED_MM = aten._grouped_mm  # torch.nn.functional.grouped_mm at the dispatcher
CPU_FLASH_ATTENTION = aten._scaled_dot_product_flash_attention_for_cpu
FLASH_ATTENTION = aten._scaled_dot_product_flash_attention
EFFICIENT_ATTENTION = aten._scaled_dot_product_efficient_attention
CUDNN_ATTENTION = aten._scaled_dot_product_cudnn_attention


def mutates(operation: Operation) -> bool:
    """Whether an operation writes into one of its arguments, by its schema, which torch offers in no public way."""
    return operation._schema.is_mutable


def spin(cycles: int) -> None:
    """Keeps the GPU busy for `cycles` of its clock: torch's tests and tools use it, nothing public does the same."""
    torch.cuda._sleep(cycles)


def set_allocator(settings: str) -> None:
    """Changes the CUDA allocator's settings in a running process; the public way is a variable read at its start."""
    torch._C._accelerator_setAllocatorSettings(settings)


def trust_image_tokens(built: Any) -> None:
    """Replaces `get_placeholder_mask` of the reference model by one without its check that tokens match features.

    The check's message reads a tensor back to the host, which neither the meta device nor a CUDA graph allows.
    """

    def image_places(
        input_ids: torch.Tensor, inputs_embeds: torch.Tensor, image_features: torch.Tensor
    ) -> torch.Tensor:
        return (input_ids == built.config.image_token_id).unsqueeze(-1)

    built.model.get_placeholder_mask = image_places
