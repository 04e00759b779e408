"""What a piece of work costs: whole numbers that add."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import mul

from .geometry import Workload
from .l2_cache import Cached, Traffic, stage_traffic
from .program import COMPULSORY, WEIGHTS, Program, Row


@dataclass(frozen=True, slots=True)
class Cost:
    """FLOPs and kernel-by-kernel bytes; costs add, and repeat by a whole number."""

    tensor_flops: int = 0
    vector_flops: int = 0
    read_bytes: int = 0
    write_bytes: int = 0

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            self.tensor_flops + other.tensor_flops,
            self.vector_flops + other.vector_flops,
            self.read_bytes + other.read_bytes,
            self.write_bytes + other.write_bytes,
        )

    def __mul__(self, times: int) -> Cost:
        return Cost(
            self.tensor_flops * times,
            self.vector_flops * times,
            self.read_bytes * times,
            self.write_bytes * times,
        )

    __rmul__ = __mul__

    @property
    def flops(self) -> int:
        """Tensor and vector FLOPs together."""
        return self.tensor_flops + self.vector_flops

    @property
    def moved_bytes(self) -> int:
        """Bytes read and written, kernel by kernel."""
        return self.read_bytes + self.write_bytes


@dataclass(frozen=True, slots=True)
class Line:
    """One kernel of a ledger: its path, what all its runs cost, how often it runs, the parameters it owns."""

    path: str
    cost: Cost
    times: int
    weight_bytes: int


def _dot(row: Row, values: Sequence[int]) -> int:
    return sum(map(mul, row, values))  # a row ends at its last monomial: map stops there


@dataclass(frozen=True, slots=True)
class Ledger:
    """What one stage costs for one workload, in total, by part and by kernel. All numbers are whole.

    A decode's costs are of all its `new_tokens` steps.
    """

    stage: str
    work: Workload
    attention: str
    _program: Program
    _point: Mapping[str, int]
    _values: list[int]

    def total(self, path: str = "") -> Cost:
        """Cost of every kernel at or under `path`, such as "decoder/attn"; ValueError where there is none."""
        return Cost(*(_dot(row, self._values) for row in self._program.rows(path)[:4]))

    @property
    def components(self) -> dict[str, Cost]:
        """The first parts of the paths ("sam", "decoder", …), in the order they run, and what each costs."""
        return {name: self.total(name) for name in self._program.components}

    @property
    def paths(self) -> tuple[str, ...]:
        """Every kernel's path, in the order they run, once."""
        return self._program.paths

    @property
    def lines(self) -> list[Line]:
        """Every kernel, in the order they run: crops after the global view, repeated layers once."""
        return [
            Line(
                k.path,
                Cost(*(_dot(row, self._values) for row in rows[:4])),
                k.times,
                _dot(rows[WEIGHTS], self._values),
            )
            for k, rows in self._program.lines
        ]

    def weights(self, path: str = "") -> int:
        """Bytes of the parameters that the kernels at or under `path` own."""
        return _dot(self._program.rows(path)[WEIGHTS], self._values)

    def compulsory(self, path: str = "") -> int:
        """Bytes that no implementation can do without, for the kernels at or under `path`, of a decode in every step.

        Each parameter that is used, once a pass; the KV cache, read and written once; the stage's inputs and outputs.
        """
        return _dot(self._program.rows(path)[COMPULSORY], self._values)

    @property
    def compulsory_bytes(self) -> int:
        """The same of the whole stage."""
        return self.compulsory()

    def dram(self, device: Cached) -> list[Traffic]:
        """What each kernel moves to and from DRAM behind the L2 of `device`, by the rule of `residency`."""
        steps = self.work.new_tokens if self.stage == "decode" else 1
        return stage_traffic(self._program.sequence, self._point, steps, device.l2_bytes)

    def dram_bytes(self, device: Cached) -> int:
        """Bytes that all kernels together move to and from DRAM behind the L2 of `device`."""
        return sum(line.read_bytes + line.write_bytes for line in self.dram(device))

    @property
    def weight_bytes(self) -> int:
        """Parameters that must be resident for the stage, in bytes."""
        return self.weights()

    @property
    def kv_cache_bytes(self) -> int:
        """The KV cache at the stage's end, in bytes; 0 for vision."""
        return _dot(self._program.cache, self._values)

    @property
    def peak_activation_bytes(self) -> int:
        """Most bytes allocated at once, beyond weights and inputs, less the KV cache that the stage adds."""
        return self._peak()[0]

    @property
    def peak_path(self) -> str:
        """The kernel during which that is."""
        return self._peak()[1]

    def _peak(self) -> tuple[int, str]:
        values = self._values
        return max((sum([c * values[i] for i, c in terms]), path) for terms, path in self._program.peak_terms)
