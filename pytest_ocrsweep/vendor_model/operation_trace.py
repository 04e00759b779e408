"""Every operation of a call at torch's dispatcher: its four numbers, and the kernels that it launched."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile, record_function
from torch.utils.flop_counter import flop_registry, sdpa_flop_count

from ..model.run_order import Numbers
from . import fused_attention
from .byte_rules import moved_bytes, tensor_bytes
from .compat import (
    CPU_FLASH_ATTENTION,
    CUDNN_ATTENTION,
    EFFICIENT_ATTENTION,
    FLASH_ATTENTION,
    Arguments,
    DispatchMode,
    Keywords,
    Packet,
)
from .compat import Operation as TorchOperation
from .dispatch_count import tensors
from .flop_rules import ALLOCATIONS, FORMULAS, is_view, require_tensor_rule, vector_flops
from .forward import Call
from .profile_match import Operation

aten = torch.ops.aten
# Each with the places of its bias and of whether it is causal, among positional arguments.
FUSED: dict[Packet, tuple[int | None, int | None]] = {
    FLASH_ATTENTION: (None, 4),
    EFFICIENT_ATTENTION: (3, 6),
    CUDNN_ATTENTION: (3, 6),
    CPU_FLASH_ATTENTION: (None, 4),
}
MARK = "operation#"


class Trace(DispatchMode):
    """Counts each operation and marks it for the profiler, under its number."""

    def __init__(self, experts_per_token: int) -> None:
        super().__init__()
        self.operations: list[tuple[str, Numbers]] = []
        self._experts_per_token = experts_per_token

    def run(self, func: TorchOperation, args: Arguments, kwargs: Keywords) -> Any:
        packet = func.overloadpacket
        if is_view(func) or packet in ALLOCATIONS:
            return func(*args, **kwargs)
        place = len(self.operations)
        self.operations.append((str(packet).removeprefix("aten."), (0, 0, 0, 0)))
        with record_function(f"{MARK}{place}"):
            out = func(*args, **kwargs)
        inputs, outputs = list(tensors((args, kwargs))), list(tensors(out))
        numbers = self._attention if packet in FUSED else self._plain
        self.operations[place] = (self.operations[place][0], numbers(func, args, kwargs, inputs, outputs, out))
        return out

    def _plain(
        self,
        func: TorchOperation,
        args: Arguments,
        kwargs: Keywords,
        inputs: Sequence[torch.Tensor],
        outputs: Sequence[torch.Tensor],
        out: object,
    ) -> Numbers:
        packet = func.overloadpacket
        require_tensor_rule(func)
        if packet is aten.native_layer_norm:  # a CPU keeps a row's mean and deviation in half precision, a GPU never
            outputs = [outputs[0], *(statistics.float() for statistics in outputs[1:])]
        read, written = moved_bytes(packet, args, inputs, outputs, self._experts_per_token)
        return _products(packet, args, kwargs, out), vector_flops(packet, args, inputs, outputs), read, written

    def _attention(
        self,
        func: TorchOperation,
        args: Arguments,
        kwargs: Keywords,
        inputs: Sequence[torch.Tensor],
        outputs: Sequence[torch.Tensor],
        out: object,
    ) -> Numbers:
        q, k, v = args[:3]
        at_bias, at_causal = FUSED[func.overloadpacket]
        bias = kwargs.get("attn_bias", kwargs.get("attn_mask", _at(args, at_bias)))
        masked = bool(kwargs.get("is_causal", _at(args, at_causal))) or q.shape[-2] == 1
        read = sum(tensor_bytes(tensor) for tensor in (q, k, v, bias) if tensor is not None)
        tensor_flops = int(sdpa_flop_count(q.shape, k.shape, v.shape))
        vector = fused_attention.vector_flops(q, k, v, bias, masked, bias is not None and kwargs.get("scale") is None)
        return tensor_flops, vector, read, tensor_bytes(outputs[0])


def _at(args: Sequence[Any], place: int | None) -> Any:
    return args[place] if place is not None and len(args) > place else None


def _products(packet: Packet, args: Sequence[Any], kwargs: Keywords, out: object) -> int:
    if packet in FORMULAS:
        return FORMULAS[packet](*(getattr(arg, "shape", arg) for arg in args))
    counted: Callable[..., int] | None = flop_registry.get(packet)
    return int(counted(*args, **kwargs, out_val=out)) if counted else 0


def traced(call: Call, experts_per_token: int, device: torch.device) -> list[Operation]:
    """One run of `call`, operation by operation, each with the names and times of its kernels.

    On a CPU, which has no kernels, an operation is its own.
    """
    on_gpu = device.type == "cuda"
    trace = Trace(experts_per_token)
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]
    with profile(activities=activities, acc_events=True) as profiler:
        with trace:
            kept = call()
        if on_gpu:
            torch.cuda.synchronize()
    del kept
    kernels: list[list[tuple[str, float]]] = [[] for _ in trace.operations]
    for event in sorted(profiler.events(), key=lambda event: event.time_range.start):
        place = _operation(event)
        if place is None or event.device_type.name != "CPU":
            continue
        if on_gpu:
            kernels[place] += [(kernel.name, kernel.duration * 1e3) for kernel in event.kernels]
        elif event.name.startswith(MARK):
            kernels[place].append((trace.operations[place][0], event.cpu_time_total * 1e3))
    return [Operation(*op, tuple(launched)) for op, launched in zip(trace.operations, kernels, strict=True)]


def _operation(event: Any) -> int | None:
    """The number of the operation that an event of the profiler belongs to."""
    while event is not None and not event.name.startswith(MARK):
        event = event.cpu_parent
    return None if event is None else int(event.name.removeprefix(MARK))
