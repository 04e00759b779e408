"""Polynomials with integer coefficients in a workload's sizes, so that a layer written once prices every workload.

A formula such as `2 * rows * width` gives an int if `rows` is an int. If `rows` is a symbol it gives a `Poly`, which is
evaluated at thousands of points without running the layer again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from math import prod
from operator import attrgetter
from typing import Any, TypeVar

N = TypeVar("N", bound=Any)  # int, or an array of them

# A monomial is a product of factors. One object exists for each label, so that a factor is its own key in a dict.


@dataclass(frozen=True, slots=True, eq=False)
class Symbol:
    """A size that the workload sets: `batch`, `rows`, `image_tokens`."""

    label: str

    def value(self, at: Mapping[str, int]) -> int:
        return at[self.label]

    def bound(self, most: Mapping[str, int]) -> int:
        return most[self.label]

    def depends_on(self, symbol: Symbol) -> bool:
        return self is symbol


@dataclass(frozen=True, slots=True, eq=False)
class RoundedUp:
    """`size` rounded up to whole multiples of `unit`."""

    label: str
    size: Poly
    unit: int

    def value(self, at: Mapping[str, int]) -> int:
        return self.of(self.size.at(at))

    def of(self, size: N) -> N:
        """`size`, a number or an array of them, rounded up."""
        rounded: N = -(-size // self.unit) * self.unit
        return rounded

    def bound(self, most: Mapping[str, int]) -> int:
        return self.of(self.size.bound(most))

    def depends_on(self, symbol: Symbol) -> bool:
        return self.size.depends_on(symbol)


@dataclass(frozen=True, slots=True, eq=False)
class DistinctExperts:
    """The expected number of distinct experts that `size` tokens reach, if each chooses `chosen` of `experts`."""

    label: str
    size: Poly
    experts: int
    chosen: int

    def value(self, at: Mapping[str, int]) -> int:
        return self.of(self.size.at(at))

    def of(self, tokens: int) -> int:
        """The distinct experts that `tokens` tokens reach."""
        return reached(tokens, self.experts, self.chosen)

    def bound(self, most: Mapping[str, int]) -> int:
        return max(self.experts, self.size.bound(most))

    def depends_on(self, symbol: Symbol) -> bool:
        return self.size.depends_on(symbol)


def reached(tokens: int, experts: int, chosen: int) -> int:
    """Expected distinct experts that `tokens` tokens reach under uniform routing, rounded to a whole number.

    Each token chooses `chosen` of `experts`, so the probability that all miss an expert is (1 - chosen/experts)^tokens.
    The result never falls as `tokens` grows.
    """
    missed: float = (1 - chosen / experts) ** tokens
    return round(experts * (1 - missed))


Factor = Symbol | RoundedUp | DistinctExperts
Monomial = tuple[Factor, ...]
CONSTANT: Monomial = ()
by_label = attrgetter("label")


def product(monomial: Monomial, point: Mapping[str, int]) -> int:
    """The value of a monomial at `point`, which gives each symbol a value."""
    value = 1
    for each in monomial:  # most of a ledger's time is spent here, and `prod` of a generator takes three times as long
        value *= each.value(point)
    return value


class Poly:
    """A sum of integer coefficients times monomials; immutable, and equal if the terms are equal."""

    __slots__ = ("terms",)

    def __init__(self, terms: Mapping[Monomial, int]) -> None:
        self.terms = dict(terms) if all(terms.values()) else {monomial: c for monomial, c in terms.items() if c}

    def __add__(self, other: Size) -> Poly:
        if not other:
            return self
        terms = self.terms.copy()
        for monomial, c in ({CONSTANT: other} if isinstance(other, int) else other.terms).items():
            terms[monomial] = terms.get(monomial, 0) + c
        return Poly(terms)

    __radd__ = __add__

    def __neg__(self) -> Poly:
        return self * -1

    def __sub__(self, other: Size) -> Poly:
        return self + -other

    def __rsub__(self, other: Size) -> Poly:
        return -self + other

    def __mul__(self, other: Size) -> Poly:
        if isinstance(other, int):
            return self if other == 1 else Poly({monomial: c * other for monomial, c in self.terms.items()})
        terms: dict[Monomial, int] = {}
        for left, c in self.terms.items():
            for right, d in other.terms.items():
                monomial = tuple(sorted(left + right, key=by_label))
                terms[monomial] = terms.get(monomial, 0) + c * d
        return Poly(terms)

    __rmul__ = __mul__

    def __eq__(self, other: object) -> bool:
        if isinstance(other, int):
            return self.terms == ({CONSTANT: other} if other else {})
        return isinstance(other, Poly) and self.terms == other.terms

    def __bool__(self) -> bool:
        return bool(self.terms)

    def __hash__(self) -> int:
        if self.terms.keys() <= {CONSTANT}:
            return hash(self.terms.get(CONSTANT, 0))  # it equals that number
        return hash(frozenset(self.terms.items()))

    def __repr__(self) -> str:
        return " + ".join(f"{c}·{'·'.join(map(by_label, m))}" if m else str(c) for m, c in self.terms.items()) or "0"

    def depends_on(self, symbol: Symbol) -> bool:
        """Whether its value may change with the symbol's value."""
        return any(f.depends_on(symbol) for monomial in self.terms for f in monomial)

    def at(self, point: Mapping[str, int]) -> int:
        """Its value at `point`, which gives each symbol a value."""
        return sum([c * product(monomial, point) for monomial, c in self.terms.items()])

    def bound(self, most: Mapping[str, int]) -> int:
        """An upper bound of its value, and of every size inside it, if no symbol exceeds its value in `most`."""
        return sum(abs(c) * prod(f.bound(most) for f in m) for m, c in self.terms.items())


