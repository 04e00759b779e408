"""A stage of the reference model at a workload, run on the meta device to be counted."""

from __future__ import annotations

from dataclasses import dataclass

from ..model.architecture import Architecture
from ..model.geometry import Workload
from . import build, dispatch_count, forward
from .dispatch_count import DispatchCounts


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
        return dispatch_count.tensor_flops(self._call())

    def dispatch_counts(self) -> DispatchCounts:
        """Vector FLOPs, bytes, and peak bytes above what was allocated before, with the KV cache's growth."""
        build.on_meta(self.model, self.attention, self.experts)  # its weights are not of the call
        with dispatch_count.counting(self.model.decoder.experts_per_token, at_once=False) as counter:
            call = self._call()
            counter.start()
            call()
        return counter.counts

    def _call(self) -> forward.Call:
        built, work = build.on_meta(self.model, self.attention, self.experts), self.work
        if self.stage == "decode":
            keys = work.context_tokens + self.step
            return forward.decode_call(built, work.batch, keys, self.attention, repeatable=False)
        if self.stage == "language":
            return forward.language_call(built, work, self.attention)
        page = forward.pages(work, built.lm_head.weight, self.model.sam.channels)
        if self.stage == "vision":
            return forward.vision_call(built, page)
        return forward.prefill_call(built, page, self.attention)


def stage_flops(model: Architecture, stage: str, work: Workload, attention: str, experts: str = "") -> int:
    """FlopCounterMode's count of a stage, with `experts` or what the model's configuration runs it with."""
    experts = experts or model.decoder.experts_at(stage)
    if stage == "decode":
        return decode_flops(model, work, attention, experts)
    return StageCall(model, stage, work, attention, experts).tensor_flops()


def decode_flops(model: Architecture, work: Workload, attention: str, experts: str) -> int:
    """FlopCounterMode's count of all `new_tokens` steps, from the first, the middle and the last.

    Raises AssertionError unless the three lie on a line: then, and only then, the sum is an arithmetic series.
    """
    n = work.new_tokens
    at = {i: StageCall(model, "decode", work, attention, experts, i).tensor_flops() for i in {1, (n + 1) // 2, n}}
    slope, rest = divmod(at[n] - at[1], n - 1) if n > 1 else (0, 0)
    for i, flops in at.items():
        assert flops == at[1] + (i - 1) * slope, f"step {i} counts {flops}, not on the line of {at}"
    assert rest == 0, f"the steps {at} are not evenly spaced"
    return n * (at[1] + at[n]) // 2
