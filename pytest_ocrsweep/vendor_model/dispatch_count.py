"""Independent counts of a vendor call on the meta device: FLOPs by FlopCounterMode, the rest at the dispatcher.

Nothing is left out without a word: an operation that no rule knows raises `Uncounted` with its name.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode, flop_registry, sdpa_flop_count

from ..model.kernels import ALLOCATION, VECTOR_FLOPS
from ..model.symbolic import distinct_experts

aten = torch.ops.aten


class Uncounted(Exception):
    """An operation without a rule: a count that left it out would be too low."""


# Vector FLOPs by operation: name in our table, and whether an input element or an output element counts.
ELEMENTWISE = {
    aten.add: "add",
    aten.sub: "add",
    aten.mul: "mul",
    aten.neg: "neg",
    aten.pow: "square",
    aten.rsqrt: "rsqrt",
    aten.cos: "cos",
    aten.sin: "sin",
    aten.sigmoid: "sigmoid",
    aten.silu: "silu",
    aten.gelu: "gelu",
    aten._softmax: "softmax",
    aten.native_layer_norm: "layer_norm",
    aten.upsample_linear1d: "interpolate_linear",
}
BICUBIC = {aten._upsample_bicubic2d_aa}
REDUCTIONS = {aten.sum: "sum", aten.mean: "mean"}
MOVES = {  # no floating-point arithmetic: copies, casts, gathers, integer and boolean work, sorting
    aten.clone,
    aten._to_copy,
    aten.copy_,
    aten.cat,
    aten.constant_pad_nd,
    aten.embedding,
    aten.index,
    aten.index_put_,
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
}
ALLOCATIONS = {aten.empty, aten.empty_like, aten.empty_strided, aten.new_empty}
VIEWS = {
    aten._unsafe_view,
    aten.view,
    aten.detach,
    aten.alias,
    aten.lift_fresh,
}  # besides those whose schema says it
DECOMPOSED = {  # what else a fused attention becomes on the meta device
    aten._safe_softmax,
    aten.tril,
    aten.where,
    aten.scalar_tensor,
    aten.logical_not,
    aten.ones,
    aten.masked_fill_,
    aten.masked_fill,
}
GATHERS = {aten.index, aten.embedding}  # read what they select, and the index


def grouped_mm_flops(a: Any, b: Any, *_: Any, out_shape: Any = None, **__: Any) -> int:
    """[rows, k] @ [experts, k, n] by groups of rows: each row meets one expert."""
    (rows, k), (_experts, _k, n) = a, b
    return 2 * rows * k * n


def cpu_attention_flops(q: Any, k: Any, v: Any, *_: Any, out_shape: Any = None, **__: Any) -> int:
    """The fused attention of a CPU, for which torch has the formula but no entry."""
    return int(sdpa_flop_count(q, k, v))


FORMULAS: dict[Any, Callable[..., int]] = {
    aten._grouped_mm: grouped_mm_flops,
    aten._scaled_dot_product_flash_attention_for_cpu: cpu_attention_flops,
}


# Operations that FlopCounterMode counts, and those that have no products.
KNOWN = frozenset().union(
    flop_registry, FORMULAS, ELEMENTWISE, REDUCTIONS, MOVES, ALLOCATIONS, VIEWS, BICUBIC, DECOMPOSED
)


class _Refuse(TorchDispatchMode):
    """Raises `Uncounted` for an operation without a FLOP formula and without a rule that it has no products."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        packet = func._overloadpacket
        if packet not in KNOWN and not _is_view(func):
            raise Uncounted(f"{packet} has no FLOP formula: add one to pytest_ocrsweep/vendor_model/dispatch_count.py")
        return func(*args, **(kwargs or {}))


def tensor_flops(call: Callable[[], Any]) -> int:
    """What FlopCounterMode counts of `call`, grouped matmuls included; raises `Uncounted` rather than leave one out."""
    with FlopCounterMode(display=False, custom_mapping=FORMULAS) as counter, _Refuse(), torch.no_grad():
        call()
    return int(counter.get_total_flops())


@dataclass(slots=True)
class Traffic:
    """What a call does at the dispatcher, operation by operation."""

    vector_flops: int = 0
    read_bytes: int = 0
    write_bytes: int = 0
    live_bytes: int = 0
    peak_bytes: int = 0


