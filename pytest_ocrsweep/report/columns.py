"""The points of a document as columns, one list a number: what the charts draw and the page's table shows."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import chain
from typing import Any

from ..baselines.json_layout import Json
from ..baselines.measurement import Measurement
from ..baselines.metrics import values
from ..baselines.point_profile import PointProfile
from ..baselines.result import COSTS, PointResult
from ..baselines.sweep_report import Report

FLOOR = ("compulsory_bytes", "dram_bytes", "bound", "tensor_ns", "bandwidth_ns", "kernel_limit_ns", "mfu", "mbu")
MEASURED: dict[str, Callable[[Measurement], float | None]] = {
    "vendor_flops": lambda vendor: vendor.tensor_flops,
    "vendor_peak_bytes": lambda vendor: vendor.peak_bytes,
    "change": lambda vendor: vendor.gate.change,
}
COMPARED = ("device_ns", "moved_bytes", "flops")
PATCHES = "patch encoder"  # what SAM's part is called of a model that has this in SAM's place
PARTS = {  # what a part of a stage is called, by the paths of its components; all else is in the last
    "SAM": ("sam", "patch_encoder"),
    "CLIP": ("clip",),
    "query encoder": ("query_encoder",),
    "projector": ("projector",),
    "attention": ("decoder/rope", "decoder/attn"),
    "experts": ("decoder/router", "decoder/experts", "decoder/shared_experts", "decoder/add_shared"),
    "dense MLP": ("decoder/mlp",),
    "head": ("head",),
    "norms, residuals, embedding": (),
}
OTHER = list(PARTS)[-1]
BETWEEN = "between kernels"
PART_OF = {path: part for part, paths in PARTS.items() for path in paths}
ENCODER = next(iter(PARTS))
SUMS = {"flops": ("tensor_flops", "vector_flops"), "bytes": ("read_bytes", "write_bytes")}


@dataclass(frozen=True, slots=True)
class Points:
    """Columns of equal length by name, in base units; None where a point has no such number.

    What a component costs is in `PATH:FIELD`, such as `decoder/attn:read_bytes`, and what a part of PARTS does in
    `PART flops` and `PART bytes`, or took in `PART time`. With a baseline, `was_NAME` is its number for the same point.
    """

    columns: dict[str, list[Any]]

    @property
    def count(self) -> int:
        return len(self.columns["id"])

    def has(self, name: str) -> bool:
        """Whether any point has this number."""
        return any(value is not None for value in self.columns.get(name, ()))

    def named(self, part: str) -> str:
        """What a part of PARTS is called here: the first encoder is SAM, or what a model has in its place."""
        return PATCHES if part == ENCODER and self.has("patch_encoder:tensor_flops") else part

    def distinct(self, name: str) -> list[Any]:
        """The different values of a column, in their order."""
        return list(dict.fromkeys(self.columns.get(name, ())))

    def rows(self, names: Iterable[str]) -> list[Json]:
        """The points as objects with these columns only."""
        names = list(names)
        lines = zip(*(self.columns[name] for name in names), strict=True)
        return [dict(zip(names, line, strict=True)) for line in lines]


def points(report: Report, baseline: Report | None = None) -> Points:
    """A report's points, in its order, each beside the same point of a `baseline` report."""
    was = {point.key: point for point in baseline.points} if baseline else {}
    flat = [_flat(point, was.get(point.key)) for point in report.points]
    names = dict.fromkeys(chain.from_iterable(flat))
    columns: dict[str, list[Any]] = {name: [line.get(name) for line in flat] for name in names}
    return Points({"id": list(range(len(flat))), **columns})


def _flat(point: PointResult, was: PointResult | None) -> Json:
    flat: Json = {
        "stage": point.stage,
        "grid": str(point.grid),
        "attention": point.attention,
        "image_tokens": point.image_tokens,
        "context_tokens": point.context_tokens,
        "new_tokens": point.new_tokens,
        "batch": point.batch,
        "verdict": point.verdict.value,
        "crops": point.grid.crops,
        "rows": point.grid.rows,
    }
    for name, number in values(point).items():
        flat[name] = float(f"{number:.6g}") if isinstance(number, float) else number
    if point.floor:
        flat |= {name: getattr(point.floor, name) for name in FLOOR}
    if point.vendor:
        flat |= {column: read(point.vendor) for column, read in MEASURED.items()}
        flat |= _times(point.vendor.profile) if point.vendor.profile else {}
    if was:
        before = values(was)
        flat |= {f"was_{name}": before[name] for name in COMPARED}
    for path, costs in point.components.items():
        flat |= {f"{path}:{name}": getattr(costs, name) for name in COSTS}
        for name, fields in SUMS.items():
            part = f"{PART_OF.get(path, OTHER)} {name}"
            flat[part] = flat.get(part, 0) + sum(getattr(costs, field) for field in fields)
    return flat


def _times(profile: PointProfile) -> Json:
    """What each component and each part took in one call, or in a decode's last step."""
    found: Json = {f"{path}:time_ns": line.time_ns for path, line in profile.components.items()}
    for path, line in profile.components.items():
        part = f"{PART_OF.get(path, OTHER)} time"
        found[part] = found.get(part, 0) + line.time_ns
    return found | {f"{BETWEEN} time": max(0, profile.gap_ns)}
