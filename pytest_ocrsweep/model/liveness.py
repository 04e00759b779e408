"""Where a stage's memory may peak: the few kernels that no other kernel covers at every workload."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from operator import ge
from typing import NamedTuple, TypeVar

from .kernels import Kernel
from .symbolic import CONSTANT, Monomial, Poly, RoundedUp, Size, poly

Live = tuple[Poly, str]  # bytes allocated at a kernel, and its path
Terms = dict[Monomial, int]  # for one stage all have the same keys in the same order
T = TypeVar("T")


class Step(NamedTuple):
    """The bytes allocated at one kernel of a stage."""

    number: int
    sizes: Terms
    path: str
    sum: int  # of the coefficients: only a step with as many can cover it


def highest(kernels: Iterable[Kernel], cache_growth: Size) -> list[Live]:
    """The kernels at which memory may peak: bytes allocated there, less the stage's growth of the KV cache; its path.

    At every workload the largest of them is the stage's peak: a kernel is left out only if another covers it.
    """
    steps = [(poly(k.allocates).terms, poly(k.frees).terms, k.path) for k in kernels]
    growth = poly(cache_growth).terms
    live = dict.fromkeys((*growth, *(m for allocates, frees, _ in steps for m in (*allocates, *frees))), 0)
    _add(live, growth, -1)
    found: list[Step] = []
    for number, (allocates, frees, path) in enumerate(steps):
        _add(live, allocates, 1)
        _keep(found, Step(number, live.copy(), path, sum(live.values())), _plainly)  # a quick test that leaves few
        _add(live, frees, -1)
    left: list[Unrounded] = []
    for step in sorted(found):
        _keep(left, Unrounded(step), Unrounded.covers)
    return [(Poly(one.step.sizes), one.step.path) for one in sorted(left, key=lambda one: one.step.number)]


def _keep(found: list[T], new: T, covers: Callable[[T, T], bool]) -> None:
    for i, other in enumerate(found):
        if covers(other, new):
            found.insert(0, found.pop(i))  # likely to cover the next one too
            return
    found[:] = [other for other in found if not covers(new, other)]
    found.append(new)


def _plainly(one: Step, other: Step) -> bool:
    """Whether `one` is at least `other` at every workload: no coefficient is smaller, and no product is negative."""
    return one.sum >= other.sum and all(map(ge, one.sizes.values(), other.sizes.values()))


class Unrounded:
    """A step with the sizes before they are rounded up: each is less than a unit below what is allocated."""

    def __init__(self, step: Step) -> None:
        self.step = step
        self.sizes: Terms = {}
        self.rounded: list[tuple[int, int]] = []  # how often each occurs, and the most that rounding adds
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
        """Whether it is at least the other at every workload, whatever rounding adds to either."""
        if not all(map(ge, self.sizes.values(), other.sizes.values())):
            return False
        least = (min(0, (c - d) * more) for (c, more), (d, _) in zip(self.rounded, other.rounded, strict=True))
        return self.constant - other.constant + sum(least) >= 0


def _add(sizes: Terms, terms: Mapping[Monomial, int], times: int) -> None:
    for monomial, c in terms.items():
        sizes[monomial] += c * times
