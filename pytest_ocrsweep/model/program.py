"""A stage laid out once for every workload: the numbers of its kernels as coefficients over shared monomials."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from itertools import zip_longest
from typing import TYPE_CHECKING

from .kernels import Kernel
from .liveness import highest
from .symbolic import Monomial, Size, poly, product, summed

if TYPE_CHECKING:
    from .line_work import LineWork

COMPULSORY, WEIGHTS, NEEDED, FP8 = 4, 5, 6, 10  # places in a kernel's rows, after the four costs; four are needed
Row = tuple[int, ...]  # coefficients of a program's monomials, in their order; those that are left out at the end are 0


class Program:
    """A stage laid out once: its kernels over a workload's symbols, and their sums.

    Every number is a row of coefficients over one list of monomials. A ledger evaluates that list once, and then each
    of its numbers is a dot product. If the kernels are one of a workload's `steps`, costs are summed over all of them.
    `window` is how many new tokens each step sees at most; None: all. `cache` is the bytes of the KV cache at the end,
    `growth` those of them that the kernels allocate. `tokens` names the size of a page that the stage reads.
    """

    def __init__(
        self,
        kernels: Iterable[Kernel],
        cache: Size,
        growth: Size,
        *,
        steps: bool,
        window: int | None = None,
        tokens: str = "context_tokens",
    ) -> None:
        self.steps, self.window, self.tokens = steps, window, tokens
        self.sequence = sequence = list(kernels)
        self._monomials: dict[Monomial, int] = {}
        self.lines = [
            (k, self._line(k, steps)) for k in sequence if k.tensor_flops != 0 or k.vector_flops != 0 or _moves(k)
        ]
        self.cache = self._row(cache)
        self.peaks = [(self._row(size), path) for size, path in highest(sequence, growth)]
        self.peak_terms = [([(i, c) for i, c in enumerate(row) if c], path) for row, path in self.peaks]  # most are 0
        self._totals: dict[str, tuple[Row, ...]] = {}

    def _line(self, k: Kernel, steps: bool) -> tuple[Row, ...]:
        """A kernel's rows, in the order that `rows` has."""
        costs = (k.tensor_flops, k.vector_flops, k.read_bytes, k.write_bytes, k.used_bytes + k.io_bytes)
        summands = (summed(size, "keys", "steps", "all_keys") if steps else size for size in costs)
        return (
            *(self._row(size, k.times) for size in summands),
            self._row(k.weight_bytes, k.times),
            *(self._row(summed(size, "keys", "steps", "all_keys") if steps else size) for size in _needed(k)),
            self._row(summed(k.tensor_flops, "keys", "steps", "all_keys") if steps else k.tensor_flops, k.times)
            if k.fp8
            else (),
        )

    def _row(self, size: Size, times: int = 1) -> Row:
        if not size:
            return ()
        terms = poly(size).terms
        for monomial in terms:
            self._monomials.setdefault(monomial, len(self._monomials))
        row = [0] * len(self._monomials)
        for monomial, coefficient in terms.items():
            row[self._monomials[monomial]] = coefficient * times
        return tuple(row)

    @property
    def monomials(self) -> tuple[Monomial, ...]:
        """The monomials that rows have coefficients for, in the order of a row."""
        return tuple(self._monomials)

    def values(self, point: Mapping[str, int]) -> list[int]:
        """The value of each monomial at a workload, in the order of `monomials`."""
        return [product(monomial, point) for monomial in self._monomials]

    def rows(self, path: str) -> tuple[Row, ...]:
        """Eleven rows that sum the kernels at or under `path`; "" sums all kernels.

        In order: tensor FLOPs, vector FLOPs, bytes read, bytes written, compulsory bytes, weight bytes; and what no
        implementation leaves out of tensor FLOPs, vector FLOPs, bytes, and tensor FLOPs of 8-bit floats; then all
        tensor FLOPs of 8-bit floats. Raises ValueError, which names the first parts of paths, if no kernel has such a
        path.
        """
        if path not in self._totals:
            chosen = [rows for k, rows in self.lines if not path or f"{k.path}/".startswith(f"{path}/")]
            if not chosen:
                raise ValueError(f"no line at {path!r}: the first parts are {', '.join(self.components)}")
            self._totals[path] = tuple(_added(column) for column in zip(*chosen, strict=True))
        return self._totals[path]

    @cached_property
    def unmeasured(self) -> str | None:
        """What of it was never measured on a GPU, in words; None if all of it was."""
        if self.window is not None:
            return f"steps with a window of {self.window} new tokens"
        if "patch_encoder" in self.components:
            return "an encoder of patches at a page's own resolution"
        if "query_encoder" in self.components:
            return "an encoder with queries"
        dense = "decoder" in self.components and not any(path.startswith("decoder/router") for path in self.paths)
        return "a decoder without experts" if dense else None

    @cached_property
    def line_work(self) -> LineWork:
        """What decides how long each line takes, equal lines merged; needs numpy."""
        from .line_work import LineWork

        return LineWork(self.sequence, per_step=self.steps, merged=True)

    @cached_property
    def paths(self) -> tuple[str, ...]:
        """Every kernel's path, once, in the order in which kernels run."""
        return tuple(dict.fromkeys(k.path for k, _ in self.lines))

    @cached_property
    def components(self) -> tuple[str, ...]:
        """The first part of every path, once, in the order in which kernels run."""
        return tuple(dict.fromkeys(k.path.split("/")[0] for k, _ in self.lines))


def _needed(k: Kernel) -> tuple[Size, Size, Size, Size]:
    """What no implementation can leave out, of all runs, under any routing.

    Tensor FLOPs, vector FLOPs, bytes, and those of the tensor FLOPs that are of 8-bit floats.
    """
    least = k.used_bytes if k.least_bytes is None or k.used_bytes == 0 else k.least_bytes
    tensor = k.tensor_flops * k.times - k.unneeded
    return tensor, k.functions, (least + k.io_bytes) * k.times - k.unneeded_bytes, tensor if k.fp8 else 0


def _moves(k: Kernel) -> bool:
    return k.read_bytes != 0 or k.write_bytes != 0


def _added(rows: Sequence[Row]) -> Row:
    return tuple(map(sum, zip_longest(*rows, fillvalue=0)))
