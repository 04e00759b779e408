"""A stage's kernels as they run, one after the other: repeated layers written out, pages one by one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import NamedTuple

from .kernels import Kernel
from .symbolic import Size, poly

Numbers = tuple[int, int, int, int]  # tensor FLOPs, vector FLOPs, bytes read, bytes written


class Run(NamedTuple):
    """One run of a line of a ledger."""

    line: int  # its place among the kernels of the program
    path: str
    numbers: Numbers


def runs(kernels: Sequence[Kernel], point: Mapping[str, int]) -> list[Run]:
    """Every run of kernels that cost something at the workload `point`, in the order of the reference model.

    A decode is one step: the one whose keys `point` has. A line that stands for all pages gives one run for each.
    """
    priced = [Run(i, k.path, numbers(k, point)) for i, k in enumerate(kernels)]
    costly = [(run, k) for run, k in zip(priced, kernels, strict=True) if any(run.numbers)]
    return list(_pages(list(_unrolled([(run, k, len(k.loops)) for run, k in costly])), point["views"]))


def numbers(kernel: Kernel, point: Mapping[str, int]) -> Numbers:
    """The four numbers of one run at the workload `point`."""

    def at(size: Size) -> int:
        return poly(size).at(point)

    return at(kernel.tensor_flops), at(kernel.vector_flops), at(kernel.read_bytes), at(kernel.write_bytes)


def _unrolled(kernels: Sequence[tuple[Run, Kernel, int]]) -> Iterator[tuple[Run, bool]]:
    """Each kernel with the number of its loops that are not unrolled yet; the last of them is the outermost."""
    for loop, group in groupby(kernels, key=lambda entry: entry[1].loops[entry[2] - 1].loop if entry[2] else None):
        body = list(group)
        if loop is None:
            yield from ((run, k.by_page) for run, k, _ in body)
            continue
        turns = [set(k.loops[depth - 1]) for _, k, depth in body]
        for turn in sorted(set().union(*turns)):
            yield from _unrolled([(run, k, d - 1) for (run, k, d), at in zip(body, turns, strict=True) if turn in at])


def _pages(entries: Sequence[tuple[Run, bool]], batch: int) -> Iterator[Run]:
    for by_page, group in groupby(entries, key=lambda entry: entry[1]):
        body = [run for run, _ in group]
        if not by_page:
            yield from body
            continue
        for _ in range(batch):
            for run in body:
                tensor, vector, read, write = (number // batch for number in run.numbers)
                yield run._replace(numbers=(tensor, vector, read, write))
