"""One ledger with all its numbers read, against counting the same stage of the vendor model on the meta device."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from statistics import median

import torch
from claim import Claim, conclude

from pytest_ocrsweep import CropGrid, Model, Workload, load_model
from pytest_ocrsweep.model.attention import ATTENTION
from pytest_ocrsweep.model.stages import STAGES
from pytest_ocrsweep.vendor_model import build, dispatch_count, forward, regions

WORK = Workload(CropGrid(2, 3))
LEDGERS, COUNTS = 200, 3


def once(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def read(model: Model, stage: str, attention: str) -> tuple[object, ...]:
    """A ledger and every number of a report, so that nothing is left to be computed later."""
    ledger = model.ledger(stage, WORK, attention)
    return ledger.total(), ledger.weight_bytes, ledger.kv_cache_bytes, ledger.peak_activation_bytes


def vendor_call(model: Model, stage: str, attention: str) -> Callable[[], object]:
    """The stage of the vendor model, built and given its inputs: only the counting is left to time."""
    vendor = build.build(model.architecture, attention, model.architecture.decoder.prefill_experts, "meta")
    page = forward.pages(WORK, vendor.lm_head.weight)
    return regions.CALLS[stage](regions.Inputs(vendor, WORK, attention, lambda: page))


def main() -> None:
    model, claims = load_model(), []
    print(f"One ledger of grid {WORK.grid}, all its numbers read:")
    for stage in STAGES:
        for attention in ATTENTION:
            name, ours = f"{stage} {attention}", partial(read, model, stage, attention)
            first, later = once(ours), median(once(ours) for _ in range(LEDGERS))
            print(f"  {name}: first {first * 1e6:,.0f} µs, later {later * 1e6:,.1f} µs")
            claims.append(Claim(f"{name}, a later ledger", later * 1e6, 100, "µs"))
            if STAGES[stage].per_token:
                continue  # the vendor's decode is 100 calls: the goal is set on the shorter stages
            call = vendor_call(model, stage, attention)
            with torch.device("meta"):
                flops = dispatch_count.tensor_flops(call)  # also warms it up
                theirs = median(once(partial(dispatch_count.tensor_flops, call)) for _ in range(COUNTS))
            difference = model.ledger(stage, WORK, attention).total().tensor_flops - flops
            print(f"    vendor counted in {theirs:.2f} s, tensor FLOPs differ by {difference}")
            claims.append(Claim(f"{name}, times faster", theirs / later, 1000, "x", at_least=True))
    conclude(*claims)


if __name__ == "__main__":
    main()
