"""A program's numbers at many points at once, over numpy arrays: each number is exact, or raises an error.

64-bit arithmetic is exact modulo 2⁶⁴, so a sum of products is right if its result fits, even if its terms overflow.
Sizes that are rounded up or looked up must fit too: `Poly.bound` says whether they do.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache, reduce
from operator import iadd
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ColumnOverflow
from .engine import Engine
from .geometry import Resolution, image_tokens
from .program import COMPULSORY, FP8, WEIGHTS, Program, Row
from .stages import symbols
from .symbolic import DistinctExperts, Factor, Monomial, N, Poly, Symbol, symbol

Numbers = int | NDArray[Any]  # an int if all points have the same, else an array [points]: int64, or Python's ints
Inputs = Mapping[str, Numbers]  # by the name of a size
LIMIT = 2**63 - 1


class Plan:
    """The columns of one program; each is the largest of several sums of products."""

    def __init__(
        self, program: Program, sides: Resolution, crops: bool, engine: Engine, *, pages: int, window: int | None
    ) -> None:
        def sums(*rows: Row) -> tuple[Poly, ...]:
            return tuple(Poly(dict(zip(program.monomials, row, strict=False))) for row in rows)

        totals = program.rows("")
        self._sides, self._crops, self._engine = sides, crops, engine
        self._window, self._pages = window, pages
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
            "fp8_tensor_flops": sums(totals[FP8]),
        }
        self._monomials = {m: Poly({m: 1}) for polys in self._columns.values() for poly in polys for m in poly.terms}

    def columns(self, sizes: Inputs, stage: str) -> Mapping[str, Numbers]:
        """Every column except the inputs, at points of these sizes. Raises ColumnOverflow if a number does not fit."""
        most = self._symbols({name: int(np.max(size)) for name, size in sizes.items()})
        # Twice, since `symbols` halves a product.
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

    def _symbols(self, sizes: Mapping[str, Any]) -> dict[str, Any]:
        rows, cols = sizes["rows"], sizes["cols"]
        tokens = self._pages * image_tokens(self._sides, rows, cols, crops=self._crops)
        text, batch = (sizes["prompt_tokens"], sizes["new_tokens"]), sizes["batch"]
        padded = padded_rows(self._engine, batch, tokens + text[0])
        return symbols(rows, cols, batch, tokens, *text, padded, pages=self._pages, window=self._window)

    def _evaluated(self, values: Values) -> dict[str, Numbers]:
        return {name: reduce(np.maximum, map(values.size, polys)) for name, polys in self._columns.items()}

    def _exact(self, sizes: Inputs, stage: str) -> Mapping[str, Numbers]:
        """The same in Python's integers: fifty times slower, and needed only near the limit."""
        points = max(map(np.size, sizes.values()))

        def own(numbers: Inputs) -> dict[str, NDArray[Any]]:
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
    """The values of sums, products and factors at many points; each product and factor is computed once."""

    def __init__(self, at: Mapping[str, Numbers]) -> None:
        self._at = at
        self._known: dict[Monomial | Factor, Numbers] = {(): 1}

    def size(self, poly: Poly) -> Numbers:
        """The value of a sum, in the memory of its first term, which is new."""
        terms = (c * self.monomial(m) for m, c in poly.terms.items())
        return reduce(iadd, terms) if poly.terms else 0

    def monomial(self, monomial: Monomial) -> Numbers:
        """The value of a product."""
        if monomial not in self._known:
            *others, last = monomial
            value = self._factor(last)
            self._known[monomial] = self.monomial(tuple(others)) * value if others else value
        return self._known[monomial]

    def _factor(self, factor: Factor) -> Numbers:
        if isinstance(factor, Symbol):
            return self._at[factor.label]
        if factor not in self._known:
            inside = self.size(factor.size)
            self._known[factor] = (
                distinct_experts(factor, inside) if isinstance(factor, DistinctExperts) else factor.of(inside)
            )
        return self._known[factor]


def padded_rows(engine: Engine, batch: N, context: N) -> tuple[N, N]:
    """The rows of a step and of a prefill of `batch` pages with `context` tokens: numbers, or arrays."""
    return _step_rows(engine, batch), _step_rows(engine, batch * context)


def _step_rows(engine: Engine, batch: Any) -> Any:
    """`engine.step_rows` of a number, or of every element of an array."""
    if not engine.captured_batches or not isinstance(batch, np.ndarray):
        return engine.step_rows(batch)
    captured = np.array(engine.captured_batches)
    places = np.searchsorted(captured, batch.astype(np.float64))
    return np.where(places < len(captured), captured[np.minimum(places, len(captured) - 1)], batch)


def distinct_experts(factor: DistinctExperts, tokens: Numbers) -> Numbers:
    """`factor.of` for every element, looked up: a power of an array may round differently than that of a number."""
    table = experts_by_tokens(factor)
    experts = table[np.minimum(tokens, len(table) - 1).astype(np.intp)]
    return experts.astype(np.asarray(tokens).dtype, copy=False)  # Python's integers stay Python's


@cache
def experts_by_tokens(factor: DistinctExperts) -> NDArray[np.int64]:
    """The experts that 0, 1, 2, … tokens reach, up to the first number of tokens that reaches all."""
    experts = [factor.of(0)]
    while experts[-1] < factor.experts:
        experts.append(factor.of(len(experts)))
    return np.array(experts)
