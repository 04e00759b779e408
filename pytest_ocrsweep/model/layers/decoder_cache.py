"""The decoder's KV cache: one tensor, blocks, or a prompt that stays and a window of new tokens.

Source: transformers 5.23, cache_utils.py, modeling_unlimited_ocr.py UnlimitedOcrDynamicReferenceSlidingWindowLayer;
blocks: vLLM 0.26, csrc/cache_kernels.cu; first keys that are kept: transformers 4.46, cache_utils.py DynamicCache.
"""

from __future__ import annotations

from typing import NamedTuple

from ..architecture import Decoder
from ..engine import Engine
from ..kernels import HALF, INDEX, Kernel, Kernels, Pattern, in_place, kernel
from ..symbolic import Size


class Window(NamedTuple):
    """A cache that keeps the `prompt` keys and a window of new ones, of which `stored` are allocated before a step."""

    prompt: Size
    stored: Size  # 0 in a prefill


def kept(past: Size, engine: Engine) -> bool:
    """Whether the new keys and values are the cache, and nothing is copied."""
    return engine.keeps_first_keys and past == 0 and engine.kv_block_tokens is None


def cache(
    decoder: Decoder, batch: Size, q: Size, kv: Size, past: Size, engine: Engine, window: Window | None = None
) -> Kernels:
    """The keys and values of `q` new tokens of each page beside those of its `past` ones."""
    dim = decoder.dim
    new = batch * q * decoder.kv_heads * dim * HALF
    before, added, after = (batch * n * decoder.kv_heads * dim * engine.kv_bytes for n in (past, q, kv))
    if window is not None:
        prompt, stored = (batch * n * decoder.kv_heads * dim * HALF for n in window)
        if window.stored == 0:
            yield kernel("window", reads=INDEX, writes=INDEX)  # its size goes to the device with the first keys
        else:
            seen = after - prompt
            for name, frees in (("window_k", ()), ("window_v", (stored, stored))):
                yield kernel(name, reads=(seen - new, new), io=seen, writes=seen, frees=frees)
            for name in ("cache_k", "cache_v"):
                yield kernel(name, reads=(prompt, seen), io=prompt, writes=after)
            return
    if kept(past, engine):
        return
    if engine.kv_block_tokens is None:
        for name in ("cache_k", "cache_v"):
            yield kernel(name, reads=(before, new), io=before + new, writes=after, frees=before)
        return
    slots = batch * q * INDEX
    written = kernel("cache", reads=(new, new, slots), io=2 * added, writes=(added, added), pattern=Pattern.STRIDED)
    yield in_place(written)


def from_cache(attention: Kernel, elements: Size, engine: Engine) -> Kernel:
    """Fused attention that reads `elements` of keys, and of values, as the cache stores them."""
    if engine.kv_bytes == HALF:
        return attention
    keys, narrow = elements * HALF, elements * engine.kv_bytes
    query, _, _, *bias = attention.operands
    return attention._replace(
        read_bytes=attention.read_bytes - 2 * keys + 2 * narrow, operands=(query, narrow, narrow, *bias)
    )
