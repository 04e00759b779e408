"""Which part of a stage's traffic passes the L2 to DRAM: one rule over its kernels, in the order in which they run.

- Every parameter is read from DRAM and every written byte goes to DRAM: more bytes than an L2 holds pass before either
  is touched again.
- The L2 keeps whole tensors, the least recently used leaves first. A kernel finds an activation in the L2 if the
  activation fits there together with all that was touched since; else it reads it from DRAM.
- An operand is the live tensor of its size that was touched last. If no live tensor has its size, it is part of the
  larger one that was touched last.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import count, groupby
from typing import NamedTuple, Protocol

from .kernels import Kernel
from .symbolic import Size


class Cached(Protocol):
    """A device with a last-level cache."""

    @property
    def l2_bytes(self) -> int:
        """Bytes that the cache holds."""
        ...


class DramTraffic(NamedTuple):
    """Bytes that all runs of the kernel at `path` read from DRAM and write to it."""

    path: str
    read_bytes: int
    write_bytes: int


class Access(NamedTuple):
    """A kernel's tensors at a workload, in bytes."""

    path: str
    runs: bool  # False: no kernel, only a point at which tensors are freed
    parameter_bytes: int
    operands: tuple[int, ...]
    results: tuple[int, ...]
    freed: tuple[int, ...]


def stage_traffic(kernels: Sequence[Kernel], point: Mapping[str, int], steps: int, l2_bytes: int) -> list[DramTraffic]:
    """DRAM traffic of each kernel of a stage at the workload `point`, over all `steps`.

    Several steps cost the mean of the first and the last step, times their number; `point` has the last step's keys.
    """
    last = point["keys"]
    ends = [
        traffic(kernels, _at({**point, "keys": keys}), l2_bytes, again=steps > 1)
        for keys in sorted({last - steps + 1, last})
    ]
    return [
        DramTraffic(
            lines[0].path,
            sum(line.read_bytes for line in lines) * steps // len(ends),
            sum(line.write_bytes for line in lines) * steps // len(ends),
        )
        for lines in zip(*ends, strict=True)
    ]


def _at(point: Mapping[str, int]) -> Callable[[Size], int]:
    """A function that evaluates sizes at `point`; kernels share their sizes, so it evaluates each once."""
    known: dict[int, int] = {}

    def value(size: Size) -> int:
        if isinstance(size, int):
            return size
        if id(size) not in known:
            known[id(size)] = size.at(point)
        return known[id(size)]

    return value


def traffic(
    kernels: Sequence[Kernel], value: Callable[[Size], int], l2_bytes: int, *, again: bool
) -> list[DramTraffic]:
    """DRAM traffic of each kernel at the workload at which a size has that `value`.

    With `again`, the kernels start on the L2 that a run of the same kernels left, as a decode's steps do.
    """
    bodies = [
        (times, [access(k, value) for k in body]) for times, body in groupby(kernels, key=lambda kernel: kernel.times)
    ]
    cache = L2(l2_bytes)
    if again:
        list(_run(bodies, cache))
    return list(_run(bodies, cache))


def access(kernel: Kernel, value: Callable[[Size], int]) -> Access:
    """The tensors of `kernel`; a parameter that it gathers several times counts once."""
    operands, results, freed = (
        tuple(filter(None, map(value, sizes))) for sizes in (kernel.operands, kernel.results, kernel.freed)
    )
    parameters, used = value(kernel.read_bytes) - sum(operands), value(kernel.used_bytes)
    runs = kernel.read_bytes != 0 or kernel.write_bytes != 0
    return Access(kernel.path, runs, min(parameters, used) if used else parameters, operands, results, freed)


def _run(bodies: Iterable[tuple[int, list[Access]]], cache: L2) -> Iterator[DramTraffic]:
    """A body that repeats runs twice here: the second run counts for all that follow."""
    for times, body in bodies:
        first = [cache.read_bytes(kernel) for kernel in body]
        later = [cache.read_bytes(kernel) for kernel in body] if times > 1 else first
        for kernel, once, then in zip(body, first, later, strict=True):
            if kernel.runs:
                yield DramTraffic(kernel.path, once + then * (times - 1), sum(kernel.results) * times)


class L2:
    """The tensors that are live, and which of all that were touched the L2 still holds."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._resident: OrderedDict[int, int] = OrderedDict()  # tensor → its bytes; the last touched is the last
        self._resident_bytes = 0
        self._live: OrderedDict[int, int] = OrderedDict()  # the same for allocated activations
        self._new = count().__next__  # a number for each tensor

    def read_bytes(self, kernel: Access) -> int:
        """Run one kernel, and give the bytes that it reads from DRAM."""
        missed = kernel.parameter_bytes
        if missed:
            self._touch(self._new(), missed)
        seen: set[int] = set()
        for size in kernel.operands:
            tensor = self._find(size, seen)
            seen.add(tensor)
            if tensor not in self._resident:
                missed += size
            self._live.move_to_end(tensor)
            self._touch(tensor, self._live[tensor])
        for size in kernel.results:
            tensor = self._new()
            self._live[tensor] = size
            self._touch(tensor, size)
        for size in kernel.freed:
            freed = next((tensor for tensor in reversed(self._live) if self._live[tensor] == size), None)
            if freed is not None:
                del self._live[freed]
        return missed

    def _find(self, size: int, seen: set[int]) -> int:
        for tensor in reversed(self._live):
            if self._live[tensor] == size and tensor not in seen:
                return tensor
        for tensor in reversed(self._live):
            if self._live[tensor] > size:
                return tensor
        tensor = self._new()  # the stage's input
        self._live[tensor] = size
        return tensor

    def _touch(self, tensor: int, size: int) -> None:
        self._resident_bytes += size - self._resident.pop(tensor, 0)
        self._resident[tensor] = size
        while self._resident_bytes > self._capacity:
            _, gone = self._resident.popitem(last=False)
            self._resident_bytes -= gone
