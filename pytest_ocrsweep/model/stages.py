"""The three stages, all that differs between them but their kernels, and the value of each size at a workload."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from enum import Enum

from .architecture import Architecture, Decoder
from .engine import REFERENCE, Engine
from .geometry import Workload
from .kernels import Kernel
from .precision import NATIVE, Precision, stored
from .program import Program
from .sizes import CONTEXT, KEYS, LEAVES
from .stage_kernels import decode_step, finished, kv_cache_bytes, prefill, vision
from .symbolic import N, Size


class Latency(Enum):
    """A time that a user waits for; its value names it in words."""

    TTFT = "time to first token"
    TPOT = "time per output token"


@dataclass(frozen=True, slots=True)
class Stage:
    """What a stage runs, and all else that differs between stages. To add a stage, add an entry to STAGES."""

    kernels: Callable[..., Iterable[Kernel]]  # of a model, a resolution, crops or not, an attention, an engine
    keys_before: Size  # keys of each page in the KV cache before the kernels run
    keys_after: Size  # and after, if all stay
    experts: Callable[[Decoder], str] | None = None  # how it runs a decoder's routed experts; None: it runs no decoder
    latency: Latency | None = None  # the time that a target limits; None: no user waits for this stage alone
    tokens: str = "context_tokens"  # of a page that a step of it reads: the name of a size
    per_token: bool = False  # the kernels are one step for one token; the stage runs `new_tokens` of them

    def keys_stored(self, decoder: Decoder) -> Size:
        """Keys of each page in the KV cache after the kernels: a full window lets one go at each step."""
        return self.keys_after - LEAVES * self.per_token if decoder.window else self.keys_after

    def keys_added(self, decoder: Decoder) -> Size:
        """Keys of each page that the kernels add to the KV cache."""
        return self.keys_stored(decoder) - self.keys_before

    def steps(self, new_tokens: int) -> int:
        """How often the kernels run, if `new_tokens` are decoded."""
        return new_tokens if self.per_token else 1

    def program(
        self,
        model: Architecture,
        resolution: str,
        crops: bool,
        attention: str,
        engine: Engine = REFERENCE,
        precision: Precision = NATIVE,
    ) -> Program:
        """The stage laid out for every workload of that resolution, with crops or without."""
        engine = replace(engine, fp8_products=precision.fp8_products)
        laid_out = self.kernels(model, resolution, crops, attention, engine)
        kernels = finished(stored(laid_out, precision, model.decoder.layers, model.decoder.dense_layers))
        kept = self.keys_stored(model.decoder)
        before, after = (kv_cache_bytes(model, keys, engine) for keys in (self.keys_before, kept))
        growth = after - before if engine.kv_block_tokens is None else 0  # blocks are there before a stage begins
        window = model.decoder.window if self.per_token else None
        return Program(kernels, after, growth, steps=self.per_token, window=window, tokens=self.tokens)


STAGES = {
    "vision": Stage(vision, keys_before=0, keys_after=0, tokens="image_tokens"),
    "prefill": Stage(
        prefill,
        keys_before=0,
        keys_after=CONTEXT,
        experts=lambda decoder: decoder.prefill_experts,
        latency=Latency.TTFT,
    ),
    "decode": Stage(
        decode_step,
        keys_before=KEYS - 1,
        keys_after=KEYS,
        experts=lambda decoder: decoder.decode_experts,
        latency=Latency.TPOT,
        tokens="keys",
        per_token=True,
    ),
}


def point(work: Workload, decoder: Decoder, engine: Engine = REFERENCE) -> dict[str, int]:
    """The value of each symbol for `work` on a model with that decoder."""
    grid, tokens = work.grid, (work.image_tokens, work.prompt_tokens, work.new_tokens)
    padded = (engine.step_rows(work.batch), engine.step_rows(work.batch * work.context_tokens))
    return symbols(grid.rows, grid.columns, work.batch, *tokens, padded, pages=work.pages, window=decoder.window)


def symbols(
    rows: N,
    columns: N,
    batch: N,
    image_tokens: N,
    prompt_tokens: N,
    steps: N,
    padded: tuple[N, N] | None = None,
    *,
    pages: int = 1,
    window: int | None = None,
) -> dict[str, N]:
    """The value of each symbol, from numbers or from arrays; a decode's `keys` are those of its last step.

    `padded` are the rows of a step and of a prefill; without them no engine pads. With a `window` a step sees that many
    new tokens at most, and all of its context.
    """
    context, views = image_tokens + prompt_tokens, batch * pages
    beyond = 0 * steps if window is None else (steps > window) * (steps - window)
    seen = steps - beyond  # new tokens that the last step sees
    return {
        "batch": batch,
        "views": views,
        "rows": rows,
        "columns": columns,
        "image_tokens": image_tokens,
        "context_tokens": context,
        "keys": context + seen,
        "leaves": 0 * steps if window is None else (steps >= window) * 1,
        "left": (beyond > 0) * 1,
        "many_pages": (batch > 1) * 1,
        "many_views": (views > 1) * 1,
        "many_columns": (columns > 1) * 1,
        "step_rows": batch if padded is None else padded[0],
        "prompt_rows": batch * context if padded is None else padded[1],
        "steps": steps,
        "all_keys": steps * context + seen * (seen + 1) // 2 + beyond * seen,
    }
