"""Every number of a point: how it is found, its unit, how it is compared with a baseline, and how it is shown."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from ..model.geometry import Workload
from ..model.ledger import Ledger
from ..model.stages import STAGES
from .result import Analytic, PointResult

EXACT = "exact"  # compared with ==
GATED = "gated"  # compared by the gate's rule
DERIVED = "derived"  # follows from others: shown, never stored or compared


@dataclass(frozen=True, slots=True)
class Metric:
    """Stored in `unit`; `heading` names the unit it is shown in, which is `scale` stored ones.

    One that is counted has `of`: it is exact, and baselines, reports and databases hold it. Others have `value`.
    """

    unit: str
    tolerance: str
    heading: str
    scale: int = 1
    digits: int = 0
    of: Callable[[Ledger], int] | None = None  # counts it
    value: Callable[[PointResult], float | None] | None = None  # finds it among what a point holds
    column: int | None = None  # its place among the columns of tables; None: they do not show it
    comment: str = ""  # on its column in the database
    word: str = ""  # what a line that has little room calls it, if it is exact

    def show(self, value: float | None) -> str:
        """Scaled and rounded, for people; a dash where there is no number."""
        return "-" if value is None else f"{value / self.scale:,.{self.digits}f}"


def _flops(point: PointResult) -> int:
    return point.analytic["tensor_flops"] + point.analytic["vector_flops"]


def _moved(point: PointResult) -> int:
    return point.analytic["read_bytes"] + point.analytic["write_bytes"]


def _device_ns(point: PointResult) -> int | None:
    return point.vendor.device_ns.median if point.vendor else None


def _wall_ns(point: PointResult) -> int | None:
    return point.vendor.wall_ns.median if point.vendor and point.vendor.wall_ns else None


def _launch_ns(point: PointResult) -> int | None:
    """The host's clock sees no difference between device and wall time."""
    device, wall = _device_ns(point), _wall_ns(point)
    return wall - device if device and wall and point.vendor and point.vendor.clock != "host" else None


def _energy_mj(point: PointResult) -> float | None:
    return point.vendor.energy.mj if point.vendor and point.vendor.energy else None


def _floor_ns(point: PointResult) -> int | None:
    return point.floor.time_ns if point.floor else None


def _estimate_ns(point: PointResult) -> int | None:
    return point.estimate.time_ns if point.estimate else None


def _estimate_low_ns(point: PointResult) -> int | None:
    return point.estimate.low_ns if point.estimate else None


def _estimate_high_ns(point: PointResult) -> int | None:
    return point.estimate.high_ns if point.estimate else None


def _attained(point: PointResult) -> float | None:
    return point.floor.attained if point.floor else None


def _ratio(number: int, divisor: int) -> float | None:
    return number / divisor if divisor else None


def _tokens(point: PointResult) -> int:
    return point.new_tokens if STAGES[point.stage].per_token else 0


