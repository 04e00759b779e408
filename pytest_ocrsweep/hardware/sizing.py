"""What a workload needs from a device, in memory and in rates, and how much work a device holds and serves in time.

Rates come from floors: a device that misses a target here misses it in practice; one that meets it here may still miss
it. `serving` says what to expect.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from itertools import count

from ..model.analytic import Model
from ..model.geometry import CropGrid, Workload
from ..model.kernels import HALF, INDEX
from ..model.ledger import Ledger
from ..model.positions import page
from ..model.stages import STAGES, Latency
from .devices import Device


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes that a process needs when the stage needs the most; `input_bytes` are pixels and token ids."""

    stage: str
    weight_bytes: int
    kv_cache_bytes: int
    input_bytes: int
    peak_activation_bytes: int

    @property
    def total_bytes(self) -> int:
        """The sum of the four."""
        return self.weight_bytes + self.kv_cache_bytes + self.input_bytes + self.peak_activation_bytes


@dataclass(frozen=True, slots=True)
class Fit:
    """Whether a workload fits into a device's memory and the model's positions.

    `needed_bytes` is the largest total of its `parts`.
    """

    fits: bool
    needed_bytes: int
    parts: tuple[Memory, ...]


@dataclass(frozen=True, slots=True)
class Target:
    """Times to keep, in seconds: to the first token (a prefill), and per output token (the mean over a decode).

    Raises ValueError for a time that is not positive.
    """

    ttft_s: float
    tpot_s: float

    def __post_init__(self) -> None:
        for name in ("ttft_s", "tpot_s"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be a positive number of seconds, got {getattr(self, name)!r}")

    def seconds(self, latency: Latency) -> float:
        """The target for that latency."""
        return {Latency.TTFT: self.ttft_s, Latency.TPOT: self.tpot_s}[latency]


@dataclass(frozen=True, slots=True)
class Requirement:
    """What a stage needs from a device to keep its target."""

    stage: str
    tensor_flops_per_s: float
    vector_flops_per_s: float
    bandwidth_bytes_per_s: float  # from DRAM, or from an L2
    memory_bytes: int
    steps_per_s: float = 0  # in each of which an L2 may give as much as it holds
    fp8_tensor_flops_per_s: float = 0  # those of the tensor FLOPs whose operands are 8-bit floats

    def shares(self, device: Device) -> dict[str, float]:
        """What is needed as a fraction of what `device` has; if the device keeps the target, none exceeds 1."""
        from_dram = max(0, self.bandwidth_bytes_per_s - self.steps_per_s * device.l2_bytes)
        return {
            "tensor": device.in_two_bytes(self.tensor_flops_per_s, self.fp8_tensor_flops_per_s)
            / device.tensor_flops_per_s,
            "vector": self.vector_flops_per_s / device.vector_flops_per_s,
            "bandwidth": from_dram / device.bandwidth_bytes_per_s,
            "memory": self.memory_bytes / device.memory_bytes,
        }

    def constraint(self, device: Device) -> str:
        """The rate that is the scarcest on `device`: tensor, vector or bandwidth."""
        shares = self.shares(device)
        return max(("tensor", "vector", "bandwidth"), key=shares.__getitem__)


def memory(model: Model, work: Workload, attention: str = "flash") -> tuple[Memory, ...]:
    """What each stage with a latency needs: prefill, and decode at its last step, when the pixels are freed.

    One process runs them all with one copy of the weights.
    """
    ledgers = [model.ledger(name, work, attention) for name, stage in STAGES.items() if stage.latency]
    weights = max(ledger.weight_bytes for ledger in ledgers)
    return tuple(
        Memory(
            ledger.stage,
            weights,
            ledger.kv_cache_bytes,
            work.batch * INDEX if STAGES[ledger.stage].per_token else input_bytes(model, work),
            ledger.peak_activation_bytes,
        )
        for ledger in ledgers
    )


def input_bytes(model: Model, work: Workload) -> int:
    """The pixels of every view in the model's two-byte type, and the ids of every token in the context."""
    work = work.cut_by(model.architecture.tiling)
    return work.batch * (pixel_values(model, work) * HALF + work.context_tokens * INDEX)


def pixel_values(model: Model, work: Workload) -> int:
    """Numbers in the views of one prompt's pages: pixels times channels."""
    pixels = work.sides.base_side**2 + work.grid.crops * (work.sides.crop_side or 0) ** 2
    return work.pages * pixels * model.architecture.channels


def fits(model: Model, work: Workload, device: Device, attention: str = "flash") -> Fit:
    """Whether prefill and decode, one after the other, fit with weights, KV cache, inputs and activations.

    Nothing fits that needs more positions than the model was made for.
    It does not count what the driver and libraries take, or memory lost to fragmentation. Raises ConfigError for
    products that the device does not do.
    """
    device.in_two_bytes(1, model.precision.fp8_products)  # raises for one that it does not multiply in
    parts = memory(model, work, attention)
    needed = max(part.total_bytes for part in parts)
    return Fit(needed <= device.memory_bytes and _has_positions(model, work), needed, parts)


def _has_positions(model: Model, work: Workload) -> bool:
    return page(work) <= model.architecture.decoder.max_positions


def largest_batch(model: Model, work: Workload, device: Device, attention: str = "flash") -> int | None:
    """The largest batch of pages like that of `work` that fits; None if not even one page fits."""
    return largest(lambda batch: fits(model, replace(work, batch=batch), device, attention).fits)


def largest_page(model: Model, work: Workload, device: Device, attention: str = "flash") -> CropGrid | None:
    """The largest crop grid that fits at the batch of `work`, among the most square ones: 1x1, 1x2, 2x2, 2x3, …

    It has at most as many crops as the model, or the engine, cuts a page into, and no fewer tiles than a page at its
    own resolution has. None if not even the smallest fits. A resolution without crops has 1x1 alone.
    """
    work = work.cut_by(model.architecture.tiling)
    if work.sides.crop_side is None:
        return work.grid if fits(model, work, device, attention).fits else None
    most, native = model.engine.most_crops or model.architecture.most_crops, work.sides.native
    smaller = 0 if native is None else next(n for n in count() if _squarish(n + 1).crops >= native.least_tiles)

    def holds(nth: int) -> bool:
        grid = _squarish(smaller + nth)
        return grid.crops <= most and fits(model, replace(work, grid=grid), device, attention).fits

    nth = largest(holds)
    return None if nth is None else _squarish(smaller + nth)


def _squarish(n: int) -> CropGrid:
    return CropGrid((n + 1) // 2, n // 2 + 1)


def largest(holds: Callable[[int], bool]) -> int | None:
    """The largest number from 1 on for which `holds`; if it fails for a number, it must fail for all above."""
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
    """What prefill and decode each need from a device to keep their target: what no implementation leaves out.

    Only the memory depends on `attention`: both do the same arithmetic, and traffic between kernels is not needed.
    """
    return tuple(
        _requirement(model.ledger(part.stage, work), _seconds(part.stage, work, target), part.total_bytes)
        for part in memory(model, work, attention)
    )


def _requirement(ledger: Ledger, seconds: float, memory_bytes: int) -> Requirement:
    needed = ledger.needed()
    return Requirement(
        ledger.stage,
        needed.tensor_flops / seconds,
        needed.vector_flops / seconds,
        needed.moved_bytes / seconds,
        memory_bytes,
        ledger.steps / seconds,
        needed.fp8_tensor_flops / seconds,
    )


def _seconds(name: str, work: Workload, target: Target) -> float:
    """The time that the target leaves for the whole stage."""
    stage = STAGES[name]
    assert stage.latency is not None  # `memory` leaves such stages out
    return target.seconds(stage.latency) * stage.steps(work.new_tokens)


def serves(model: Model, work: Workload, device: Device, target: Target, attention: str = "flash") -> bool:
    """Whether `work` fits into `device` and the positions, and the floors of prefill and decode keep the target."""
    needed = requirements(model, work, target, attention)
    return _has_positions(model, work) and all(share <= 1 for each in needed for share in each.shares(device).values())


def batches(
    model: Model, work: Workload, devices: Iterable[Device], target: Target, attention: str = "flash"
) -> dict[str, int | None]:
    """By device, the largest batch of pages like that of `work` that it serves in time; None if not even one page."""

    def most(device: Device) -> int | None:
        return largest(lambda batch: serves(model, replace(work, batch=batch), device, target, attention))

    return {device.name: most(device) for device in devices}