Size = int | Poly


@cache
def factor(name: str) -> Symbol:
    """The only symbol with that name."""
    return Symbol(name)


def symbol(name: str) -> Poly:
    """The polynomial that consists of one symbol."""
    return Poly({(factor(name),): 1})


def poly(size: Size) -> Poly:
    """An int or a polynomial, as a polynomial."""
    return Poly({CONSTANT: size}) if isinstance(size, int) else size


def round_up(size: Size, unit: int) -> Size:
    """`size` rounded up to a multiple of `unit`; a polynomial does not change if all its terms are multiples."""
    if isinstance(size, int):
        return -(-size // unit) * unit
    if all(c % unit == 0 for c in size.terms.values()):
        return size
    return _rounded_up(size, unit)


@cache
def _rounded_up(size: Poly, unit: int) -> Poly:
    return Poly({(RoundedUp(f"⌈{size}⌉{unit}", size, unit),): 1})


def distinct_experts(tokens: Size, experts: int, chosen: int) -> Size:
    """Expected distinct experts that `tokens` tokens reach, if each chooses `chosen` of `experts`."""
    if isinstance(tokens, int):
        return reached(tokens, experts, chosen)
    return _distinct_experts(tokens, experts, chosen)


@cache
def _distinct_experts(tokens: Poly, experts: int, chosen: int) -> Poly:
    return Poly({(DistinctExperts(f"experts({tokens}, {chosen}/{experts})", tokens, experts, chosen),): 1})


def summed(size: Size, over: str, count: str, total: str) -> Size:
    """The sum of `size` over `count` values of the symbol `over`, whose sum is `total`.

    Exact, since `size` must be affine in `over`. Raises ValueError if it is not.
    """
    step = factor(over)
    terms: dict[Monomial, int] = {}
    for monomial, c in poly(size).terms.items():
        others = [f for f in monomial if f is not step]
        degree = len(monomial) - len(others)
        if degree > 1 or any(f.depends_on(step) for f in others):
            raise ValueError(f"{size} is not affine in {over}")
        others.append(factor(total if degree else count))
        summand = tuple(sorted(others, key=by_label))
        terms[summand] = terms.get(summand, 0) + c
    return Poly(terms)
