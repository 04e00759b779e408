"""A program's numbers at many points at once: its rows and monomials over numpy arrays, each number exact or an error.

Arithmetic of 64 bits is exact modulo 2⁶⁴, so a sum of products is right if its result fits, whatever its parts do.
What must fit besides are the sizes that are rounded up or looked up, and `Poly.bound` covers them.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache, reduce
from operator import iadd
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ColumnOverflow as ColumnOverflow
from .geometry import RESOLUTIONS, image_tokens
from .ledger import COMPULSORY, WEIGHTS, Program, Row
from .stages import symbols
from .symbolic import DistinctExperts, Factor, Monomial, Poly, Symbol, symbol

Sizes = dict[str, Any]  # by input: an int where all points have it, else an array
LIMIT = 2**63 - 1


class Plan:
    """The columns of one program, each the largest of some sums of products."""

    def __init__(self, program: Program, resolution: str, crops: bool) -> None:
        def sums(*rows: Row) -> tuple[Poly, ...]:
            return tuple(Poly(dict(zip(program.monomials, row, strict=False))) for row in rows)

        totals = program.rows("")
        self._sides, self._crops = RESOLUTIONS[resolution], crops
        self._columns: dict[str, tuple[Poly, ...]] = {
            "image_tokens": (symbol("image_tokens"),),
            "context_tokens": (symbol("context_tokens"),),
            "tensor_flops": sums(totals[0]),
            "vector_flops": sums(totals[1]),
            "read_bytes": sums(totals[2]),
            "write_bytes": sums(totals[3]),
            "weight_bytes": sums(totals[WEIGHTS]),
            "kv_cache_bytes": sums(program.cache),
            "compulsory_bytes": sums(totals[COMPULSORY]),
            "peak_activation_bytes": sums(*(row for row, _ in program.peaks)),
        }
        self._monomials = {m: Poly({m: 1}) for polys in self._columns.values() for poly in polys for m in poly.terms}

    def columns(self, sizes: Sizes, stage: str) -> dict[str, Any]:
        """Every column that is no input, at points of these sizes; ColumnOverflow where one does not fit."""
        most = self._symbols({name: int(np.max(size)) for name, size in sizes.items()})
        # Twice: `symbols` halves a product.
        if 2 * max(most.values()) <= LIMIT and all(m.bound(most) <= LIMIT for m in self._monomials.values()):
            values = Values(self._symbols(sizes))
            highest = {m: int(np.max(values.monomial(m))) for m in self._monomials}
            if all(
                sum(abs(c) * highest[m] for m, c in poly.terms.items()) <= LIMIT
                for polys in self._columns.values()
                for poly in polys
            ):
                return self._evaluated(values)
        return self._exact(sizes, stage)

    def _symbols(self, sizes: Sizes) -> dict[str, Any]:
        rows, cols = sizes["rows"], sizes["cols"]
        tokens = image_tokens(self._sides, rows, cols, crops=self._crops)
        return symbols(rows, cols, sizes["batch"], tokens, sizes["prompt_tokens"], sizes["new_tokens"])

    def _evaluated(self, values: Values) -> dict[str, Any]:
        return {name: reduce(np.maximum, map(values.size, polys)) for name, polys in self._columns.items()}

    def _exact(self, sizes: Sizes, stage: str) -> dict[str, Any]:
        """In Python's own integers: fifty times slower, and only near the limit."""
        points = max(map(np.size, sizes.values()))

        def own(numbers: Sizes) -> Sizes:
            return {name: np.broadcast_to(np.asarray(number, object), points) for name, number in numbers.items()}

        columns = own(self._evaluated(Values(own(self._symbols(own(sizes))))))
        for name, column in columns.items():
            beyond = column > LIMIT
            if beyond.any():
                first = int(beyond.argmax())
                value, where = column[first], ", ".join(f"{key}={size[first]}" for key, size in own(sizes).items())
                raise ColumnOverflow(f"{name} of {stage} at {where} is {value:,}: a column holds {LIMIT:,} at most")
        return columns


class Values:
    """Sums, products and factors at many points, each product and factor worked out once."""

    def __init__(self, at: Mapping[str, Any]) -> None:
        self._at = at
        self._known: dict[Monomial | Factor, Any] = {(): 1}

    def size(self, poly: Poly) -> Any:
        """The value of a sum; of the first product's memory, which is new."""
        terms = (c * self.monomial(m) for m, c in poly.terms.items())
        return reduce(iadd, terms) if poly.terms else 0

    def monomial(self, monomial: Monomial) -> Any:
        """The value of a product."""
        if monomial not in self._known:
            *others, last = monomial
            value = self._factor(last)
            self._known[monomial] = self.monomial(tuple(others)) * value if others else value
        return self._known[monomial]

    def _factor(self, factor: Factor) -> Any:
        if isinstance(factor, Symbol):
            return self._at[factor.label]
        if factor not in self._known:
            inside = self.size(factor.size)
            self._known[factor] = reached(factor, inside) if isinstance(factor, DistinctExperts) else factor.of(inside)
        return self._known[factor]


def reached(factor: DistinctExperts, tokens: Any) -> Any:
    """`factor.of` of every element, looked up: a power of an array need not round as that of a number does."""
    table = experts_by_tokens(factor)
    found = table[np.minimum(tokens, len(table) - 1).astype(np.intp)]
    return found.astype(np.asarray(tokens).dtype, copy=False)  # Python's own integers give their own


@cache
def experts_by_tokens(factor: DistinctExperts) -> NDArray[np.int64]:
    """What each number of tokens reaches, up to the first that reaches all, as all above do."""
    found = [factor.of(0)]
    while found[-1] < factor.experts:
        found.append(factor.of(len(found)))
    return np.array(found)
