"""One kernel from its shapes: FLOPs, bytes read and written, and what it allocates.

Sizes are element counts unless a name says bytes. Reads and writes follow the vendor's kernels one by one: an operand
is read once however often it is broadcast, a gather reads what it selects, views cost nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from .symbolic import Size, round_up

HALF, FLOAT, INT, INDEX = 2, 4, 4, 8  # bytes of bf16 or fp16, float32, int32, int64
ALLOCATION = 512  # bytes; the CUDA caching allocator hands out whole multiples

# Vector FLOPs of one output element (softmax, mean, sum: of one input element), an operation each for +, -, ×, ÷ and
# each transcendental. Integer arithmetic, comparisons, casts, copies and gathers count none.
VECTOR_FLOPS = {
    "add": 1,
    "mul": 1,
    "neg": 1,
    "square": 1,
    "rsqrt": 1,
    "cos": 1,
    "sin": 1,
    "sum": 1,
    "mean": 1,
    "interpolate_linear": 3,  # two products, one sum
    "sigmoid": 4,  # negate, exp, add, divide
    "silu": 5,  # sigmoid, multiply
    "gelu": 5,  # scale, erf, add, multiply, halve
    "softmax": 5,  # running maximum, subtract, exp, sum, divide
    "layer_norm": 8,  # mean; centre, square, sum; centre, scale; weight, bias
}


class Kernel(NamedTuple):
    """One kernel, `times` times; costs are of one run. `allocates` and `frees` are net bytes around it."""

    path: str
    tensor_flops: Size = 0
    vector_flops: Size = 0
    read_bytes: Size = 0
    write_bytes: Size = 0
    weight_bytes: Size = 0  # resident parameters that this kernel is the owner of
    used_bytes: Size = 0  # those of them that this run needs, each counted once
    io_bytes: Size = 0  # of the stage's own inputs and outputs and of the KV cache, each counted once
    allocates: Size = 0
    frees: Size = 0
    times: int = 1
    operands: tuple[Size, ...] = ()  # bytes of each activation that it reads, of each tensor that it writes,
    results: tuple[Size, ...] = ()
    freed: tuple[Size, ...] = ()  # and of each that is freed after it


Kernels = Iterator[Kernel]
Sizes = Size | tuple[Size, ...]


def each(sizes: Sizes) -> tuple[Size, ...]:
    """One size or several, without those that are 0."""
    return tuple(size for size in (sizes if isinstance(sizes, tuple) else (sizes,)) if size != 0)


def together(sizes: Sizes) -> Size:
    """Their sum."""
    total: Size = 0
    for size in each(sizes):
        total = total + size
    return total


def allocated(tensors: Sizes) -> Size:
    """Bytes that the allocator hands out for tensors of these byte sizes."""
    return together(tuple(round_up(size, ALLOCATION) for size in each(tensors)))


def kernel(
    path: str,
    *,
    tensor: Size = 0,
    vector: Size = 0,
    reads: Sizes = 0,
    weights: Size = 0,
    resident: Size | None = None,
    used: Size | None = None,
    io: Size = 0,
    writes: Sizes = 0,
    frees: Sizes = 0,
) -> Kernel:
    """A kernel from its bytes: `reads` activations and `weights`, allocates what it `writes`, then `frees`.

    `resident` bytes of parameters belong to it, and `used` of them are needed, where that is not what it reads;
    `io` bytes of its traffic are the stage's own input or output, or KV cache.
    """
    owned = weights if resident is None else resident
    return Kernel(
        path,
        tensor,
        vector,
        together(reads) + weights,
        together(writes),
        owned,
        owned if used is None else used,
        io,
        allocated(writes),
        allocated(frees),
        operands=each(reads),
        results=each(writes),
        freed=each(frees),
    )


def under(prefix: str, kernels: Iterable[Kernel]) -> Kernels:
    """The kernels with `prefix/` before their paths."""
    for k in kernels:
        yield k._replace(path=f"{prefix}/{k.path}")


def released(*tensors: Size) -> Kernel:
    """No kernel: the point where tensors of these byte sizes are freed."""
    return Kernel("released", frees=allocated(tensors), freed=each(tensors))


def held(*tensors: Size) -> Kernel:
    """No kernel: the point from which tensors of these byte sizes are held besides those that kernels allocate."""
    return Kernel("held", allocates=allocated(tensors))


def repeated(kernels: Iterable[Kernel], times: int) -> Kernels:
    """The whole sequence `times` times over, each kernel listed once.

    What a run leaves allocated piles up: the one listed is the last, and starts on what the others left.
    """
    sequence = list(kernels) if times else []
    left: Size = 0
    for k in sequence:
        left = left + k.allocates - k.frees
    yield Kernel("held", allocates=left * (times - 1))  # of tensors that are rounded up already
    for k in sequence:
        yield k._replace(times=k.times * times)
