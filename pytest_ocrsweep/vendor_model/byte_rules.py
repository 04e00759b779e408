"""What each operation of the reference model reads and writes: its operands and results, with four exceptions."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import torch

from ..model.symbolic import distinct_experts
from . import fused_kernels
from .compat import GROUPED_MM, Packet

aten = torch.ops.aten
GATHERS = {aten.index, aten.embedding}  # read what they select, and the index


def moved_bytes(
    packet: Packet,
    args: Sequence[Any],
    inputs: Sequence[torch.Tensor],
    outputs: Sequence[torch.Tensor],
    experts_per_token: int,
) -> tuple[int, int]:
    """Bytes read and written by one operation; a grouped product reads the experts that uniform routing reaches."""
    if packet in fused_kernels.KERNELS:
        return fused_kernels.KERNELS[packet].moved(*args)
    written = sum(map(tensor_bytes, outputs))
    if packet in GATHERS:
        return written + sum(map(tensor_bytes, inputs[1:])), written
    if packet is aten.copy_:  # its first argument is written, not read
        return sum(map(tensor_bytes, inputs[1:])), written
    if packet is aten.index_put_:
        return sum(map(tensor_bytes, inputs[1:])), tensor_bytes(inputs[-1])
    if packet is aten.scatter_:  # of one value
        index = inputs[1]
        return tensor_bytes(index), index.numel() * outputs[0].element_size()
    if packet is GROUPED_MM:
        rows, weights, offsets = args[0], args[1], args[2]
        reached = distinct_experts(rows.shape[0] // experts_per_token, weights.shape[0], experts_per_token)
        assert isinstance(reached, int)
        expert = tensor_bytes(weights) // weights.shape[0]
        return tensor_bytes(rows) + tensor_bytes(offsets) + expert * reached, written
    return sum(map(tensor_bytes, inputs)), written


def tensor_bytes(tensor: torch.Tensor) -> int:
    """Bytes of the tensor's elements, an element that is broadcast once."""
    distinct = prod(size for size, stride in zip(tensor.shape, tensor.stride(), strict=True) if stride or size < 2)
    return distinct * tensor.element_size() if tensor.numel() else 0
