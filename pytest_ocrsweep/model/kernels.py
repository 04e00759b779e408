"""A kernel: its FLOPs, the bytes that it reads and writes, and what it allocates; and sequences of kernels.

Sizes are element counts unless a name says bytes. Reads and writes follow the reference model kernel by kernel: an
operand is read once even if it is broadcast, a gather reads what it selects, and views cost nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Any, NamedTuple

from .parameters import Parameters
from .symbolic import Size, round_up

BYTE, HALF, FLOAT, INT, INDEX = 1, 2, 4, 4, 8  # bytes of an 8-bit float, bf16 or fp16, float32, int32, int64
ALLOCATION = 512  # bytes; the CUDA caching allocator hands out whole multiples

# Vector FLOPs per output element (softmax, mean and sum: per input element). Each +, -, ×, ÷ and transcendental
# function counts as one; integer arithmetic, comparisons, casts, copies and gathers count as zero.
VECTOR_FLOPS = {
    "add": 1,
    "mul": 1,
    "neg": 1,
    "square": 1,
    "rsqrt": 1,
    "sqrt": 1,
    "div": 1,
    "exp": 1,
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


class Pattern(Enum):
    """How a kernel goes through its data, and so what limits it beside memory. Its value says what `work` counts."""

    STREAM = "nothing: elements lie side by side"
    REDUCTION = "nothing: many elements become one"
    STRIDED = "elements written, each at a computed address"
    TRANSPOSED = "elements written, of operands that lie in different orders"
    NORM = "elements of rows that one block of threads each normalises"
    SERIAL = "bytes of a kernel that too few threads share"
    PRODUCT = "tensor FLOPs of one product"
    GROUPED = "tensor FLOPs of the experts' products"
    BATCHED = "tensor FLOPs of many small products, and of implicit convolutions"
    SIMT = "tensor FLOPs outside the tensor cores"
    ATTENTION = "tensor FLOPs of fused attention, half of them if causal"
    ABSORBED = "nothing: it is a line of the memory-efficient attention, which cuDNN's, that Hopper runs, does without"
    NARROW = "bytes of attention whose tiles are narrow: with a bias, or of one query with scores in memory"


@dataclass(frozen=True, eq=False, slots=True)
class Loop:
    """A loop of the reference model, by identity: kernels inside the same loop run in turns."""

    label: str


@dataclass(frozen=True, slots=True)
class Turns:
    """The turns of a loop at which a kernel runs: those of `among` that are not in `but`, never listed one by one."""

    loop: Loop
    among: range | tuple[int, ...]
    but: tuple[int, ...] = ()

    def __iter__(self) -> Iterator[int]:
        return (turn for turn in self.among if turn not in self.but)


class Kernel(NamedTuple):
    """One kernel that runs `times` times; its costs are those of one run.

    It allocates `allocates` bytes before it runs, and `frees` bytes are freed after it.
    """

    path: str
    tensor_flops: Size = 0
    vector_flops: Size = 0
    read_bytes: Size = 0
    write_bytes: Size = 0
    weight_bytes: Size = 0  # resident parameters that this kernel owns
    used_bytes: Size = 0  # the part of them that one run needs, each counted once
    io_bytes: Size = 0  # its traffic of the stage's inputs and outputs and of the KV cache, each counted once
    allocates: Size = 0
    frees: Size = 0
    times: int = 1
    operands: tuple[Size, ...] = ()  # bytes of each activation that it reads
    results: tuple[Size, ...] = ()  # bytes of each tensor that it writes
    freed: tuple[Size, ...] = ()  # bytes of each tensor that is freed after it
    pattern: Pattern = Pattern.STREAM
    work: Size = 0  # what the pattern says that it counts, of one run
    launches: Size = 1  # CUDA kernels that one run consists of
    loops: tuple[Turns, ...] = ()  # innermost first
    by_page: bool = False  # it stands for one run for each page of the batch
    unneeded: Size = 0  # tensor FLOPs, of all runs, that an implementation of the same function may leave out
    unneeded_bytes: Size = 0  # of its outputs, of all runs, that one may keep to itself
    functions: Size = 0  # exponentials and the like, of all runs, that none can: one vector FLOP each
    least_bytes: Size | None = None  # of parameters, under any routing, if that is less than `used_bytes`
    parameters: Parameters = ()  # that it reads, whoever owns them
    fp8: bool = False  # the operands of its products are 8-bit floats


TENSORS = ("operands", "results", "freed")
NO_SIZES = ("path", "times", "pattern", "launches", "loops", "by_page", "parameters", "fp8")
SIZES = tuple(name for name in Kernel._fields if name not in (*TENSORS, *NO_SIZES))
Kernels = Iterator[Kernel]
Sizes = Size | tuple[Size, ...]


def each(sizes: Sizes) -> tuple[Size, ...]:
    """The sizes as a tuple, without zeros."""
    return tuple([size for size in (sizes if isinstance(sizes, tuple) else (sizes,)) if size])


def together(sizes: Sizes) -> Size:
    """The sum of the sizes."""
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
    pattern: Pattern = Pattern.STREAM,
    work: Size = 0,
    launches: int = 1,
    parameters: Parameters = (),
) -> Kernel:
    """A kernel that reads activations (`reads`) and `weights`, allocates what it `writes`, and then `frees` tensors.

    All sizes are bytes. `resident` parameters belong to it and it needs `used` of them, if these differ from the
    `weights` that it reads. `io` is the part of its traffic that is the stage's input, output or KV cache.
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
        pattern=pattern,
        work=work,
        launches=launches,
        parameters=parameters,
    )


