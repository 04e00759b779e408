"""Pages that a model runs one after the other."""

from __future__ import annotations

from collections.abc import Iterable

from .kernels import HALF, Kernel, Kernels, allocated
from .symbolic import Size


def one_by_one(
    page: Iterable[Kernel], count: Size, kept: Size | tuple[Size, ...], remains: tuple[Size, ...] = ()
) -> Kernels:
    """The kernels of one page, run for each of `count` pages; each leaves tensors of `kept` elements of half precision.

    The page that is listed is the last: it starts with what the others left, and with what `remains` of the one before.
    """
    left = tuple(elements * HALF for elements in (kept if isinstance(kept, tuple) else (kept,)))
    yield Kernel("held", allocates=(count - 1) * allocated(left) + allocated(remains))
    for k in page:
        yield k._replace(
            tensor_flops=count * k.tensor_flops,
            vector_flops=count * k.vector_flops,
            read_bytes=count * k.read_bytes,
            write_bytes=count * k.write_bytes,
            io_bytes=count * k.io_bytes,
            operands=tuple(count * size for size in k.operands),
            results=tuple(count * size for size in k.results),
            freed=tuple(count * size for size in k.freed),
            work=count * k.work,
            unneeded=count * k.unneeded,
            unneeded_bytes=count * k.unneeded_bytes,
            functions=count * k.functions,
            by_page=True,
        )
