"""What is run to measure a point: a stage's calls on the reference model, and how many of them make the stage."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from ..model.geometry import Workload
from . import forward
from .build import ReferenceModel
from .forward import Call


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


def stage_region(
    built: ReferenceModel, stage: str, work: Workload, attention: str, page: Path | None, channels: int
) -> Region:
    """A stage at a workload, on the pixels of `page` or on random ones; random numbers come from torch's state."""
    context, key_bytes = work.context_tokens, work.batch * forward.key_bytes(built)
    if stage == "decode":
        last = context + work.new_tokens
        step = partial(forward.decode_call, built, work.batch, attention=attention)
        steps = tuple(step(keys=keys) for keys in sorted({context + 1, last}))
        return Region(steps, partial(step, keys=last, repeatable=False), work.new_tokens, key_bytes, steps=True)
    pages = _pages(work, built.lm_head.weight, page, channels)
    if stage == "vision":
        return _one_call(forward.vision_call(built, pages), 0)
    return _one_call(forward.prefill_call(built, pages, attention), context * key_bytes)


def _one_call(call: Call, cache_growth: int) -> Region:
    return Region((call,), lambda: call, 1, cache_growth)


def _pages(work: Workload, like: torch.Tensor, page: Path | None, channels: int) -> forward.Pages:
    if page is not None:
        from .pixels import page_pixels

        return page_pixels(page, work, like)
    return forward.pages(work, like, channels)