def under(prefix: str, kernels: Iterable[Kernel]) -> Kernels:
    """The kernels with `prefix/` before their paths."""
    for k in kernels:
        yield k._replace(path=f"{prefix}/{k.path}")


def released(*tensors: Size) -> Kernel:
    """Not a kernel but a point at which tensors of these byte sizes are freed."""
    return Kernel("released", frees=allocated(tensors), freed=each(tensors))


def held(*tensors: Size) -> Kernel:
    """Not a kernel but a point from which tensors of these byte sizes stay allocated."""
    return Kernel("held", allocates=allocated(tensors))


def repeated(kernels: Iterable[Kernel], times: int) -> Kernels:
    """The sequence, run `times` times, with each kernel listed once.

    Tensors that a run leaves allocated accumulate. The run that is listed is the last one: it starts with the tensors
    that the earlier runs left.
    """
    return at_turns(kernels, Turns(Loop("repeated"), range(times)), times)


def at_turns(kernels: Iterable[Kernel], turns: Turns, times: int) -> Kernels:
    """The sequence, run at `times` turns of a loop, which other sequences share; else as `repeated`."""
    sequence = list(kernels) if times else []
    left: Size = 0
    for k in sequence:
        left = left + k.allocates - k.frees
    yield Kernel("held", allocates=left * (times - 1))  # each tensor is rounded up already
    for k in sequence:
        yield k._replace(
            times=k.times * times,
            loops=(*k.loops, turns),
            unneeded=k.unneeded * times,
            unneeded_bytes=k.unneeded_bytes * times,
            functions=k.functions * times,
        )


def in_place(one: Kernel) -> Kernel:
    """The kernel with its results in the places of operands, or of memory that was there before."""
    return one._replace(allocates=0, frees=0, freed=one.results)


def only_if(flag: Size, one: Kernel) -> Kernel:
    """The kernel where `flag`, which is 0 or 1, is 1; else nothing runs."""
    fields: dict[str, Any] = {name: flag * size for name in SIZES if (size := getattr(one, name)) is not None}
    fields |= {name: tuple(flag * size for size in getattr(one, name)) for name in TENSORS}
    return one._replace(**fields)
