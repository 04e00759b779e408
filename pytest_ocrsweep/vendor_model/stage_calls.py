"""A stage of the reference model at a workload, run on the meta device to be counted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, partial

from ..model.architecture import Architecture
from ..model.geometry import Workload
from ..model.stages import STAGES
from . import build, dispatch_count, forward
from .dispatch_count import DispatchCounts
from .forward import Call
from .regions import CALLS, Inputs, experts_of


@dataclass(frozen=True, slots=True)
class StageCall:
    """A stage at a workload; a decode is its step number `step`, from 1.

    "language" is what prefill does after vision: the decoder and the head over embedded tokens.
    """

    model: Architecture
    stage: str
    work: Workload
    attention: str
    experts: str
    step: int = 1

    def tensor_flops(self) -> int:
        """What FlopCounterMode counts."""
        return dispatch_count.tensor_flops(self.call())

    def dispatch_counts(self) -> DispatchCounts:
        """Vector FLOPs, bytes, and peak bytes above what was allocated before, with the KV cache's growth."""
        build.on_meta(self.model, self.attention, self.experts)  # its weights are not of the call
        with dispatch_count.counting(self.model.decoder.experts_per_token, at_once=False) as counter:
            call = self.call()
            counter.start()
            call()
        return counter.counts

    def call(self) -> Call:
        """Runs once, on the meta device."""
        built = build.on_meta(self.model, self.attention, self.experts)
        work = self.work.cut_by(self.model.tiling)
        pixels = partial(forward.pages, work, built.lm_head.weight, self.model)
        return CALLS[self.stage](Inputs(built, work, self.attention, pixels, self.step, repeatable=False))


def stage_flops(model: Architecture, stage: str, work: Workload, attention: str) -> int:
    """FlopCounterMode's count of a stage, with the experts that the model's configuration runs it with."""
    experts = experts_of(model.decoder, stage)
    if STAGES[stage].per_token:
        return steps_flops(model, stage, work, attention, experts)
    return StageCall(model, stage, work, attention, experts).tensor_flops()


def steps_flops(model: Architecture, stage: str, work: Workload, attention: str, experts: str) -> int:
    """FlopCounterMode's count of all `new_tokens` steps: of those while a window fills, and of those after."""
    filling = min(work.new_tokens, model.decoder.window or work.new_tokens)
    one = replace(work, new_tokens=1)  # a step is the same however many follow

    def count(first: int, last: int) -> int:
        return _series(lambda i: _step_flops(StageCall(model, stage, one, attention, experts, i)), first, last)

    return count(1, filling) + count(filling + 1, work.new_tokens)


@cache
def _step_flops(call: StageCall) -> int:
    return call.tensor_flops()


def _series(count: Callable[[int], int], first: int, last: int) -> int:
    """The sum of `count` over all steps, from the first, the middle and the last.

    Raises AssertionError unless the three lie on a line: then, and only then, the sum is an arithmetic series.
    """
    n = last - first + 1
    if n < 1:
        return 0
    at = {i: count(i) for i in {first, (first + last) // 2, last}}
    slope, rest = divmod(at[last] - at[first], n - 1) if n > 1 else (0, 0)
    for i, flops in at.items():
        assert flops == at[first] + (i - first) * slope, f"step {i} counts {flops}, not on the line of {at}"
    assert rest == 0, f"the steps {at} are not evenly spaced"
    return n * (at[first] + at[last]) // 2
