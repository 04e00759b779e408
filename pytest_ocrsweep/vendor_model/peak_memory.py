"""The most memory that a call allocates at once, by the CUDA allocator's own count."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

from . import compat
from .forward import Call


def peak_bytes(device: torch.device, fresh: Callable[[], Call]) -> int | None:
    """Most bytes allocated during the call that `fresh` makes, above what was before; None on a CPU."""
    if device.type != "cuda":
        return None
    with _whole_blocks():
        call = fresh()
        torch.cuda.synchronize()
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        call()
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated() - before


@contextmanager
def _whole_blocks() -> Iterator[None]:
    """The CUDA allocator gives each tensor its own size, in blocks of 512 bytes.

    By default it leaves up to 1 MiB more on a large one, as much as the segments that earlier calls left make it.
    """
    torch.cuda.synchronize()
    variables = ("PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF")
    configured = next((os.environ[name] for name in variables if os.environ.get(name)), "expandable_segments:False")
    compat.set_allocator("expandable_segments:True")
    try:
        yield
    finally:
        compat.set_allocator(configured)
