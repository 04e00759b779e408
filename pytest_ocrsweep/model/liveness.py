"""Where a stage's memory may peak: the few of its kernels that no other covers, whatever the workload."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from operator import ge
from typing import NamedTuple, TypeVar

from .kernels import Kernel
from .symbolic import CONSTANT, Monomial, Poly, RoundedUp, Size, poly

Live = tuple[Poly, str]  # bytes allocated at a kernel, and its path
Sizes = dict[Monomial, int]  # all of one stage have the same keys in the same order
T = TypeVar("T")


class Step(NamedTuple):
    """What is allocated at one kernel of a stage."""

    number: int
    sizes: Sizes
    path: str


def highest(kernels: Iterable[Kernel], cache_growth: Size) -> list[Live]:
    """Bytes allocated at each of these kernels, less what the KV cache grows by over the stage, and its path.

    The largest of them is the stage's peak at every workload: a kernel is left out only for another that covers it.
    """
    steps = [(poly(k.allocates).terms, poly(k.frees).terms, k.path) for k in kernels]
    growth = poly(cache_growth).terms
    live = dict.fromkeys((*growth, *(m for allocates, frees, _ in steps for m in (*allocates, *frees))), 0)
    _add(live, growth, -1)
    found: list[Step] = []
    for number, (allocates, frees, path) in enumerate(steps):
        _add(live, allocates, 1)
        _keep(found, Step(number, live.copy(), path), _plainly)  # which is quick, and leaves few
        _add(live, frees, -1)
    left: list[Unrounded] = []
    for step in sorted(found):
        _keep(left, Unrounded(step), Unrounded.covers)
    return [(Poly(one.step.sizes), one.step.path) for one in sorted(left, key=lambda one: one.step.number)]


def _keep(found: list[T], new: T, covers: Callable[[T, T], bool]) -> None:
    for i, other in enumerate(found):
        if covers(other, new):
            found.insert(0, found.pop(i))  # it is likely to cover the next too
            return
    found[:] = [other for other in found if not covers(new, other)]
    found.append(new)


def _plainly(one: Step, other: Step) -> bool:
    """Whether a sum is at least another at every workload, as no coefficient is smaller and no product negative."""
    return all(map(ge, one.sizes.values(), other.sizes.values()))


class Unrounded:
    """A step with each size that is rounded up taken as the size itself: what it is, or less than a unit below."""

    def __init__(self, step: Step) -> None:
        self.step = step
        self.sizes: Sizes = {}
        self.rounded: list[tuple[int, int]] = []  # how often each, and what it may be more than the size
        for monomial, c in step.sizes.items():
            match monomial:
                case (RoundedUp(size=size, unit=unit),):
                    self.rounded.append((c, unit - 1))
                    for m, times in size.terms.items():
                        self.sizes[m] = self.sizes.get(m, 0) + c * times
                case _:
                    self.sizes[monomial] = self.sizes.get(monomial, 0) + c
        self.constant = self.sizes.pop(CONSTANT, 0)

    def covers(self, other: Unrounded) -> bool:
        """Whether it is at least the other at every workload, whatever the sizes are rounded up by."""
        if not all(map(ge, self.sizes.values(), other.sizes.values())):
            return False
        least = (min(0, (c - d) * more) for (c, more), (d, _) in zip(self.rounded, other.rounded, strict=True))
        return self.constant - other.constant + sum(least) >= 0


def _add(sizes: Sizes, terms: Mapping[Monomial, int], times: int) -> None:
    for monomial, c in terms.items():
        sizes[monomial] += c * times
