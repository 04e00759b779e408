"""Prints a table of floors: on all that the reference model does, and on what no implementation leaves out."""

from __future__ import annotations

from pytest_ocrsweep import CropGrid, Ledger, Workload, load_model
from pytest_ocrsweep.hardware.devices import Device
from pytest_ocrsweep.hardware.roofline import NS, floor
from pytest_ocrsweep.sweep.config import devices

PAGE = CropGrid(2, 3)
POINTS = (
    ("vision", Workload(PAGE)),
    ("prefill", Workload(PAGE)),
    ("prefill", Workload(PAGE, prompt_tokens=4096)),
    ("decode", Workload(PAGE)),
    ("decode", Workload(PAGE, batch=8)),
)
ON = ("h100", "h200", "mi300x")


def claimed_before(ledger: Ledger, device: Device) -> int:
    """The floor until 2026-11: all FLOPs, and compulsory bytes under uniform routing, from DRAM."""
    cost = ledger.total()
    return max(
        int(cost.tensor_flops * NS / device.tensor_flops_per_s),
        int(cost.vector_flops * NS / device.vector_flops_per_s),
        int(ledger.compulsory_bytes * NS / device.bandwidth_bytes_per_s),
    )


def main() -> None:
    model, catalogue = load_model(), devices()
    print("| point |", " | ".join(f"{name} before | now" for name in ON), "|")
    print("|---" + "|--:" * 2 * len(ON) + "|")
    for stage, work in POINTS:
        ledger = model.ledger(stage, work)
        cells = []
        for name in ON:
            cells += [claimed_before(ledger, catalogue[name]), floor(ledger, catalogue[name]).time_ns]
        what = f"{stage} {work.grid}, batch {work.batch}, prompt {work.prompt_tokens:,}"
        print(f"| {what} |", " | ".join(f"{ns / 1e6:.3f}" for ns in cells), "|")


if __name__ == "__main__":
    main()