# Documents and databases hold the counted ones in this order; an added one is a further field of both.
METRICS = {
    "image_tokens": Metric(
        "tokens", EXACT, "image tokens", value=lambda point: point.image_tokens, word="image tokens"
    ),
    "context_tokens": Metric(
        "tokens", EXACT, "tokens", value=lambda point: point.context_tokens, column=1, word="tokens"
    ),
    "tensor_flops": Metric(
        "FLOP", EXACT, "tensor TFLOP", 10**12, 3, of=lambda ledger: ledger.tensor_flops, word="FLOPs"
    ),
    "vector_flops": Metric(
        "FLOP", EXACT, "vector TFLOP", 10**12, 3, of=lambda ledger: ledger.vector_flops, word="vector FLOPs"
    ),
    "read_bytes": Metric(
        "bytes",
        EXACT,
        "GB read",
        10**9,
        2,
        of=lambda ledger: ledger.read_bytes,
        comment="kernel by kernel",
        word="reads",
    ),
    "write_bytes": Metric("bytes", EXACT, "GB written", 10**9, 2, of=lambda ledger: ledger.write_bytes, word="writes"),
    "weight_bytes": Metric(
        "bytes", EXACT, "weights GB", 10**9, 3, of=lambda ledger: ledger.weight_bytes, word="weights"
    ),
    "kv_cache_bytes": Metric(
        "bytes", EXACT, "KV MB", 10**6, 1, of=lambda ledger: ledger.kv_cache_bytes, column=6, word="KV cache"
    ),
    "peak_activation_bytes": Metric(
        "bytes",
        EXACT,
        "peak GB",
        10**9,
        3,
        of=lambda ledger: ledger.peak_activation_bytes,
        column=5,
        word="peak memory",
    ),
    "floor_ns": Metric("ns", DERIVED, "floor ms", 10**6, 3, value=_floor_ns, column=9),
    "estimate_ns": Metric("ns", DERIVED, "estimate ms", 10**6, 3, value=_estimate_ns, column=10),
    "estimate_low_ns": Metric("ns", DERIVED, "estimate from ms", 10**6, 3, value=_estimate_low_ns),
    "estimate_high_ns": Metric("ns", DERIVED, "estimate to ms", 10**6, 3, value=_estimate_high_ns),
    "attained": Metric("fraction", GATED, "attained", 1, 3, value=_attained, column=12),
    "device_ns": Metric("ns", GATED, "device ms", 10**6, 3, value=_device_ns, column=11),
    "energy_mj": Metric("mJ", GATED, "J", 1000, 3, value=_energy_mj, column=15),
    "wall_ns": Metric("ns", DERIVED, "wall ms", 10**6, 1, value=_wall_ns, column=13),
    "launch_overhead_ns": Metric("ns", DERIVED, "launch ms", 10**6, 1, value=_launch_ns, column=14),
    "flops": Metric("FLOP", DERIVED, "TFLOP", 10**12, 3, value=_flops, column=2),
    "moved_bytes": Metric("bytes", DERIVED, "GB moved", 10**9, 2, value=_moved, column=3),
    "intensity": Metric(
        "FLOP/byte", DERIVED, "FLOP/byte", 1, 1, value=lambda point: _ratio(_flops(point), _moved(point)), column=4
    ),
    "flops_per_token": Metric(
        "FLOP", DERIVED, "GFLOP/token", 10**9, 3, value=lambda point: _ratio(_flops(point), _tokens(point)), column=7
    ),
    "moved_bytes_per_token": Metric(
        "bytes", DERIVED, "GB/token", 10**9, 3, value=lambda point: _ratio(_moved(point), _tokens(point)), column=8
    ),
}


def exact_names() -> tuple[str, ...]:
    """The metrics that a baseline holds for a point: its tokens, and what is counted."""
    return tuple(name for name, metric in METRICS.items() if metric.tolerance == EXACT)


def analytic_names() -> tuple[str, ...]:
    """The metrics that are counted from a ledger."""
    return tuple(name for name, metric in METRICS.items() if metric.of)


def column_names() -> list[str]:
    """The metrics that tables show, in order."""
    places = {name: metric.column for name, metric in METRICS.items() if metric.column is not None}
    return sorted(places, key=places.__getitem__)


def columns(points: Iterable[PointResult]) -> list[str]:
    """The metrics of `column_names` that at least one of these points has a number for."""
    found = [values(point) for point in points]
    return [name for name in column_names() if any(row[name] is not None for row in found)]


def analytic(ledger: Ledger) -> Analytic:
    """What is counted of a point."""
    return Analytic({name: metric.of(ledger) for name, metric in METRICS.items() if metric.of})


def exact_numbers(point: PointResult | Workload, counted: Analytic) -> dict[str, int]:
    """The whole numbers that a baseline holds for a point, or for a point of this workload."""
    return {"image_tokens": point.image_tokens, "context_tokens": point.context_tokens, **counted.numbers}


def values(point: PointResult) -> dict[str, float | None]:
    """Every metric of this point; those per token are of stages that run once for each new token."""
    return {name: metric.value(point) if metric.value else point.analytic[name] for name, metric in METRICS.items()}
