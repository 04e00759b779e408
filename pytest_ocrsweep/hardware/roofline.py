"""Floors: no stage runs faster on a device than its peak rates allow for what no implementation leaves out.

Times are whole nanoseconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, fsum

from ..model.cost import Cost
from ..model.ledger import Ledger
from .devices import Device

NS = 1e9  # nanoseconds in a second


@dataclass(frozen=True, slots=True)
class Floor:
    """The least time that each resource alone needs, rounded down to nanoseconds."""

    tensor_ns: int
    vector_ns: int
    bandwidth_ns: int

    @property
    def bound(self) -> str:
        """The resource that needs the most time: tensor, vector or bandwidth."""
        times = {"tensor": self.tensor_ns, "vector": self.vector_ns, "bandwidth": self.bandwidth_ns}
        return max(times, key=times.__getitem__)

    @property
    def time_ns(self) -> int:
        """The longest of the three times: the resources may work at once, and nothing is faster."""
        return max(self.tensor_ns, self.vector_ns, self.bandwidth_ns)


def floor(ledger: Ledger, device: Device, path: str = "") -> Floor:
    """The floor for all kernels at or under `path`, on what no implementation leaves out; over all steps of a decode.

    An L2 may hold as much as fits from the step, or the call, before. Raises ValueError if no kernel has such a path.
    """
    needed = ledger.needed(path)
    held = min(needed.moved_bytes, ledger.steps * device.l2_bytes)
    return Floor(
        int(device.in_two_bytes(needed.tensor_flops, needed.fp8_tensor_flops) * NS / device.tensor_flops_per_s),
        int(needed.vector_flops * NS / device.vector_flops_per_s),
        int((needed.moved_bytes - held) * NS / device.bandwidth_bytes_per_s),
    )


def floors(ledger: Ledger, device: Device) -> dict[str, Floor]:
    """The floor for each component alone; their sum exceeds the stage's floor if different resources bound them."""
    return {name: floor(ledger, device, name) for name in ledger.components}


def kernel_limit(ledger: Ledger, device: Device) -> int:
    """Nanoseconds that the kernels need one by one, if all that they read and write passes DRAM.

    It sums what each line needs at least, and rounds up; launches cost nothing.
    """
    return ceil(fsum(least_ns(line.cost, device) for line in ledger.lines))


def least_ns(cost: Cost, device: Device) -> float:
    """The longest of the times that the tensor FLOPs, the vector FLOPs and the bytes moved take at the peak rates."""
    return max(
        device.in_two_bytes(cost.tensor_flops, cost.fp8_tensor_flops) * NS / device.tensor_flops_per_s,
        cost.vector_flops * NS / device.vector_flops_per_s,
        cost.moved_bytes * NS / device.bandwidth_bytes_per_s,
    )


def attained(floor: Floor, measured_ns: int) -> float:
    """The floor as a fraction of a measured time; more than 1 if the time is below the floor."""
    return floor.time_ns / measured_ns


def mfu(ledger: Ledger, device: Device, measured_ns: int) -> float:
    """Model FLOPs utilisation: tensor FLOPs per second of measured time, as a fraction of the device's rate.

    FLOPs of 8-bit floats count as a fraction of their own rate.
    """
    cost = ledger.total()
    flops = device.in_two_bytes(cost.tensor_flops, cost.fp8_tensor_flops)
    return flops * NS / measured_ns / device.tensor_flops_per_s


def mbu(ledger: Ledger, device: Device, measured_ns: int) -> float:
    """Memory bandwidth utilisation: compulsory bytes per second of measured time, as a fraction of the device's."""
    return ledger.compulsory() * NS / measured_ns / device.bandwidth_bytes_per_s
