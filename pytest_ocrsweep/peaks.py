"""Where a stage's memory may peak: the few of its kernels that no other covers, whatever the workload."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from operator import ge, sub

from .algebra import CONSTANT, Monomial, Poly, RoundedUp, Size, poly
from .ops import Kernel

Live = tuple[Poly, str]  # bytes allocated at a kernel, and its path
Sizes = dict[Monomial, int]  # all of one stage have the same keys in the same order


def highest(kernels: Iterable[Kernel], cache_growth: Size) -> list[Live]:
    """Bytes allocated at each of these kernels, less what the KV cache grows by over the stage, and its path.

    The largest of them is the stage's peak at every workload: a kernel is left out only for another that covers it.
    """
    steps = [(poly(k.allocates).terms, poly(k.frees).terms, k.path) for k in kernels]
    growth = poly(cache_growth).terms
    live = dict.fromkeys((*growth, *(m for allocates, frees, _ in steps for m in (*allocates, *frees))), 0)
    _add(live, growth, -1)
    found: list[tuple[Sizes, str]] = []
    for allocates, frees, path in steps:
        _add(live, allocates, 1)
        _keep(found, live.copy(), path, _plainly)  # which is quick, and leaves few
        _add(live, frees, -1)
    left: list[tuple[Sizes, str]] = []
    for sizes, path in found:
        _keep(left, sizes, path, _surely)
    return [(Poly(sizes), path) for sizes, path in left]


def _keep(found: list[tuple[Sizes, str]], sizes: Sizes, path: str, covers: Callable[[Sizes, Sizes], bool]) -> None:
    if not any(covers(other, sizes) for other, _ in found):
        found[:] = [entry for entry in found if not covers(sizes, entry[0])]
        found.append((sizes, path))


def _plainly(one: Sizes, other: Sizes) -> bool:
    """Whether a sum is at least another at every workload, as no coefficient is smaller and no product negative."""
    return all(map(ge, one.values(), other.values()))


def _surely(one: Sizes, other: Sizes) -> bool:
    """The same of their difference, where a size rounded up is the size, or less than one unit more."""
    difference: Sizes = defaultdict(int)
    for monomial, c in zip(one, map(sub, one.values(), other.values()), strict=True):
        match monomial:
            case (RoundedUp(size=size, unit=unit),) if c:
                _add(difference, size.terms, c)
                difference[CONSTANT] += min(0, c * (unit - 1))
            case _:
                difference[monomial] += c
    return min(difference.values()) >= 0


def _add(sizes: Sizes, terms: Mapping[Monomial, int], times: int) -> None:
    for monomial, c in terms.items():
        sizes[monomial] += c * times
