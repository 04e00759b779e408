"""The noise between processes of many points at once: pooled, and as far as points differ in it, each point's own.

A point's variance over a few processes is too uncertain to lean on, and that of all points together is wrong for a
point that is noisier than the others. So a point's is moderated by the pooled one (empirical Bayes, as Smyth does it in
"Linear models and empirical Bayes methods", 2004): the less the variances differ beyond what chance explains, the more
the pooled one weighs.
"""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Generic, TypeVar

from .evidence import EXPECTED_NOISE, EXPECTED_WEIGHT
from .students_t import student

T = TypeVar("T")

FINEST = 1e-4
"""No process's median is known better than this, as a ratio: equal ones were lucky."""

LEAST_WEIGHT = 4.0
"""Degrees of freedom of the pooled variance, however much the points differ: their own have four."""

DOUBT = 2.5
"""Variances differ only if they scatter by so many standard errors more than chance explains."""


@dataclass(frozen=True, slots=True)
class Squares:
    """Squared deviations from the means of both sides, summed, and their degrees of freedom."""

    total: float
    df: int

    @property
    def variance(self) -> float:
        return max(FINEST**2, self.total / self.df)


@dataclass(frozen=True, slots=True)
class Moderated:
    """A standard deviation and its degrees of freedom."""

    sigma: float
    df: float

    def margin(self, chance: float, base: int, head: int) -> float:
        """What a difference of two means of so many processes exceeds by chance, one-sided."""
        return student(chance, self.df) * self.sigma * math.sqrt(1 / base + 1 / head)


@dataclass(frozen=True)
class Noise(Generic[T]):
    """The noise of some points by their squares."""

    squares: Mapping[T, Squares]

    def of(self, point: T) -> Moderated:
        """The point's own noise, moderated by that of all."""
        return moderated(self.squares[point], math.sqrt(self._pooled), self._weight)

    @cached_property
    def _pooled(self) -> float:
        total = sum(each.df * each.variance for each in self.squares.values())
        df = sum(each.df for each in self.squares.values())
        return (EXPECTED_WEIGHT * EXPECTED_NOISE**2 + total) / (EXPECTED_WEIGHT + df)

    @cached_property
    def _weight(self) -> float:
        """The pooled variance's degrees of freedom beside a point's own: fewer, the more the variances differ."""
        df = Counter(each.df for each in self.squares.values()).most_common(1)[0][0]
        logs = [math.log(each.variance) for each in self.squares.values() if each.df == df]
        most = EXPECTED_WEIGHT + df * (len(logs) - 1)
        if len(logs) < 2:
            return float(most)
        chance = trigamma(df / 2)
        error = math.sqrt((pentagamma(df / 2) + 2 * chance**2) / len(logs))
        beyond = statistics.variance(logs) - chance - DOUBT * error
        return min(most, max(LEAST_WEIGHT, 2 * inverse_trigamma(beyond))) if beyond > 0 else float(most)


def moderated(squares: Squares, expected: float, weight: float) -> Moderated:
    """By a noise that was expected beforehand, with so many degrees of freedom."""
    variance = (weight * expected**2 + squares.df * squares.variance) / (weight + squares.df)
    return Moderated(math.sqrt(variance), weight + squares.df)


def trigamma(x: float) -> float:
    """The variance of the logarithm of a gamma variable of shape `x`."""
    if x < 6:
        return trigamma(x + 1) + x**-2
    return float(1 / x + 1 / (2 * x**2) + 1 / (6 * x**3) - 1 / (30 * x**5))


def pentagamma(x: float) -> float:
    """The fourth cumulant of the logarithm of a gamma variable of shape `x`."""
    if x < 6:
        return pentagamma(x + 1) + 6 * x**-4
    return float(2 / x**3 + 3 / x**4 + 2 / x**5 - 1 / x**7)


def inverse_trigamma(y: float) -> float:
    """The `x` of which `y` is the trigamma, by bisection: trigamma falls."""
    low, high = 1e-3, 1e6
    for _ in range(60):
        middle = math.sqrt(low * high)
        low, high = (middle, high) if trigamma(middle) > y else (low, middle)
    return low
