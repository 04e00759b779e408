"""Every private name of torch that this package uses, and every method of transformers that it replaces.

Seen to work with torch 2.11 to 2.13 and transformers 5.23, the releases of `versions.SUPPORTED`. What has a public name
is used by that name: `AutoModel….from_config`, `set_experts_implementation`, `OpOverload.overloadpacket`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch._ops import OpOverload, OpOverloadPacket
from torch.utils._python_dispatch import TorchDispatchMode

__all__ = ["DispatchMode", "Operation", "Packet"]

# Types of what a dispatch mode is called with: an operation such as aten.add.Tensor, and all of its overloads.
Operation = OpOverload
Packet = OpOverloadPacket
Arguments = tuple[Any, ...]  # what an operation is called with, by place
Keywords = Mapping[str, Any]  # and by name


SCALED_PRODUCT: Packet = torch.ops.aten._scaled_mm  # of 8-bit floats


def scaled_product(x: torch.Tensor, weight: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """[rows, width] @ [width, out] of 8-bit floats, each times `scale`, in float32."""
    return torch._scaled_mm(x, weight, scale, scale, out_dtype=torch.float32)


class DispatchMode(TorchDispatchMode):
    """A mode that runs each operation within it; torch documents `__torch_dispatch__`, and the class only privately."""

    def __torch_dispatch__(
        self,
        func: Operation,
        types: Sequence[type],
        args: Arguments = (),
        kwargs: Keywords | None = None,
    ) -> Any:
        return self.run(func, args, kwargs or {})

    def run(self, func: Operation, args: Arguments, kwargs: Keywords) -> Any:
        """What the operation gives to the code within the mode."""
        raise NotImplementedError


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

    built.model.get_placeholder_mask = _image_places(built)


@contextmanager
def trusting_image_tokens(built: Any) -> Iterator[None]:
    """The same within the block, for a model of the user's own, if the method is transformers'.

    Each time by the same function: for another one, compiled code would be compiled anew.
    """
    inner = built.model
    method = getattr(type(inner), "get_placeholder_mask", None)
    if "get_placeholder_mask" in vars(inner) or not getattr(method, "__module__", "").startswith("transformers."):
        yield
        return
    if inner not in _PLACES:
        _PLACES[inner] = _image_places(built)
    inner.get_placeholder_mask = _PLACES[inner]
    try:
        yield
    finally:
        del inner.get_placeholder_mask


_PLACES: WeakKeyDictionary[Any, Any] = WeakKeyDictionary()


def _image_places(built: Any) -> Any:
    """Where images are; and None for where videos are, of a class that takes both."""
    image_token, takes_videos = built.config.image_token_id, hasattr(built.model, "get_video_features")

    def image_places(input_ids: torch.Tensor, inputs_embeds: torch.Tensor, image_features: torch.Tensor) -> Any:
        places = (input_ids == image_token).unsqueeze(-1)
        return (places, None) if takes_videos else places

    return image_places


def attention_of(config: Any) -> str | None:
    """How transformers computes attention, `attn_implementation`; its own name for it has an underscore."""
    found = getattr(config, "_attn_implementation", None)
    return found if isinstance(found, str) else None


COMPILED_REGION = "Torch-Compiled Region"
"""What the name of a profiler's event begins with that holds compiled code."""


def anything_compiled() -> bool:
    """Whether torch compiled any code in this process."""
    utilities = sys.modules.get("torch._dynamo.utils")
    return utilities is not None and utilities.counters["frames"]["ok"] > 0


def compiled(module: object) -> bool:
    """Whether a module or one within it was compiled, by `torch.compile` or by `Module.compile`."""
    compiler = sys.modules.get("torch._dynamo.eval_frame")  # loaded, as it takes long, by whoever compiles
    if compiler is None or not isinstance(module, torch.nn.Module):
        return False
    wrapper: type = compiler.OptimizedModule
    return any(isinstance(each, wrapper) or each._compiled_call_impl is not None for each in module.modules())
