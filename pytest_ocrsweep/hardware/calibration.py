"""The constants of one GPU that turn a ledger's lines into time: what each is, where it holds, how well it does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from ..model.kernels import Pattern

# A constant's name, its unit, and what it is. At most 16: a constant is physical, or it is not here.
CONSTANTS = {
    "short_kernel_ns": ("ns", "launch, fill and drain of a kernel that streams"),
    "indexed_kernel_ns": ("ns", "the same of a kernel that computes addresses"),
    "staged_kernel_ns": ("ns", "the same of a kernel that stages tiles or reduces"),
    "dram_bytes_per_s": ("B/s", "read and write of tensors that the L2 does not hold"),
    "l2_bytes_per_s": ("B/s", "the same of tensors that it holds"),
    "strided_elements_per_s": ("1/s", "elements at computed addresses"),
    "transposed_elements_per_s": ("1/s", "elements whose operands lie in different orders"),
    "norm_elements_per_s": ("1/s", "elements of normalised rows"),
    "serial_bytes_per_s": ("B/s", "of kernels that too few threads share: sorts, resizes"),
    "product_flops_per_s": ("FLOP/s", "of large products"),
    "grouped_flops_per_s": ("FLOP/s", "of the experts' products"),
    "batched_flops_per_s": ("FLOP/s", "of many small products"),
    "simt_flops_per_s": ("FLOP/s", "of products outside the tensor cores"),
    "attention_flops_per_s": ("FLOP/s", "of fused attention"),
    "narrow_bytes_per_s": ("B/s", "of attention with a bias, or of one query with scores in memory"),
}

SHEET = ("tensor_flops_per_s", "vector_flops_per_s", "bandwidth_bytes_per_s")  # of a Device
L2 = "l2_bytes"  # nothing grows with it, but constants were fitted beside it; older files do not have it
# Of a device's sheet: what a constant grows with. Launches, which no sheet speaks of, are the same everywhere. What is
# limited by how many threads issue, and how fast, grows as the vector FLOPs do.
RESOURCE = {
    **dict.fromkeys(CONSTANTS, "vector_flops_per_s"),
    **dict.fromkeys(("short_kernel_ns", "indexed_kernel_ns", "staged_kernel_ns"), "nothing"),
    **dict.fromkeys(("dram_bytes_per_s", "l2_bytes_per_s"), "bandwidth_bytes_per_s"),
    **dict.fromkeys(
        ("product_flops_per_s", "grouped_flops_per_s", "batched_flops_per_s", "attention_flops_per_s"),
        "tensor_flops_per_s",
    ),
}
MOST_OFF = 20.0  # times that a constant may be more or less than its sheet suggests: no fit goes beyond
OTHER_DEVICE = 1.5  # how much wider each way an interval is on a device that nobody measured: a guess


class Limit(NamedTuple):
    """The constants that decide how long kernels of one pattern take, and the term that their time belongs to."""

    kernel_ns: str  # the constant of each of its kernels
    rate: str | None  # the constant that limits its work
    term: str  # of an estimate: where its time is summed


LIMITS: dict[Pattern, Limit] = {
    Pattern.STREAM: Limit("short_kernel_ns", None, "elementwise"),
    Pattern.REDUCTION: Limit("staged_kernel_ns", None, "elementwise"),
    Pattern.STRIDED: Limit("indexed_kernel_ns", "strided_elements_per_s", "copies"),
    Pattern.TRANSPOSED: Limit("indexed_kernel_ns", "transposed_elements_per_s", "copies"),
    Pattern.NORM: Limit("indexed_kernel_ns", "norm_elements_per_s", "norms"),
    Pattern.SERIAL: Limit("indexed_kernel_ns", "serial_bytes_per_s", "serial"),
    Pattern.PRODUCT: Limit("staged_kernel_ns", "product_flops_per_s", "products"),
    Pattern.GROUPED: Limit("staged_kernel_ns", "grouped_flops_per_s", "experts"),
    Pattern.BATCHED: Limit("indexed_kernel_ns", "batched_flops_per_s", "products"),
    Pattern.SIMT: Limit("indexed_kernel_ns", "simt_flops_per_s", "products"),
    Pattern.ATTENTION: Limit("staged_kernel_ns", "attention_flops_per_s", "attention"),
    Pattern.NARROW: Limit("staged_kernel_ns", "narrow_bytes_per_s", "attention"),
}
TERMS = ("launches", *dict.fromkeys(limit.term for limit in LIMITS.values()))


def suggested_by(sheet: Mapping[str, float]) -> dict[str, float]:
    """Plausible constants of a GPU with this sheet, from which a fit starts."""
    tensor, vector, bandwidth = (sheet[what] for what in SHEET)
    return {
        "short_kernel_ns": 1500.0,
        "indexed_kernel_ns": 2500.0,
        "staged_kernel_ns": 4000.0,
        "dram_bytes_per_s": 0.9 * bandwidth,
        "l2_bytes_per_s": 1.4 * bandwidth,
        "strided_elements_per_s": vector / 190,
        "transposed_elements_per_s": vector / 500,
        "norm_elements_per_s": vector / 330,
        "serial_bytes_per_s": vector / 480,
        "product_flops_per_s": 0.8 * tensor,
        "grouped_flops_per_s": 0.5 * tensor,
        "batched_flops_per_s": 0.15 * tensor,
        "simt_flops_per_s": vector / 4,
        "attention_flops_per_s": 0.4 * tensor,
        "narrow_bytes_per_s": 0.6 * bandwidth,
    }


@dataclass(frozen=True, slots=True)
class Constant:
    """A constant, and the interval in which it lies if the points that it rests on are drawn anew (90 %)."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Range:
    """What the calibration's points reach, for one stage and attention."""

    batch: int
    tokens: int  # as those of a ledger
    weight_bytes: int | None = None  # of the model that was measured; None in older files


@dataclass(frozen=True, slots=True, eq=False)
class Calibration:
    """Constants by the names of CONSTANTS, with all that says how far they may be trusted."""

    device: str  # as the driver reports it
    sheet: Mapping[str, float]  # of that device, by the names of SHEET and L2
    constants: Mapping[str, Constant]
    spread: Mapping[str, float]  # by stage: 90 % of measured times are at most so many times more or less
    covers: Mapping[str, Range]  # by "stage attention"
    environment: Mapping[str, str]
    fitted: tuple[str, ...]  # the points that the constants rest on
    judged: tuple[str, ...]  # the points, not among them, that `spread` rests on
    scaled_from: str | None = None  # the device that was measured, if this one was not

    @property
    def values(self) -> dict[str, float]:
        """Every constant's value by its name."""
        return {name: constant.value for name, constant in self.constants.items()}

    def spread_of(self, stage: str) -> float:
        """The spread of a stage; of one that was not judged the widest."""
        return self.spread.get(stage, max(self.spread.values()))
