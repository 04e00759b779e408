"""What decides how long each line of a stage takes: launches, the bytes that memory must move, the work that limits it.

Every number is a row of coefficients over one list of monomials, as in `program`, so that a whole stage is one product
of a matrix and a vector. Lines that differ only in how often they run are one row here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

try:
    import numpy as np
    from numpy.typing import NDArray
except ModuleNotFoundError:
    raise ModuleNotFoundError("numpy is not installed: pip install 'pytest-ocrsweep[columns]'", name="numpy") from None

from .kernels import Kernel, Pattern
from .symbolic import Monomial, Poly, Size, poly, product, summed, symbol

Array = NDArray[np.float64]
NUMBERS = 6  # of a line, in the order of `Work`


class Work(NamedTuple):
    """The numbers of each line over all its runs, as arrays [lines], or [lines, points]."""

    launches: Array  # CUDA kernels
    runs: Array
    first_bytes: Array  # parameters, inputs, outputs and the KV cache: no cache holds them yet
    again_bytes: Array  # parameters that one run reads more than once
    activation_bytes: Array  # written by one kernel and read by the next
    work: Array  # what the line's pattern counts


class LineWork:
    """The lines of a stage, in the order of its ledger unless equal lines are `merged`."""

    def __init__(self, kernels: Sequence[Kernel], *, per_step: bool, merged: bool) -> None:
        self._monomials: dict[Monomial, int] = {}
        rows = [(k, i, self._rows(k, per_step)) for i, k in enumerate(kernels) if _runs(k)]
        groups: dict[object, list[tuple[Kernel, int, list[Poly]]]] = {}
        for k, i, polys in rows:
            groups.setdefault((k.pattern, k.fp8, k.launches, tuple(polys)) if merged else i, []).append((k, i, polys))
        self.index = [group[0][1] for group in groups.values()]  # of the first kernel of each line
        self.patterns = [group[0][0].pattern for group in groups.values()]
        self.paths = [group[0][0].path for group in groups.values()]
        self.fp8 = np.array([group[0][0].fp8 for group in groups.values()], dtype=bool)  # [lines]
        times = [sum(k.times for k, _, _ in group) for group in groups.values()]
        self._matrix = np.zeros((NUMBERS, len(groups), len(self._monomials)))
        for line, (group, runs) in enumerate(zip(groups.values(), times, strict=True)):
            for number, size in enumerate(group[0][2]):
                for monomial, c in size.terms.items():
                    self._matrix[number, line, self._monomials[monomial]] = c * runs

    def _rows(self, k: Kernel, per_step: bool) -> list[Poly]:
        """The numbers of one run, or of one run in each step together."""
        sizes = [poly(summed(size, "keys", "steps", "all_keys") if per_step else size) for size in _sizes(k)]
        for size in sizes:
            for monomial in size.terms:
                self._monomials.setdefault(monomial, len(self._monomials))
        return sizes

    def at(self, point: Mapping[str, int]) -> Work:
        """Every number of every line at a workload: arrays [lines]."""
        return self._work(np.array([product(monomial, point) for monomial in self._monomials], dtype=np.float64))

    def at_many(self, values: Callable[[Monomial], Any]) -> Work:
        """The same as arrays [lines, points]: `values` gives each monomial a value, or an array [points]."""
        return self._work(np.array(np.broadcast_arrays(*map(values, self._monomials)), dtype=np.float64))

    def _work(self, values: Array) -> Work:
        work = Work(*(self._matrix @ values))
        moves = work.first_bytes + work.again_bytes + work.activation_bytes > 0  # else it does not run at this workload
        return work._replace(launches=work.launches * moves)


def _sizes(k: Kernel) -> tuple[Size, ...]:
    """The numbers of one run: launches, runs, bytes that no cache holds yet, bytes read again, activations, work."""
    parameters: Size = k.read_bytes
    for operand in k.operands:
        parameters = parameters - operand
    gathered = k.used_bytes != 0 and parameters != 0
    distinct = k.used_bytes if gathered else parameters
    activations = k.read_bytes + k.write_bytes - parameters - k.io_bytes
    runs = symbol("views") if k.by_page else 1
    return k.launches * runs, runs, distinct + k.io_bytes, parameters - distinct, activations, k.work


def _runs(k: Kernel) -> bool:
    return (k.read_bytes != 0 or k.write_bytes != 0) and k.pattern is not Pattern.ABSORBED
