"""Our numbers beside the reference model's, layer by layer and stage by stage: `python dev/docs/witness_table.py`."""

from __future__ import annotations

from pytest_ocrsweep.model.analytic import Model
from pytest_ocrsweep.model.attention import ATTENTION
from pytest_ocrsweep.model.geometry import CropGrid, Workload
from pytest_ocrsweep.model.layers import moe
from pytest_ocrsweep.model.stages import STAGES
from pytest_ocrsweep.sweep.config import compose
from pytest_ocrsweep.vendor_model.layer_calls import layer_calls
from pytest_ocrsweep.vendor_model.stage_calls import stage_flops
from pytest_ocrsweep.vendor_model.witness import analytic, counted, other_differences

WITNESSED = [*CropGrid.upto(9), CropGrid(10, 10), CropGrid(13, 20), CropGrid(15, 26)]


def main() -> None:
    """Prints the per-layer and per-stage tables as Markdown."""
    architecture = compose(()).model
    print("# Ours and the vendor's, counted apart\n")
    print(f"Made by `python dev/docs/witness_table.py`. Model `{architecture.name}`; difference = ours − vendor.")
    print("\n## Layer types, by themselves\n")
    print("The last column is the difference in vector FLOPs, in bytes read and in bytes written.\n")
    print("| vendor module | attention | tensor FLOPs | vendor's | difference | others |\n|---|---|--:|--:|--:|---|")
    for attention in ATTENTION:
        for experts in moe.EXPERTS:
            for layer in layer_calls(architecture, attention, experts):
                if experts == next(iter(moe.EXPERTS)) or experts in layer.what:
                    mine, theirs = analytic(layer.kernels), counted(layer.call, architecture.decoder.experts_per_token)
                    rest = ", ".join(str(a - b) for a, b in zip(mine[1:], theirs[1:], strict=True))
                    flops = f"{mine[0]:,} | {theirs[0]:,} | {mine[0] - theirs[0]}"
                    print(f"| {layer.name} | {attention} | {flops} | {rest} |", flush=True)
    print("\n## Stages, batch 1 (a decode: its 100 steps)\n")
    print("The last column is the difference in vector FLOPs, in bytes read, in bytes written and in peak bytes;")
    print("of a decode in its first step.\n")
    print("| stage | grid | attention | tensor FLOPs | vendor's | difference | others |\n|---|---|---|--:|--:|--:|---|")
    model = Model(architecture)
    for grid in WITNESSED:
        for attention in ATTENTION:
            for stage in STAGES:
                work = Workload(grid)
                total = model.ledger(stage, work, attention).total().tensor_flops
                reference = stage_flops(architecture, stage, work, attention)
                rest = ", ".join(map(str, other_differences(model, stage, work, attention)))
                flops = f"{total:,} | {reference:,} | {total - reference}"
                print(f"| {stage} | {grid} | {attention} | {flops} | {rest} |", flush=True)


if __name__ == "__main__":
    main()
