"""The points of a document as columns, one list a number: what the charts draw and the page's table shows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any, cast

from ..baselines.metrics import values
from ..baselines.result import Row
from ..model.geometry import CropGrid

NAMES = ("stage", "grid", "attention")
PLAIN = (*NAMES, "image_tokens", "context_tokens", "new_tokens", "batch", "verdict")
FLOOR = ("compulsory_bytes", "dram_bytes", "bound", "estimate_ns", "mfu", "mbu")
MEASURED: dict[str, Callable[[Mapping[str, Any]], Any]] = {
    "vendor_flops": lambda vendor: vendor.get("tensor_flops"),
    "vendor_peak_bytes": lambda vendor: vendor.get("peak_bytes"),
    "change": lambda vendor: (vendor.get("gate") or {}).get("change"),
}
COMPARED = ("device_ns", "moved_bytes", "flops")
PARTS = {  # what a part of a stage is called, by the paths of its components; all else is in the last
    "SAM": ("sam",),
    "CLIP": ("clip",),
    "projector": ("projector",),
    "attention": ("decoder/rope", "decoder/attn"),
    "experts": ("decoder/router", "decoder/experts", "decoder/shared_experts", "decoder/add_shared"),
    "dense MLP": ("decoder/mlp",),
    "head": ("head",),
    "norms, residuals, embedding": (),
}
OTHER = list(PARTS)[-1]
PART_OF = {path: part for part, paths in PARTS.items() for path in paths}
SUMS = {"flops": ("tensor_flops", "vector_flops"), "bytes": ("read_bytes", "write_bytes")}


@dataclass(frozen=True, slots=True)
class Points:
    """Columns of equal length by name, in base units; None where a point has no such number.

    What a component costs is in `PATH:FIELD`, such as `decoder/attn:read_bytes`, and what a part of PARTS does in
    `PART flops` and `PART bytes`; with a baseline, `was_NAME` is what it has for the same point.
    """

    columns: dict[str, list[Any]]

    @property
    def count(self) -> int:
        return len(self.columns["id"])

    def has(self, name: str) -> bool:
        """Whether any point has this number."""
        return any(value is not None for value in self.columns.get(name, ()))

    def distinct(self, name: str) -> list[Any]:
        """What occurs in a column, in the order it does."""
        return list(dict.fromkeys(self.columns.get(name, ())))

    def rows(self, names: Iterable[str]) -> list[dict[str, Any]]:
        """The points as objects with these columns only."""
        names = list(names)
        lines = zip(*(self.columns[name] for name in names), strict=True)
        return [dict(zip(names, line, strict=True)) for line in lines]


def points(document: Mapping[str, Any], baseline: Mapping[str, Any] | None = None) -> Points:
    """A document's points, in its order, each beside the same point of a `baseline` document."""
    was = {_key(row): row for row in baseline["points"]} if baseline else {}
    flat = [_flat(row, was.get(_key(row))) for row in document["points"]]
    names = dict.fromkeys(chain.from_iterable(flat))
    columns: dict[str, list[Any]] = {name: [line.get(name) for line in flat] for name in names}
    return Points({"id": list(range(len(flat))), **columns})


def _key(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(row[name] for name in NAMES)


def _flat(row: Mapping[str, Any], was: Mapping[str, Any] | None) -> dict[str, Any]:
    grid, numbers = CropGrid.parse(row["grid"]), values(cast(Row, row))
    floor, vendor = row.get("floor"), row.get("vendor")
    flat = {name: row[name] for name in PLAIN}
    flat |= {"crops": grid.crops, "rows": grid.rows}
    flat |= {name: float(f"{number:.6g}") if isinstance(number, float) else number for name, number in numbers.items()}
    if floor:
        flat |= {name: floor.get(name) for name in FLOOR}
    if vendor:
        flat |= {column: read(vendor) for column, read in MEASURED.items()}
    if was:
        before = values(cast(Row, was))
        flat |= {f"was_{name}": before[name] for name in COMPARED}
    for path, cost in (row.get("components") or {}).items():
        flat |= {f"{path}:{field}": number for field, number in cost.items()}
        for name, fields in SUMS.items():
            part = f"{PART_OF.get(path, OTHER)} {name}"
            flat[part] = flat.get(part, 0) + sum(cost[field] for field in fields)
    return flat
