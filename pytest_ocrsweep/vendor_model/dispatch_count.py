"""Independent counts of a call of the reference model: FLOPs by FlopCounterMode, the rest at torch's dispatcher.

Nothing is left out in silence: an operation that no rule knows raises `Uncounted` with its name.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from ..model.kernels import ALLOCATION
from .byte_rules import moved_bytes
from .compat import SCALED_PRODUCT, Arguments, DispatchMode, Keywords, Operation, Packet, mutates
from .flop_rules import ALLOCATIONS, FORMULAS, Uncounted, is_view, require_tensor_rule, vector_flops
from .fused_attention import Fuse
from .fused_kernels import KERNELS, plain_call
from .meta_layouts import MetaLayouts

__all__ = ["DispatchCounter", "DispatchCounts", "Uncounted", "counting", "tensor_flops"]


class _Refuse(DispatchMode):
    """Raises `Uncounted` for an operation without a rule that says whether it has products."""

    def run(self, func: Operation, args: Arguments, kwargs: Keywords) -> Any:
        require_tensor_rule(func)
        if func.overloadpacket in KERNELS:
            plain_call(func.overloadpacket, args)()
        return func(*args, **kwargs)


def tensor_flops(call: Callable[[], object]) -> int:
    """What FlopCounterMode counts of `call`, grouped matmuls included; raises `Uncounted` rather than leave one out."""
    return int(_counted(call).get_total_flops())


def fp8_tensor_flops(call: Callable[[], object]) -> int:
    """Those of them that torch's product of 8-bit floats has."""
    return _counted(call).get_flop_counts()["Global"].get(SCALED_PRODUCT, 0)


def _counted(call: Callable[[], object]) -> FlopCounterMode:
    counter = FlopCounterMode(display=False, custom_mapping=FORMULAS)
    with MetaLayouts(), counter, _Refuse(), torch.no_grad():
        call()
    return counter


@dataclass(slots=True)
class DispatchCounts:
    """What calls did at the dispatcher, operation by operation; `live_bytes` are allocated now, in whole blocks."""

    vector_flops: int = 0
    read_bytes: int = 0
    write_bytes: int = 0
    live_bytes: int = 0
    peak_bytes: int = 0


class DispatchCounter(DispatchMode):
    """Adds what it sees to `counts`."""

    def __init__(self, experts_per_token: int, counting: bool) -> None:
        super().__init__()
        self.counts = DispatchCounts()
        self._experts_per_token = experts_per_token
        self._counting = counting

    def start(self) -> None:
        """Starts the count here; what was allocated before can still be freed."""
        self.counts, self._counting = DispatchCounts(), True

    def run(self, func: Operation, args: Arguments, kwargs: Keywords) -> Any:
        out = func(*args, **kwargs)
        if is_view(func):
            return out
        inputs, outputs = list(tensors((args, kwargs))), list(tensors(out))
        if not mutates(func):
            for tensor in outputs:
                self._allocate(tensor)
        packet = func.overloadpacket
        if packet in ALLOCATIONS or not self._counting:
            return out
        vector = plain_vector_flops(packet, args) if packet in KERNELS else vector_flops(packet, args, inputs, outputs)
        read, written = moved_bytes(packet, args, inputs, outputs, self._experts_per_token)
        self.counts.vector_flops += vector
        self.counts.read_bytes += read
        self.counts.write_bytes += written
        return out

    def _allocate(self, tensor: torch.Tensor) -> None:
        storage = tensor.untyped_storage()
        size = -(-storage.nbytes() // ALLOCATION) * ALLOCATION
        self.counts.live_bytes += size
        self.counts.peak_bytes = max(self.counts.peak_bytes, self.counts.live_bytes)
        weakref.finalize(storage, self._free, size)

    def _free(self, size: int) -> None:
        self.counts.live_bytes -= size


class _Decomposing(DispatchCounter):
    """Counts within another counter, where torch takes no operation apart by itself; FlopCounterMode does the same."""

    def run(self, func: Operation, args: Arguments, kwargs: Keywords) -> Any:
        with self:
            out = func.decompose(*args, **kwargs)
        return super().run(func, args, kwargs) if out is NotImplemented else out


def plain_vector_flops(packet: Packet, args: Sequence[Any]) -> int:
    """Vector FLOPs of what a fused kernel does in plain torch."""
    counter = _Decomposing(1, counting=True)
    with counter:
        plain_call(packet, args)()
    return counter.counts.vector_flops


@contextmanager
def counting(experts_per_token: int, at_once: bool = True) -> Iterator[DispatchCounter]:
    """Counts the calls inside the block, or from `start` on if not `at_once`; they must run on the meta device."""
    counter = DispatchCounter(experts_per_token, at_once)
    with torch.no_grad(), Fuse(), MetaLayouts(), counter:
        yield counter


def tensors(tree: object) -> Iterator[torch.Tensor]:
    if isinstance(tree, torch.Tensor):
        yield tree
    elif isinstance(tree, list | tuple):
        for item in tree:
            yield from tensors(item)
    elif isinstance(tree, dict):
        yield from tensors(list(tree.values()))
