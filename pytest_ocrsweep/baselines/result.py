"""A sweep as data: one row a point, and the document that `sweep.json` holds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from functools import cache
from typing import Any, TypedDict

from ..hardware import roofline
from ..hardware.roofline import Device
from ..model.architecture import Architecture
from ..model.geometry import CropGrid, Workload
from ..model.ledger import Ledger
from ..model.stages import STAGES

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


def floor(ledger: Ledger, device: Device, path: str = "") -> dict[str, Any]:
    """A row's `floor`, or one part's, before a time is known: what stands beside one is None."""
    least = roofline.floor(ledger, device, path)
    return {
        "device": device.name,
        "compulsory_bytes": ledger.compulsory(path),
        "time_ns": least.time_ns,
        "bound": least.bound,
        "tensor_ns": least.tensor_ns,
        "vector_ns": least.vector_ns,
        "bandwidth_ns": least.bandwidth_ns,
        **dict.fromkeys(("dram_bytes", "estimate_ns", "attained", "mfu", "mbu")),
    }


def timed_floor(ledger: Ledger, device: Device, measured_ns: int) -> dict[str, Any]:
    """A row's `floor` beside a measured time."""
    least = roofline.floor(ledger, device)
    return floor(ledger, device) | {
        "dram_bytes": ledger.dram_bytes(device),
        "estimate_ns": roofline.estimate(ledger, device),
        "attained": roofline.attained(least, measured_ns),
        "mfu": roofline.mfu(ledger, device, measured_ns),
        "mbu": roofline.mbu(ledger, device, measured_ns),
    }


def components(ledger: Ledger) -> dict[str, dict[str, int]]:
    """What each part costs, in the order they run: "sam", "clip", …, "decoder/attn", …, "head"."""
    return {path: asdict(ledger.total(path)) for path in _parts(ledger.paths)}


@cache
def _parts(paths: tuple[str, ...]) -> tuple[str, ...]:
    """The paths' first parts, two of them below DETAILED; few differ between points."""
    split = [path.split("/") for path in paths]
    return tuple(dict.fromkeys("/".join(parts[: 2 if parts[0] == DETAILED else 1]) for parts in split))


def order(row: Mapping[str, Any]) -> tuple[int, CropGrid, str]:
    """Rows sort by stage, grid and attention, whichever worker was first."""
    return list(STAGES).index(row["stage"]), CropGrid.parse(row["grid"]), row["attention"]


def environment(
    architecture: Architecture, revision: str | None, *measured: Mapping[str, str | None]
) -> dict[str, Any]:
    """What the numbers were found on; None where nothing was `measured` and so nothing is known.

    None too where several hosts or GPUs measured and differ: then `hosts` has each.
    """
    experts = {"prefill": architecture.decoder.prefill_experts, "decode": architecture.decoder.decode_experts}
    names = ("host", "gpu", "driver", "torch", "transformers", "weights")
    values = {name: {each[name] for each in measured} for name in names}
    return {
        **{name: found.pop() if len(found) == 1 else None for name, found in values.items()},
        "dtype": architecture.dtype,
        "attention_implementation": {"eager": "eager", "flash": "sdpa"},
        "experts_implementation": experts,
        "git_revision": revision,
        **({"hosts": [dict(each) for each in measured]} if len(measured) > 1 else {}),
    }


def host(measured: Mapping[str, str | None]) -> str:
    """One of `hosts` in words: "node7: NVIDIA H200, driver 580.1, torch 2.11.0, transformers 5.23.0"."""
    known = [f"{name} {measured[name]}" for name in ("driver", "torch", "transformers") if measured[name]]
    return f"{measured['host']}: {', '.join([str(measured['gpu']), *known])}"


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
