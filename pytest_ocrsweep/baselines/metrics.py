"""Every number of a point: its unit, how it is compared with a baseline, and how it is shown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .result import Row

EXACT = "exact"  # compared with ==
GATED = "gated"  # compared by the gate's rule
DERIVED = "derived"  # follows from others: shown, never stored or compared


@dataclass(frozen=True, slots=True)
class Metric:
    """Stored in `unit`; `heading` names the unit it is shown in, which is `scale` stored ones."""

    unit: str
    tolerance: str
    heading: str
    scale: int = 1
    digits: int = 0

    def show(self, value: float | None) -> str:
        """Scaled and rounded, for people; a dash where there is no number."""
        return "-" if value is None else f"{value / self.scale:,.{self.digits}f}"


METRICS = {
    "image_tokens": Metric("tokens", EXACT, "image tokens"),
    "context_tokens": Metric("tokens", EXACT, "tokens"),
    "tensor_flops": Metric("FLOP", EXACT, "tensor TFLOP", 10**12, 3),
    "vector_flops": Metric("FLOP", EXACT, "vector TFLOP", 10**12, 3),
    "read_bytes": Metric("bytes", EXACT, "GB read", 10**9, 2),
    "write_bytes": Metric("bytes", EXACT, "GB written", 10**9, 2),
    "weight_bytes": Metric("bytes", EXACT, "weights GB", 10**9, 3),
    "kv_cache_bytes": Metric("bytes", EXACT, "KV MB", 10**6, 1),
    "peak_activation_bytes": Metric("bytes", EXACT, "peak GB", 10**9, 3),
    "floor_ns": Metric("ns", DERIVED, "floor ms", 10**6, 3),
    "attained": Metric("fraction", GATED, "attained", 1, 3),
    "device_ns": Metric("ns", GATED, "device ms", 10**6, 3),
    "wall_ns": Metric("ns", DERIVED, "wall ms", 10**6, 1),
    "launch_overhead_ns": Metric("ns", DERIVED, "launch ms", 10**6, 1),
    "flops": Metric("FLOP", DERIVED, "TFLOP", 10**12, 3),
    "moved_bytes": Metric("bytes", DERIVED, "GB moved", 10**9, 2),
    "intensity": Metric("FLOP/byte", DERIVED, "FLOP/byte", 1, 1),
    "flops_per_token": Metric("FLOP", DERIVED, "GFLOP/token", 10**9, 3),
    "moved_bytes_per_token": Metric("bytes", DERIVED, "GB/token", 10**9, 3),
}
COUNTED = tuple(name for name, metric in METRICS.items() if metric.tolerance == EXACT)


def counted_numbers(row: Row) -> dict[str, int]:
    """The whole numbers that a baseline holds for this point."""
    numbers: Mapping[str, int] = {
        "image_tokens": row["image_tokens"],
        "context_tokens": row["context_tokens"],
        **row["analytic"],
    }
    return {name: numbers[name] for name in COUNTED}


def values(row: Row) -> dict[str, float | None]:
    """Every metric of this point; those per token are of decode only."""
    numbers = counted_numbers(row)
    flops = numbers["tensor_flops"] + numbers["vector_flops"]
    moved = numbers["read_bytes"] + numbers["write_bytes"]
    tokens = row["new_tokens"] if row["stage"] == "decode" else None
    vendor, floor = row["vendor"] or {}, row["floor"] or {}
    device, wall = (vendor.get(name, {}).get("median") for name in ("device_ns", "wall_ns"))
    launched = device and wall and vendor["clock"] != "host"  # the host's clock sees no difference
    return {
        **numbers,
        "floor_ns": floor.get("time_ns"),
        "attained": floor.get("attained"),
        "device_ns": device,
        "wall_ns": wall,
        "launch_overhead_ns": wall - device if launched else None,
        "flops": flops,
        "moved_bytes": moved,
        "intensity": flops / moved if moved else None,
        "flops_per_token": flops / tokens if tokens else None,
        "moved_bytes_per_token": moved / tokens if tokens else None,
    }
