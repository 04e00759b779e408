"""What physics allows: no stage runs faster on a device than the floor that its peaks and the compulsory traffic set.

Rates are per second, times are whole nanoseconds.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import ceil, fsum

from ..model.ledger import Ledger

NS = 1e9  # nanoseconds a second


@dataclass(frozen=True, slots=True)
class Device:
    """What a GPU's sheet promises, and what was measured on one; `source` names the sheet.

    Where sheets disagree the rates are the highest and the memory the smallest: so a floor stays a floor.
    """

    name: str  # as its driver reports it
    tensor_flops_per_s: float  # dense bf16, accumulated in fp32
    vector_flops_per_s: float  # fp32, outside the tensor cores
    bandwidth_bytes_per_s: float
    memory_bytes: int
    l2_bytes: int  # of the last cache before DRAM
    source: str
    measured_tensor_flops_per_s: float | None  # a large matmul; None: not measured
    measured_bandwidth_bytes_per_s: float | None  # a copy, bytes read and written

    @property
    def ridge(self) -> float:
        """Tensor FLOPs per compulsory byte above which a stage is bound by the tensor cores, not by memory."""
        return self.tensor_flops_per_s / self.bandwidth_bytes_per_s

    @property
    def as_measured(self) -> Device:
        """This device with its measured ceilings in place of its peaks, where there are any: a goal, not a bound."""
        return replace(
            self,
            tensor_flops_per_s=self.measured_tensor_flops_per_s or self.tensor_flops_per_s,
            bandwidth_bytes_per_s=self.measured_bandwidth_bytes_per_s or self.bandwidth_bytes_per_s,
        )


@dataclass(frozen=True, slots=True)
class Floor:
    """The least time that each resource needs by itself, rounded down."""

    tensor_ns: int
    vector_ns: int
    bandwidth_ns: int

    @property
    def bound(self) -> str:
        """The resource that needs the longest: tensor, vector or bandwidth."""
        times = {"tensor": self.tensor_ns, "vector": self.vector_ns, "bandwidth": self.bandwidth_ns}
        return max(times, key=times.__getitem__)

    @property
    def time_ns(self) -> int:
        """The longest of the three: they may overlap entirely, and nothing is faster."""
        return max(self.tensor_ns, self.vector_ns, self.bandwidth_ns)


def floor(ledger: Ledger, device: Device, path: str = "") -> Floor:
    """The floor of all kernels at or under `path`, on compulsory traffic; a decode's is of all its steps."""
    cost = ledger.total(path)
    return Floor(
        int(cost.tensor_flops * NS / device.tensor_flops_per_s),
        int(cost.vector_flops * NS / device.vector_flops_per_s),
        int(ledger.compulsory(path) * NS / device.bandwidth_bytes_per_s),
    )


def floors(ledger: Ledger, device: Device) -> dict[str, Floor]:
    """The floor of each component by itself; together they exceed the stage's where they are bound differently."""
    return {name: floor(ledger, device, name) for name in ledger.components}


def estimate(ledger: Ledger, device: Device) -> int:
    """Nanoseconds if every kernel ran alone at its own limit, moving what it reads and writes to and from DRAM.

    The sum over lines of the longest of their tensor, vector and traffic times, rounded up; launches are free.
    """
    costs = [line.cost for line in ledger.lines]
    return ceil(
        fsum(
            max(
                cost.tensor_flops * NS / device.tensor_flops_per_s,
                cost.vector_flops * NS / device.vector_flops_per_s,
                cost.moved_bytes * NS / device.bandwidth_bytes_per_s,
            )
            for cost in costs
        )
    )


def attained(floor: Floor, measured_ns: int) -> float:
    """The fraction of a measured time that its floor explains; more than 1 is below the floor."""
    return floor.time_ns / measured_ns


def below_floor(floor: Floor, measured_ns: int) -> bool:
    """Whether a time is too short to be true: then the clock, the count or the device's figures are wrong."""
    return measured_ns < floor.time_ns


def mfu(ledger: Ledger, device: Device, measured_ns: int) -> float:
    """Model FLOPs utilisation: tensor FLOPs over the measured time, as a fraction of the device's."""
    return ledger.total().tensor_flops * NS / measured_ns / device.tensor_flops_per_s


def mbu(ledger: Ledger, device: Device, measured_ns: int) -> float:
    """Memory bandwidth utilisation: compulsory bytes over the measured time, as a fraction of the device's."""
    return ledger.compulsory() * NS / measured_ns / device.bandwidth_bytes_per_s
