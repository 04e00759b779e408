"""What an error while a point is measured means for it, and for the points after it."""

from __future__ import annotations

from collections.abc import Iterator

import torch

# Of errors that only their text tells: torch's allocator on a CPU, CUDA outside torch's allocator, and cuBLAS.
OUT_OF_MEMORY = ("can't allocate memory", "CUDA error: out of memory", "CUBLAS_STATUS_ALLOC_FAILED")


def out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out, be it in an error that another one followed: a graph's capture ends in one of its own."""
    return any(
        isinstance(each, torch.OutOfMemoryError | MemoryError) or any(text in str(each) for text in OUT_OF_MEMORY)
        for each in _chain(error)
    )


def lost(device: torch.device) -> str | None:
    """Why the device answers this process no more, as after an illegal access; None where it does."""
    if device.type == "cuda":
        try:
            torch.cuda.synchronize(device)
        except RuntimeError as error:
            return str(error).partition("\n")[0]
    return None


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
