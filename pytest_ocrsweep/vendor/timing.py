"""The vendor's model measured at one point: device time, wall time, peak memory, kernels and FLOPs."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch

from ..architecture import Architecture
from ..geometry import Workload
from ..sampling import Machine, NoiseReached, Samples, StopRule, TimeCap, collect, first_of
from . import build, calls, count, machine
from .clock import Call, Clock, HostClock, delay_of, device_clock

RULE = first_of(NoiseReached(0.004, 20), TimeCap(1.0))
WARM_UP_S = 0.1
BATCH = 5
WALL_SAMPLES = 5


@dataclass(frozen=True, slots=True)
class Region:
    """Calls that make up a point: one, or a decode's first and last step. `times` of them make the whole stage."""

    calls: tuple[Call, ...]
    times: int
    cache_growth: int  # bytes that each call adds to the KV cache


@dataclass(slots=True)
class Timed:
    """A point that is ready to be sampled, and what was seen of it once."""

    clock: str
    experts: str | None
    kernels: int | None
    tensor_flops: int
    peak_bytes: int | None
    wall: Samples
    parts: list[Samples] = field(default_factory=list)  # a decode's first and last step, of the latest round
    sample: Callable[[], Samples] = field(default=lambda: Samples((0,)), repr=False)


@dataclass(slots=True)
class Vendor:
    """The vendor's model on one device, built once for each attention and used for every point."""

    model: Architecture
    device: torch.device
    seed: int = 0
    rule: StopRule = RULE
    slowdown_percent: float = 0.0
    load: Callable[[str, str], Any] | None = None  # (attention, experts) → real weights, in place of random ones
    page: Path | None = None
    _built: dict[str, Any] = field(default_factory=dict, repr=False)

    def built(self, attention: str, experts: str) -> Any:
        """The model for `attention`, its routed experts run by `experts`."""
        if attention not in self._built:
            if self.load is not None:
                self._built[attention] = self.load(attention, experts)
            else:
                self._built[attention] = build.build(self.model, attention, experts, str(self.device), self.seed)
        return build.use(self._built[attention], experts)

    @contextmanager
    def timed(self, stage: str, work: Workload, attention: str) -> Iterator[Timed]:
        """A point, warm and with its clocks ready; what it holds on the device is freed on leaving."""
        with torch.device(self.device), torch.no_grad():
            try:
                yield self._timed(stage, work, attention)
            finally:
                gc.collect()
                if self.device.type == "cuda":
                    torch.cuda.empty_cache()

    def _timed(self, stage: str, work: Workload, attention: str) -> Timed:
        decoder = self.model.decoder
        experts = decoder.decode_experts if stage == "decode" else decoder.prefill_experts
        region = self._region(self.built(attention, experts), stage, work, attention)
        read = machine.reader(self.device)
        flops = sum(count.tensor_flops(call) for call in region.calls) * region.times // len(region.calls)
        wall = _total([HostClock(call).batch(WALL_SAMPLES) for call in region.calls], region.times)
        peak = max(map(self._peak, region.calls))
        clocks = [device_clock(self.device, call) for call in region.calls]
        if self.slowdown_percent:
            clocks = [self._slower(clock, call) for clock, call in zip(clocks, region.calls, strict=True)]
        for clock in clocks:
            collect(partial(clock.batch, BATCH), TimeCap(WARM_UP_S / len(clocks)))
        timed = Timed(
            clock=clocks[0].name,
            experts=None if stage == "vision" else experts,
            kernels=None if clocks[0].kernels is None else clocks[0].kernels,
            tensor_flops=flops,
            peak_bytes=None if peak is None else peak - region.cache_growth,
            wall=Samples(tuple(wall)),
        )

        def sample() -> Samples:
            parts: list[list[int]] = [[] for _ in clocks]

            def batch() -> list[int]:
                fresh = [clock.batch(BATCH) for clock in clocks]
                for part, times in zip(parts, fresh, strict=True):
                    part.extend(times)
                return _total(fresh, region.times)

            samples = collect(batch, self.rule, read)
            timed.parts = [Samples(tuple(part)) for part in parts] if len(parts) > 1 else []
            return samples

        timed.sample = sample
        return timed

    def _region(self, built: Any, stage: str, work: Workload, attention: str) -> Region:
        like, context = built.lm_head.weight, work.context_tokens
        text = built.config.text_config
        key_bytes = (
            2 * text.num_hidden_layers * work.batch * text.num_key_value_heads * text.head_dim * like.element_size()
        )
        torch.manual_seed(self.seed)
        if stage == "decode":
            ids = torch.zeros(work.batch, 1, dtype=torch.long)
            steps = sorted({1, work.new_tokens})
            return Region(
                tuple(self._step(built, ids, context + step, work.batch, attention) for step in steps),
                work.new_tokens,
                key_bytes,
            )
        page = self._pages(work, like)
        if stage == "vision":
            return Region((lambda: calls.vision(built, page),), 1, 0)
        ids = calls.prompt(work, built.config.image_token_id, like.device)
        positions = torch.arange(context)[None]
        mask = calls.causal_mask(context, context, like) if attention == "eager" else None
        return Region((lambda: calls.prefill(built, page, ids, positions, mask),), 1, context * key_bytes)

    def _step(self, built: Any, ids: torch.Tensor, keys: int, batch: int, attention: str) -> Call:
        """A decode step that attends to `keys` keys, its own included."""
        past = calls.filled_cache(built, batch, keys - 1)
        positions = torch.full((1, 1), keys - 1)
        mask = calls.causal_mask(1, keys, built.lm_head.weight) if attention == "eager" else None
        return lambda: calls.decode_step(built, ids, positions, calls.renewed(past), mask)

    def _pages(self, work: Workload, like: torch.Tensor) -> calls.Pages:
        if self.page is not None and self.load is not None:
            from .pixels import page_pixels

            return page_pixels(self.page, work, like)
        return calls.pages(work, like, self.model.sam.channels)

    def _peak(self, call: Call) -> int:
        """Most bytes allocated during the call above what was before; 0 on a CPU, which keeps no such count."""
        if self.device.type != "cuda":
            return 0
        torch.cuda.synchronize()
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        call()
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated() - before

    def _slower(self, clock: Clock, call: Call) -> Clock:
        median = sorted(clock.batch(2 * BATCH + 1))[BATCH]
        return device_clock(self.device, call, delay_of(self.device, round(median * self.slowdown_percent / 100)))


def _total(parts: list[list[int]], times: int) -> list[int]:
    """Time of the whole stage, sample by sample: the mean of a decode's first and last step, times its steps.

    Exact where a step's time grows linearly with its keys: each step reads one token's keys and values more.
    """
    return [round(sum(sample) * times / len(sample)) for sample in zip(*parts, strict=True)]


__all__ = ["Machine", "Timed", "Vendor"]
