"""A stage of the reference model: how its call is made, and what is run to measure or to count it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch

from ..model.architecture import Architecture, Decoder
from ..model.geometry import Workload
from ..model.stages import STAGES, point
from ..model.symbolic import poly
from . import forward
from .build import like as like_of
from .families import ReferenceModel
from .forward import Call
from .pages import Pages


@dataclass(frozen=True, slots=True)
class Inputs:
    """What a stage's call is made from; `step`, from 1, is that of a stage that runs once for each new token."""

    built: ReferenceModel
    work: Workload
    attention: str
    pixels: Callable[[], Pages]
    step: int = 1
    repeatable: bool = True  # else the call owns its KV cache, frees it, and runs once


def _decode(at: Inputs) -> Call:
    work = at.work
    return forward.decode_call(
        at.built, work.batch, work.context_tokens, at.step, at.attention, repeatable=at.repeatable
    )


# To add a stage of STAGES to the reference model, add how its call is made.
CALLS: dict[str, Callable[[Inputs], Call]] = {
    "vision": lambda at: forward.vision_call(at.built, at.pixels()),
    "prefill": lambda at: forward.prefill_call(at.built, at.pixels(), at.attention),
    "decode": _decode,
    "language": lambda at: forward.language_call(at.built, at.work, at.attention),  # what prefill does after vision
}


@dataclass(frozen=True, slots=True)
class Region:
    """What a point runs: one call, or a decode's first and last step; `halves` of each make twice the whole stage.

    A step's work grows by one key at each step, so the mean of the first and the last one is that of all; those after a
    window is full are all like the last. `fresh` makes a call for the memory count: a decode's owns its KV cache, which
    grows by `cache_growth` bytes.
    """

    calls: tuple[Call, ...]
    fresh: Callable[[], Call]
    halves: tuple[int, ...]
    cache_growth: int
    steps: bool = False  # the calls are a decode's steps


def experts_of(decoder: Decoder, stage: str) -> str:
    """How a stage runs the routed experts; one that runs none has prefill's way, since a model is built with some."""
    chosen = STAGES[stage].experts
    return chosen(decoder) if chosen else decoder.prefill_experts


def halves_of(decoder: Decoder, steps: int) -> tuple[int, ...]:
    """How many halves of a decode's first and of its last step make twice all of its steps."""
    filling = min(steps, decoder.window or steps)
    return (filling, 2 * steps - filling) if steps > 1 else (2,)


def stage_region(
    built: ReferenceModel, model: Architecture, stage: str, work: Workload, attention: str, page: Path | None
) -> Region:
    """A stage at a workload, on the pixels of `page` or on random ones; random numbers come from torch's state.

    Pages are cut as the model cuts them, whatever the workload says: one that was read from a file says nothing of it.
    """
    work = work.cut_by(model.tiling)
    entry, make = STAGES[stage], CALLS[stage]
    added = entry.keys_added(model.decoder)
    inputs = Inputs(built, work, attention, lambda: _pixels(work, like_of(built), page, model))
    cache_growth = poly(added).at(point(work, model.decoder)) * work.batch * forward.key_bytes(built)
    if not entry.per_token:
        call = make(inputs)
        return Region((call,), lambda: call, (2,), cache_growth)
    n = work.new_tokens
    last = replace(inputs, step=n)
    calls = tuple(make(replace(inputs, step=step)) for step in sorted({1, n}))
    fresh = partial(make, replace(last, repeatable=False))
    return Region(calls, fresh, halves_of(model.decoder, n), cache_growth, steps=True)


def _pixels(work: Workload, like: torch.Tensor, page: Path | None, model: Architecture) -> Pages:
    if page is not None:
        from .pixels import page_pixels

        return page_pixels(page, work, like, model)
    return forward.pages(work, like, model)
