"""What a workload needs of a device, in memory and in rates, and how much of it a device holds and serves in time.

Rates stand on the floors of `roofline`: a device that misses a target here misses it in truth, one that meets it may
still miss it. To plan with what software attains, multiply the targets by the attained fraction.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from ..model.analytic import Model
from ..model.geometry import CropGrid, Workload
from ..model.kernels import HALF, INDEX
from ..model.ledger import Ledger
from .roofline import Device

SERVED = ("prefill", "decode")  # one process does both, with one copy of all weights


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes that a stage needs at its fullest; `input_bytes` are pixels and prompt."""

    stage: str
    weight_bytes: int
    kv_cache_bytes: int
    input_bytes: int
    peak_activation_bytes: int

    @property
    def total_bytes(self) -> int:
        """All of it, together."""
        return self.weight_bytes + self.kv_cache_bytes + self.input_bytes + self.peak_activation_bytes


@dataclass(frozen=True, slots=True)
class Fit:
    """Whether a workload fits into a device's memory; `needed_bytes` is the fuller of its `parts`."""

    fits: bool
    needed_bytes: int
    parts: tuple[Memory, ...]


@dataclass(frozen=True, slots=True)
class Target:
    """Times to keep: to the first token, which is prefill, and for each token after, the mean over a decode."""

    ttft_s: float
    tpot_s: float

    def __post_init__(self) -> None:
        for name in ("ttft_s", "tpot_s"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be a positive number of seconds, got {getattr(self, name)!r}")


@dataclass(frozen=True, slots=True)
class Requirement:
    """What a stage needs of a device to keep its target."""

    stage: str
    tensor_flops_per_s: float
    vector_flops_per_s: float
    bandwidth_bytes_per_s: float
    memory_bytes: int

    def shares(self, device: Device) -> dict[str, float]:
        """What is needed as a fraction of what `device` has; all at most 1 where it keeps the target."""
        return {
            "tensor": self.tensor_flops_per_s / device.tensor_flops_per_s,
            "vector": self.vector_flops_per_s / device.vector_flops_per_s,
            "bandwidth": self.bandwidth_bytes_per_s / device.bandwidth_bytes_per_s,
            "memory": self.memory_bytes / device.memory_bytes,
        }

    def constraint(self, device: Device) -> str:
        """The rate of `device` that runs out first."""
        shares = self.shares(device)
        return max(("tensor", "vector", "bandwidth"), key=shares.__getitem__)


def memory(model: Model, work: Workload, attention: str = "flash") -> tuple[Memory, ...]:
    """What prefill needs, and decode at its last step: the pixels are gone by then."""
    ledgers = {stage: model.ledger(stage, work, attention) for stage in SERVED}
    weights = ledgers["prefill"].weight_bytes
    inputs = {"prefill": input_bytes(model, work), "decode": work.batch * INDEX}
    return tuple(
        Memory(stage, weights, ledger.kv_cache_bytes, inputs[stage], ledger.peak_activation_bytes)
        for stage, ledger in ledgers.items()
    )


def input_bytes(model: Model, work: Workload) -> int:
    """Pixels of every view in the model's two-byte type, and the ids of every token of the prompt."""
    pixels = work.sides.base_side**2 + work.grid.crops * (work.sides.crop_side or 0) ** 2
    return work.batch * (pixels * model.architecture.sam.channels * HALF + work.context_tokens * INDEX)


def fits(model: Model, work: Workload, device: Device, attention: str = "flash") -> Fit:
    """Whether weights, KV cache, inputs and activations of prefill and of decode fit, each by itself.

    Not counted: what the driver and the libraries take, and memory lost to fragmentation.
    """
    parts = memory(model, work, attention)
    needed = max(part.total_bytes for part in parts)
    return Fit(needed <= device.memory_bytes, needed, parts)


def largest_batch(model: Model, work: Workload, device: Device, attention: str = "flash") -> int | None:
    """The most pages like that of `work` that fit at once; None if not even one does."""
    return _largest(lambda batch: fits(model, replace(work, batch=batch), device, attention).fits)


def largest_page(model: Model, work: Workload, device: Device, attention: str = "flash") -> CropGrid | None:
    """The page of most crops that fits at the batch of `work`, of grids as square as can be: 1x1, 1x2, 2x2, 2x3, …

    None if not even 1x1 fits, and 1x1 for a resolution without crops.
    """
    if work.sides.crop_side is None:
        return work.grid if fits(model, work, device, attention).fits else None
    nth = _largest(lambda n: fits(model, replace(work, grid=_squarish(n)), device, attention).fits)
    return None if nth is None else _squarish(nth)


def _squarish(n: int) -> CropGrid:
    return CropGrid((n + 1) // 2, n // 2 + 1)


def _largest(holds: Callable[[int], bool]) -> int | None:
    """The largest whole number from 1 on that `holds`, which no number above one that fails does."""
    if not holds(1):
        return None
    good = 1
    while holds(2 * good):
        good *= 2
    bad = 2 * good
    while bad - good > 1:
        middle = (good + bad) // 2
        good, bad = (middle, bad) if holds(middle) else (good, middle)
    return good


def requirements(model: Model, work: Workload, target: Target, attention: str = "flash") -> tuple[Requirement, ...]:
    """What prefill and decode each need of a device to keep their target, on compulsory traffic.

    Only the memory depends on `attention`: both do the same arithmetic, and no traffic between kernels is compulsory.
    """
    return tuple(
        _requirement(model.ledger(part.stage, work), _allowed_s(part.stage, work, target), part.total_bytes)
        for part in memory(model, work, attention)
    )


def _requirement(ledger: Ledger, seconds: float, memory_bytes: int) -> Requirement:
    cost = ledger.total()
    return Requirement(
        ledger.stage,
        cost.tensor_flops / seconds,
        cost.vector_flops / seconds,
        ledger.compulsory() / seconds,
        memory_bytes,
    )


def _allowed_s(stage: str, work: Workload, target: Target) -> float:
    """Seconds for the whole stage."""
    return target.ttft_s if stage == "prefill" else target.tpot_s * work.new_tokens


def serves(model: Model, work: Workload, device: Device, target: Target, attention: str = "flash") -> bool:
    """Whether `work` fits and the floors of both stages keep the target: all that they need, `device` has."""
    needed = requirements(model, work, target, attention)
    return all(share <= 1 for each in needed for share in each.shares(device).values())


def batches(
    model: Model, work: Workload, devices: Iterable[Device], target: Target, attention: str = "flash"
) -> dict[str, int | None]:
    """By device, the most pages like that of `work` that it serves at once; None where it serves not even one."""

    def most(device: Device) -> int | None:
        return _largest(lambda batch: serves(model, replace(work, batch=batch), device, target, attention))

    return {device.name: most(device) for device in devices}
