"""A sweep as data: one row a point, and the document that `sweep.json` holds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any, TypedDict

from ..architecture import Architecture
from ..cost import Ledger
from ..geometry import CropGrid, Workload
from ..stages import STAGES

SCHEMA = 1


DETAILED = "decoder"  # the component that rows take apart: its paths have two parts


class Row(TypedDict):
    """One point as it travels from a worker and into the report: JSON values, base units."""

    stage: str
    grid: str
    attention: str
    image_tokens: int
    context_tokens: int
    new_tokens: int
    batch: int
    analytic: dict[str, int]
    floor: dict[str, Any] | None  # None: the device is not in the catalogue
    vendor: dict[str, Any] | None  # None: not measured
    verdict: str


def row(stage: str, work: Workload, attention: str, ledger: Ledger, vendor: dict[str, Any] | None) -> Row:
    """A point's numbers, before its verdict."""
    cost = ledger.total()
    return {
        "stage": stage,
        "grid": str(work.grid),
        "attention": attention,
        "image_tokens": work.image_tokens,
        "context_tokens": work.context_tokens,
        "new_tokens": work.new_tokens,
        "batch": work.batch,
        "analytic": {
            "tensor_flops": cost.tensor_flops,
            "vector_flops": cost.vector_flops,
            "read_bytes": cost.read_bytes,
            "write_bytes": cost.write_bytes,
            "weight_bytes": ledger.weight_bytes,
            "kv_cache_bytes": ledger.kv_cache_bytes,
            "peak_activation_bytes": ledger.peak_activation_bytes,
        },
        "floor": None,
        "vendor": vendor,
        "verdict": "",
    }


def components(ledger: Ledger) -> dict[str, dict[str, int]]:
    """What each part costs, in the order they run: "sam", "clip", …, "decoder/attn", …, "head"."""
    paths = dict.fromkeys(_part(line.path) for line in ledger.lines)
    return {path: asdict(ledger.total(path)) for path in paths}


def _part(path: str) -> str:
    parts = path.split("/")
    return "/".join(parts[: 2 if parts[0] == DETAILED else 1])


def order(row: Mapping[str, Any]) -> tuple[int, CropGrid, str]:
    """Rows sort by stage, grid and attention, whichever worker was first."""
    return list(STAGES).index(row["stage"]), CropGrid.parse(row["grid"]), row["attention"]


def environment(
    architecture: Architecture, revision: str | None, measured: Mapping[str, str | None] | None
) -> dict[str, Any]:
    """What the numbers were found on; None where nothing was `measured` and so nothing is known."""
    experts = {"prefill": architecture.decoder.prefill_experts, "decode": architecture.decoder.decode_experts}
    return {
        **dict.fromkeys(("gpu", "driver", "torch", "transformers", "weights")),
        "dtype": architecture.dtype,
        "attention_implementation": {"eager": "eager", "flash": "sdpa"},
        "experts_implementation": experts,
        "git_revision": revision,
        **(measured or {}),
    }


def document(
    model: str, workload: Mapping[str, Any], environment: Mapping[str, Any], rows: Iterable[Mapping[str, Any]]
) -> dict[str, Any]:
    """The whole of `sweep.json`."""
    return {
        "schema": SCHEMA,
        "model": model,
        "workload": dict(workload),
        "environment": dict(environment),
        "points": sorted(rows, key=order),
    }