class _Count(TorchDispatchMode):
    def __init__(self, experts_per_token: int, counting: bool) -> None:
        super().__init__()
        self.traffic = Traffic()
        self.chosen = experts_per_token
        self.counting = counting

    def start(self) -> None:
        """Starts the count here; what was allocated before can still be freed."""
        self.traffic, self.counting = Traffic(), True

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        packet = func._overloadpacket
        if packet in VIEWS or _is_view(func):
            return out
        inputs, outputs = list(_tensors((args, kwargs))), list(_tensors(out))
        if not func._schema.is_mutable:
            for tensor in outputs:
                self._allocate(tensor)
        if packet in ALLOCATIONS or not self.counting:
            return out
        reads, writes = self._bytes(packet, args, inputs, outputs)
        vector = _vector_flops(packet, args, inputs, outputs)
        self.traffic.vector_flops += vector
        self.traffic.read_bytes += reads
        self.traffic.write_bytes += writes
        return out

    def _bytes(self, packet: Any, args: Any, inputs: list[Any], outputs: list[Any]) -> tuple[int, int]:
        written = sum(map(_bytes, outputs))
        if packet in GATHERS:
            return written + sum(_bytes(t) for t in inputs if not t.is_floating_point()), written
        if packet is aten.index_put_:
            return sum(map(_bytes, inputs[1:])), _bytes(inputs[-1])
        if packet is aten._grouped_mm:
            rows, weights, offsets = args[0], args[1], args[2]
            reached = distinct_experts(rows.shape[0] // self.chosen, weights.shape[0], self.chosen)
            assert isinstance(reached, int)
            return _bytes(rows) + _bytes(offsets) + _bytes(weights) // weights.shape[0] * reached, written
        return sum(map(_bytes, inputs)), written

    def _allocate(self, tensor: torch.Tensor) -> None:
        storage = tensor.untyped_storage()
        size = -(-storage.nbytes() // ALLOCATION) * ALLOCATION
        self.traffic.live_bytes += size
        self.traffic.peak_bytes = max(self.traffic.peak_bytes, self.traffic.live_bytes)
        weakref.finalize(storage, self._free, size)

    def _free(self, size: int) -> None:
        self.traffic.live_bytes -= size


def _vector_flops(packet: Any, args: Any, inputs: list[Any], outputs: list[Any]) -> int:
    first = outputs[0]
    if packet in (aten.addmm, aten.convolution):  # the bias; products are tensor FLOPs
        return first.numel() if packet is aten.addmm or args[2] is not None else 0
    if packet is FUSED:
        return _fused_vector_flops(*args)
    if packet in BICUBIC:
        scale = max(inputs[0].shape[-1] / first.shape[-1], 1.0)
        return int(first.numel() * 2 * (2 * -(-2 * scale // 1) + 1) ** 2)
    if packet in REDUCTIONS:
        return int(inputs[0].numel()) if first.is_floating_point() else 0
    if packet in ELEMENTWISE:
        return int(first.numel() * VECTOR_FLOPS[ELEMENTWISE[packet]]) if first.is_floating_point() else 0
    if packet in MOVES or packet in flop_registry or packet in FORMULAS:
        return 0
    raise Uncounted(f"{packet} has no rule for vector FLOPs: add one to pytest_ocrsweep/vendor_model/dispatch_count.py")


# A fused attention arrives decomposed on the meta device, as products and softmax over scores that the GPU never
# writes. It is caught above the dispatcher and counted as the one kernel it is, its output laid out as CUDA's are.
_namespace = torch.library.Library("ocrsweep", "DEF")
_namespace.define("fused_attention(Tensor q, Tensor k, Tensor v, Tensor? bias, bool masked) -> Tensor")
_namespace.impl(
    "fused_attention",
    lambda q, k, v, bias, masked: torch.empty_like(q.transpose(1, 2), memory_format=torch.contiguous_format).transpose(
        1, 2
    ),
    "Meta",
)
FUSED = torch.ops.ocrsweep.fused_attention


def _fused_vector_flops(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, bias: Any, masked: bool) -> int:
    """What the vendor's eager attention counts: SAM (it has a bias) scales the query, the others scale the scores."""
    scores = prod(q.shape[:-1]) * k.shape[-2]
    if bias is not None:
        return q.numel() + scores * (VECTOR_FLOPS["add"] + VECTOR_FLOPS["softmax"])
    return scores * (VECTOR_FLOPS["mul"] + VECTOR_FLOPS["softmax"] + (VECTOR_FLOPS["add"] if masked else 0))


class _Fuse(TorchFunctionMode):
    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is not torch.nn.functional.scaled_dot_product_attention:
            return func(*args, **(kwargs or {}))
        (q, k, v), bias = args, (kwargs or {}).get("attn_mask")
        if bias is not None and bias.shape[-1] % 8:  # PyTorch's own preparation for the kernel that takes a bias
            bias = torch.nn.functional.pad(bias, (0, 8 - bias.shape[-1] % 8))[..., : bias.shape[-1]]
        masked = bool((kwargs or {}).get("is_causal")) or q.shape[-2] == 1
        return FUSED(q, k, v, bias, masked)


@contextmanager
def traffic(experts_per_token: int, counting: bool = True) -> Iterator[_Count]:
    """Counts the calls inside the block, or from `start` on; they must run on the meta device."""
    counter = _Count(experts_per_token, counting)
    with torch.no_grad(), _Fuse(), counter:
        yield counter


def _is_view(func: Any) -> bool:
    returns = func._schema.returns
    return bool(returns) and all(r.alias_info is not None and not r.alias_info.is_write for r in returns)


def _tensors(tree: Any) -> Iterator[torch.Tensor]:
    if isinstance(tree, torch.Tensor):
        yield tree
    elif isinstance(tree, list | tuple):
        for item in tree:
            yield from _tensors(item)
    elif isinstance(tree, dict):
        yield from _tensors(list(tree.values()))


def _bytes(tensor: torch.Tensor) -> int:
    """Bytes of the tensor's elements, an element that is broadcast once."""
    distinct = prod(size for size, stride in zip(tensor.shape, tensor.stride(), strict=True) if stride or size < 2)
    return distinct * tensor.element_size() if tensor.numel() else 0
