"""The vendor's model measured at one point: device time, wall time, peak memory, kernels and FLOPs."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch

from ..baselines.sampling import NoiseReached, Samples, StopRule, TimeCap, collect, first_of
from ..model.architecture import Architecture
from ..model.geometry import Workload
from . import build, dispatch_count, forward, gpu_state
from .clocks import Call, Clock, HostClock, delay_of, device_clock
from .graph_speed import Pace

RULE = first_of(NoiseReached(0.004, 10), TimeCap(1.0))  # replays of one graph lie within 0.2 %
WARM_UP_S = 0.1
BATCH = 5  # samples between two looks at the stopping rule
WALL_SAMPLES = 3


@dataclass(frozen=True, slots=True)
class Region:
    """What a point runs: one call, or a decode's first and last step, `times` of which make the whole stage.

    `fresh` makes a call for the memory count: a decode's owns its KV cache, which grows by `cache_growth` bytes.
    """

    calls: tuple[Call, ...]
    fresh: Callable[[], Call]
    times: int
    cache_growth: int
    steps: bool = False  # the calls are a decode's steps


@dataclass(frozen=True, slots=True)
class Timed:
    """A point that is warm and ready to be sampled."""

    region: Region
    clocks: list[Clock]
    read: Callable[[], Any]
    rule: StopRule
    wall: Samples  # of the whole stage, as its caller waits for it
    peak_bytes: int | None
    experts: str | None

    @property
    def clock(self) -> str:
        """How its device time is taken."""
        return self.clocks[0].name

    @property
    def kernels(self) -> int | None:
        """Kernels that one call launches, a decode's one step."""
        return self.clocks[0].kernels

    def tensor_flops(self) -> int:
        """FlopCounterMode's count of the very calls that are timed."""
        counted = sum(dispatch_count.tensor_flops(call) for call in self.region.calls)
        return counted * self.region.times // len(self.region.calls)

    def sample(self) -> Samples:
        """One round of samples of the whole stage."""
        return collect(self._batch, self.rule, self.read)

    def token_ns(self) -> list[int] | None:
        """A decode's time for its first and its last step, median of one batch each; None for other stages."""
        if not self.region.steps:
            return None
        return [sorted(clock.batch(BATCH))[BATCH // 2] for clock in self.clocks]

    def _batch(self) -> list[int]:
        return _whole([clock.batch(BATCH) for clock in self.clocks], self.region.times)


@dataclass(slots=True)
class Vendor:
    """The vendor's model on one device, built once for each attention and used for every point."""

    model: Architecture
    device: torch.device
    seed: int = 0
    slowdown_percent: float = 0.0
    rule: StopRule = RULE
    load: Callable[[str, str], Any] | None = None  # (attention, experts) → real weights, in place of random ones
    _built: dict[str, Any] = field(default_factory=dict, repr=False)
    _pace: Pace | None = field(default=None, repr=False)

    def built(self, attention: str, experts: str) -> Any:
        """The model for `attention`, its routed experts run by `experts`."""
        if attention not in self._built:
            if self.load is not None:
                self._built[attention] = self.load(attention, experts)
            else:
                self._built[attention] = build.build(self.model, attention, experts, str(self.device), self.seed)
            gc.collect()
            gc.freeze()  # what is loaded by now stays: the collection after each point need not look at it
        return build.use(self._built[attention], experts)

    @contextmanager
    def timed(self, stage: str, work: Workload, attention: str, page: Path | None = None) -> Iterator[Timed]:
        """A point, warm and with its clocks ready, on the pixels of `page` or on random ones; freed on leaving."""
        with torch.device(self.device), torch.no_grad():
            if self._pace is None and self.device.type == "cuda":
                self._pace = Pace()
                self._pace.settle()
            try:
                yield self._timed(stage, work, attention, page)
            finally:
                self._tidy()

    @contextmanager
    def called(self, stage: str, work: Workload, attention: str) -> Iterator[tuple[Any, Call]]:
        """The model and a point's call on it, its last step for a decode, to be looked at and not timed."""
        experts = self.model.decoder.experts_at(stage)
        with torch.device(self.device), torch.no_grad():
            built = self.built(attention, experts)
            try:
                yield built, self._region(built, stage, work, attention, None).calls[-1]
            finally:
                self._tidy()

    def forget(self) -> None:
        """Give back all memory, the models' too; the next point builds its model anew."""
        gc.unfreeze()
        self._built.clear()
        self._tidy()

    def _tidy(self) -> None:
        gc.collect()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def _timed(self, stage: str, work: Workload, attention: str, page: Path | None) -> Timed:
        experts = self.model.decoder.experts_at(stage)
        region = self._region(self.built(attention, experts), stage, work, attention, page)
        for call in region.calls:
            call()
        wall = _whole([HostClock(call).batch(WALL_SAMPLES) for call in region.calls], region.times)
        peak = self._peak(region)
        clocks = [device_clock(self.device, call) for call in region.calls]
        for clock in clocks:
            collect(partial(clock.batch, BATCH), TimeCap(WARM_UP_S / len(clocks)))
        if self.slowdown_percent:
            clocks = [self._slower(clock, call) for clock, call in zip(clocks, region.calls, strict=True)]
        read = gpu_state.reader(self.device, self._pace)
        used = None if stage == "vision" else experts
        return Timed(region, clocks, read, self.rule, Samples(tuple(wall)), peak, used)

    def _region(self, built: Any, stage: str, work: Workload, attention: str, page: Path | None) -> Region:
        like, context, text = built.lm_head.weight, work.context_tokens, built.config.text_config
        key_bytes = 2 * text.num_hidden_layers * text.num_key_value_heads * text.head_dim * like.element_size()
        torch.manual_seed(self.seed)
        if stage == "decode":
            first, last = context + 1, context + work.new_tokens
            steps = [self._step(built, keys, work.batch, attention) for keys in sorted({first, last})]
            fresh = partial(self._step, built, last, work.batch, attention, repeatable=False)
            return Region(tuple(steps), fresh, work.new_tokens, work.batch * key_bytes, steps=True)
        pages = self._pages(work, like, page)
        if stage == "vision":
            vision = partial(forward.vision, built, pages)
            return Region((vision,), lambda: vision, 1, 0)
        ids = forward.prompt(work, built.config.image_token_id, like.device)
        positions = torch.arange(context)[None]
        mask = forward.causal_mask(context, context, like) if attention == "eager" else None
        prefill = partial(forward.prefill, built, pages, ids, positions, mask)
        return Region((prefill,), lambda: prefill, 1, work.batch * context * key_bytes)

    def _step(self, built: Any, keys: int, batch: int, attention: str, *, repeatable: bool = True) -> Call:
        """A decode step that attends to `keys` keys, its own included; one that is not repeatable owns its cache."""
        ids = torch.randint(built.config.image_token_id, (batch, 1))  # so that pages choose experts of their own
        positions = torch.full((1, 1), keys - 1)
        mask = forward.causal_mask(1, keys, built.lm_head.weight) if attention == "eager" else None
        past = [forward.filled_cache(built, batch, keys - 1)]

        def step() -> Any:
            cache = forward.renewed(past[0]) if repeatable else past.pop()
            return forward.decode_step(built, ids, positions, cache, mask)

        return step

    def _pages(self, work: Workload, like: torch.Tensor, page: Path | None) -> forward.Pages:
        if page is not None:
            from .pixels import page_pixels

            return page_pixels(page, work, like)
        return forward.pages(work, like, self.model.sam.channels)

    def _peak(self, region: Region) -> int | None:
        """Most bytes allocated during a call above what was before, less what the cache grew; None on a CPU."""
        if self.device.type != "cuda":
            return None
        with _whole_blocks():
            call = region.fresh()
            torch.cuda.synchronize()
            before = torch.cuda.memory_allocated()
            torch.cuda.reset_peak_memory_stats()
            call()
            torch.cuda.synchronize()
            return torch.cuda.max_memory_allocated() - before - region.cache_growth

    def _slower(self, clock: Clock, call: Call) -> Clock:
        median = sorted(clock.batch(2 * BATCH + 1))[BATCH]
        return device_clock(self.device, call, delay_of(self.device, round(median * self.slowdown_percent / 100)))


@contextmanager
def _whole_blocks() -> Iterator[None]:
    """The CUDA allocator gives each tensor its own size, in blocks of 512 bytes.

    By default it leaves up to 1 MiB more on a large one, as much as the segments that earlier calls left make it.
    """
    torch.cuda.synchronize()
    variables = ("PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF")
    configured = next((os.environ[name] for name in variables if os.environ.get(name)), "expandable_segments:False")
    torch._C._accelerator_setAllocatorSettings("expandable_segments:True")
    try:
        yield
    finally:
        torch._C._accelerator_setAllocatorSettings(configured)


def _whole(parts: list[list[int]], times: int) -> list[int]:
    """Time of the whole stage, sample by sample: the mean of a decode's first and last step, times its steps.

    Right where a step's time grows linearly with its keys: each reads one token's keys and values more.
    """
    return [round(sum(sample) * times / len(sample)) for sample in zip(*parts, strict=True)]
