"""What one stage costs for one workload: whole numbers that add, in total, by part and by kernel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import mul
from typing import TYPE_CHECKING, Any, NamedTuple

from .cost import Cost
from .device_times import DeviceTimes
from .engine import REFERENCE
from .geometry import Workload
from .l2_cache import Cached, DramTraffic, stage_traffic
from .precision import NATIVE_NAME
from .program import COMPULSORY, FP8, NEEDED, WEIGHTS, Program, Row

if TYPE_CHECKING:
    from .line_work import LineWork, Work


class Needed(NamedTuple):
    """What every implementation of the same function does and moves, under any routing of tokens to experts."""

    tensor_flops: int
    vector_flops: int  # exponentials and the like: all else can be part of a product
    moved_bytes: int  # inputs, outputs, the KV cache, and parameters: once a step
    fp8_tensor_flops: int = 0  # those of the tensor FLOPs whose operands are 8-bit floats


@dataclass(frozen=True, slots=True)
class Line:
    """One kernel of a ledger: its path, the cost of all its runs, how often it runs, and the parameters it owns."""

    path: str
    cost: Cost
    times: int
    weight_bytes: int


def _dot(row: Row, values: Sequence[int]) -> int:
    return sum(map(mul, row, values))  # a row may be shorter than the values: map stops at its end


@dataclass(frozen=True, slots=True)
class Ledger:
    """What one stage costs for one workload; all numbers are ints. A decode's costs cover all its `new_tokens` steps.

    A path names a kernel ("decoder/attn/q_proj") or all kernels under it ("decoder/attn", "decoder").
    """

    stage: str
    work: Workload
    attention: str
    _program: Program
    _point: Mapping[str, int]
    _values: list[int]
    _hardware: DeviceTimes | None
    engine: str
    precision: str = NATIVE_NAME

    def total(self, path: str = "") -> Cost:
        """Cost of all kernels at or under `path`, by default of the whole stage.

        Raises ValueError, which names the first parts of paths, if no kernel has such a path.
        """
        return self._cost(self._program.rows(path))

    def _cost(self, rows: Sequence[Row]) -> Cost:
        tensor, vector, read, write, fp8 = (_dot(row, self._values) for row in (*rows[:4], rows[FP8]))
        return Cost(tensor, vector, read, write, fp8)

    @property
    def tensor_flops(self) -> int:
        """One number of `total()`, as the next three are: a row takes four of them, and no cost has to be made."""
        return _dot(self._program.rows("")[0], self._values)

    @property
    def vector_flops(self) -> int:
        return _dot(self._program.rows("")[1], self._values)

    @property
    def read_bytes(self) -> int:
        return _dot(self._program.rows("")[2], self._values)

    @property
    def write_bytes(self) -> int:
        return _dot(self._program.rows("")[3], self._values)

    @property
    def fp8_tensor_flops(self) -> int:
        """Those of the tensor FLOPs whose operands are 8-bit floats; the others have two bytes, or four."""
        return _dot(self._program.rows("")[FP8], self._values)

    @property
    def components(self) -> dict[str, Cost]:
        """Cost by the first part of a path ("sam", "decoder", …), in the order in which they run."""
        return {name: self.total(name) for name in self._program.components}

    @property
    def paths(self) -> tuple[str, ...]:
        """Every kernel's path, once, in the order in which kernels run."""
        return self._program.paths

    @property
    def lines(self) -> list[Line]:
        """Every kernel in the order in which they run: crops after the global view, repeated layers once."""
        return [
            Line(
                k.path,
                self._cost(rows),
                k.times,
                _dot(rows[WEIGHTS], self._values),
            )
            for k, rows in self._program.lines
        ]

    def weights(self, path: str = "") -> int:
        """Bytes of the parameters that the kernels at or under `path` own. Raises ValueError as `total` does."""
        return _dot(self._program.rows(path)[WEIGHTS], self._values)

    def compulsory(self, path: str = "") -> int:
        """Bytes that every implementation must move for the kernels at or under `path`, in all steps together.

        In each step: the parameters in use, once; the KV cache, read and written once; the stage's inputs and outputs.
        Raises ValueError as `total` does.
        """
        return _dot(self._program.rows(path)[COMPULSORY], self._values)

    def needed(self, path: str = "") -> Needed:
        """What no implementation leaves out of the kernels at or under `path`. Raises ValueError as `total` does."""
        return Needed(*(_dot(row, self._values) for row in self._program.rows(path)[NEEDED:FP8]))

    @property
    def compulsory_bytes(self) -> int:
        """Compulsory bytes of the whole stage."""
        return self.compulsory()

    @property
    def steps(self) -> int:
        """How often the stage's kernels run: `new_tokens` times for a decode, else once."""
        return self.work.new_tokens if self._program.steps else 1

    @property
    def tokens(self) -> int:
        """Tokens of a page that the stage reads: those of its image, or its context; in a decode's last step, keys."""
        return self._point[self._program.tokens]

    @property
    def unmeasured(self) -> str | None:
        """What of the stage was never measured on a GPU, in words; None if all of it was."""
        return self._program.unmeasured

    @property
    def lines_of_work(self) -> LineWork:
        """What decides how long the lines of this stage take, at any workload; needs numpy."""
        return self._program.line_work

    def work_of_lines(self) -> Work:
        """The same at this workload: arrays [lines]."""
        return self._program.line_work.at(self._point)

    def dram(self, device: Cached) -> list[DramTraffic]:
        """Bytes that each kernel moves between DRAM and the L2 of `device`, by the rule of `l2_cache`."""
        return stage_traffic(self._program.sequence, self._point, self.steps, device.l2_bytes)

    @property
    def dram_unknown(self) -> str | None:
        """Why DRAM traffic is not known: nobody has compared it with a GPU's counters; None if somebody has."""
        if self.engine != REFERENCE.name:
            return f"DRAM traffic is known for {REFERENCE.name} alone, not for {self.engine}"
        if self.precision != NATIVE_NAME:
            return f"DRAM traffic is known for {NATIVE_NAME} weights alone, not for {self.precision}"
        return f"DRAM traffic is not known for {self.unmeasured}" if self.unmeasured else None

    def dram_bytes(self, device: Cached | str) -> int:
        """Bytes that all kernels together move between DRAM and the L2 of `device`, a `Device` or its name.

        Raises ValueError, with the reason, if nobody knows it.
        """
        if unknown := self.dram_unknown:
            raise ValueError(unknown)
        cached: Cached = self._of_hardware.device(device) if isinstance(device, str) else device
        return sum(line.read_bytes + line.write_bytes for line in self.dram(cached))

    def floor(self, device: object) -> Any:
        """The stage's `Floor` on a `Device` or on a device of that name ("h200"): nothing runs faster.

        Raises ConfigError, which names the known devices, for an unknown one.
        """
        return self._of_hardware.floor(self, device)

    def estimate(self, device: object) -> Any:
        """The stage's `Estimate` on a `Device` or on a device of that name: `time_ns, low_ns, high_ns, terms`.

        Raises CalibrationError, which names the remedy, if nothing is known of the device's times; ConfigError as
        `floor` does.
        """
        return self._of_hardware.estimate(self, device)

    @property
    def _of_hardware(self) -> DeviceTimes:
        if self._hardware is None:
            raise ValueError("this ledger knows no devices: get its model from load_model, or from ocrsweep_model")
        return self._hardware

    @property
    def weight_bytes(self) -> int:
        """Bytes of the parameters that must be resident for the stage."""
        return self.weights()

    @property
    def kv_cache_bytes(self) -> int:
        """Bytes of the KV cache at the stage's end; 0 for vision."""
        return _dot(self._program.cache, self._values)

    @property
    def peak_activation_bytes(self) -> int:
        """The most bytes allocated at once beyond weights and inputs, less what the stage adds to the KV cache."""
        return self._peak()[0]

    @property
    def peak_path(self) -> str:
        """The path of the kernel during which activations peak."""
        return self._peak()[1]

    def _peak(self) -> tuple[int, str]:
        values = self._values
        return max((sum([c * values[i] for i, c in terms]), path) for terms, path in self._program.peak_terms)
