"""Tensor FLOPs of calls that may run any operator, by operator; or why they cannot be counted.

torch shows what passes its dispatcher. Code that `torch.compile` compiled does not pass it, and an operator without a
formula may hold products: then nothing is counted, rather than too little.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

from ..model.architecture import Architecture
from ..model.geometry import Workload
from ..model.stages import STAGES
from .compat import COMPILED_REGION, Arguments, DispatchMode, Keywords, Operation, anything_compiled, compiled
from .flop_rules import FORMULAS, KNOWN, is_view
from .forward import Call
from .fused_attention import FUSED, Fuse
from .meta_layouts import MetaLayouts
from .regions import experts_of, halves_of
from .stage_calls import StageCall

COMPILED = "it runs compiled code, whose operators torch does not show"
NOT_TORCH = "it runs no operator of torch in this thread"
NAMED = 3  # operators that a sentence names
PRODUCTLESS = (torch.Tag.pointwise, torch.Tag.reduction, torch.Tag.view_copy)
COPIES = (torch.ops.aten.repeat, torch.ops.aten.roll, torch.ops.aten.flip)  # that no tag tells


@dataclass(frozen=True, slots=True)
class OperatorCount:
    """FLOPs by operator. If they are not known, there are none, and `why` says the reason."""

    flops: Mapping[str, int] = field(default_factory=dict)
    why: str | None = None

    @property
    def total(self) -> int | None:
        return None if self.why else sum(self.flops.values())

    def less(self, other: OperatorCount) -> dict[str, int]:
        """What is more or less than in another count, by operator; the most first."""
        every = {name: self.flops.get(name, 0) - other.flops.get(name, 0) for name in (*self.flops, *other.flops)}
        return {name: flops for name, flops in sorted(every.items(), key=lambda each: -abs(each[1])) if flops}


def count(calls: Sequence[Call], halves: Sequence[int] = (2,), module: object = None) -> OperatorCount:
    """The FLOPs of what so many `halves` of each call make twice; of `module`, if it is one's."""
    if compiled(module) or any(map(_runs_compiled, calls)):
        return OperatorCount(why=COMPILED)
    return _counted(calls, halves)


def _counted(calls: Sequence[Call], halves: Sequence[int]) -> OperatorCount:
    looked = _Look()
    total: dict[str, int] = {}
    for call, half in zip(calls, halves, strict=True):
        for name, flops in _by_operator(call, looked).items():
            total[name] = total.get(name, 0) + flops * half
    if looked.unknown:
        names = list(map(str, looked.unknown))
        more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
        return OperatorCount(why=f"torch has no FLOP formula for {', '.join(names[:NAMED])}{more}")
    if not looked.operators:
        return OperatorCount(why=NOT_TORCH)
    return OperatorCount({name: flops // 2 for name, flops in total.items() if flops})


def of_reference(model: Architecture, stage: str, work: Workload, attention: str) -> OperatorCount:
    """The reference model's, on the meta device."""
    per_token = STAGES[stage].per_token
    steps = sorted({1, work.new_tokens}) if per_token else [1]
    experts = experts_of(model.decoder, stage)
    calls = [StageCall(model, stage, work, attention, experts, step).call() for step in steps]
    with MetaLayouts(), Fuse():
        return _counted(calls, halves_of(model.decoder, work.new_tokens) if per_token else (2,))


class _Look(DispatchMode):
    """Notes how many operators run, and those that may hold products and have no formula."""

    def __init__(self) -> None:
        super().__init__()
        self.operators = 0
        self.unknown: dict[object, None] = {}

    def run(self, func: Operation, args: Arguments, kwargs: Keywords) -> Any:
        packet = func.overloadpacket
        has_none = packet in COPIES or is_view(func) or any(tag in func.tags for tag in PRODUCTLESS)
        if not (has_none or packet in KNOWN or packet is FUSED):
            with self:  # in inference mode an operator arrives whole that consists of others
                out = func.decompose(*args, **kwargs)
            if out is not NotImplemented:
                return out
            self.unknown[packet] = None
        self.operators += 1
        return func(*args, **kwargs)


def _fused_flops(q: Sequence[int], k: Sequence[int], v: Sequence[int], *_: object, **__: object) -> int:
    return int(sdpa_flop_count(q, k, v))


def _by_operator(call: Call, looked: _Look) -> dict[str, int]:
    counter = FlopCounterMode(display=False, custom_mapping={**FORMULAS, FUSED: _fused_flops})
    with counter, looked:
        call()
    found: dict[str, int] = {}
    for packet, flops in counter.get_flop_counts().get("Global", {}).items():
        name = "attention" if "attention" in str(packet) else str(packet).removeprefix("aten.")
        found[name] = found.get(name, 0) + int(flops)
    return found


def _runs_compiled(call: Callable[[], object]) -> bool:
    """Whether a call enters code that torch compiled: under a counter torch would run the code that it is made from."""
    call()
    if not anything_compiled():
        return False
    with profile(activities=[ProfilerActivity.CPU], acc_events=True) as profiler:
        call()
    return any(event.name.startswith(COMPILED_REGION) for event in profiler.events())
