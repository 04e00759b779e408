"""Every number of a point: its unit, how it is compared with a baseline, and how it is shown."""

from __future__ import annotations

from dataclasses import dataclass

from ..model.geometry import Workload
from .result import Analytic, PointResult

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


def counted_numbers(point: PointResult | Workload, analytic: Analytic) -> dict[str, int]:
    """The whole numbers that a baseline holds for a point, or for a point of this workload."""
    return {
        "image_tokens": point.image_tokens,
        "context_tokens": point.context_tokens,
        "tensor_flops": analytic.tensor_flops,
        "vector_flops": analytic.vector_flops,
        "read_bytes": analytic.read_bytes,
        "write_bytes": analytic.write_bytes,
        "weight_bytes": analytic.weight_bytes,
        "kv_cache_bytes": analytic.kv_cache_bytes,
        "peak_activation_bytes": analytic.peak_activation_bytes,
    }


def values(point: PointResult) -> dict[str, float | None]:
    """Every metric of this point; those per token are of decode only."""
    costs, floor, vendor = point.analytic, point.floor, point.vendor
    flops = costs.tensor_flops + costs.vector_flops
    moved = costs.read_bytes + costs.write_bytes
    tokens = point.new_tokens if point.stage == "decode" else None
    device = vendor.device_ns.median if vendor else None
    wall = vendor.wall_ns.median if vendor and vendor.wall_ns else None
    by_device = vendor is not None and vendor.clock != "host"  # the host's clock sees no difference
    overhead = wall - device if device and wall and by_device else None
    return {
        **counted_numbers(point, costs),
        "floor_ns": floor.time_ns if floor else None,
        "attained": floor.attained if floor else None,
        "device_ns": device,
        "wall_ns": wall,
        "launch_overhead_ns": overhead,
        "flops": flops,
        "moved_bytes": moved,
        "intensity": flops / moved if moved else None,
        "flops_per_token": flops / tokens if tokens else None,
        "moved_bytes_per_token": moved / tokens if tokens else None,
    }
