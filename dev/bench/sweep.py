"""The 53 grids of the set `pairs`, three stages, both attentions, in one process after imports."""

from __future__ import annotations

import subprocess
import sys
import time
from statistics import median

from claim import Claim, conclude, spread

from pytest_ocrsweep import Workload, load_model
from pytest_ocrsweep.model.attention import ATTENTION
from pytest_ocrsweep.model.stages import STAGES
from pytest_ocrsweep.sweep.grid_sources import NAMED

PAIRS = NAMED["pairs"]
PROCESSES = 7
OLD_SECONDS = 114.7  # the model that this one replaces, for one stage


def once() -> tuple[float, float]:
    """Seconds to compose the configuration, and from there to every number, each for the first time."""
    load_model("deepseek-ocr-tiny")  # imports Hydra
    start = time.perf_counter()
    model = load_model()
    composed = time.perf_counter()
    for grid in PAIRS():
        work = Workload(grid)
        for stage in STAGES:
            for attention in ATTENTION:
                ledger = model.ledger(stage, work, attention)
                _ = ledger.total(), ledger.weight_bytes, ledger.kv_cache_bytes, ledger.peak_activation_bytes
    return composed - start, time.perf_counter() - composed


def main() -> None:
    if "--once" in sys.argv:
        print(*once())
        return
    command = [sys.executable, __file__, "--once"]
    runs = [subprocess.check_output(command, text=True).split() for _ in range(PROCESSES)]
    composing, sweeping = ([float(run[i]) for run in runs] for i in (0, 1))
    print(f"Sweep of {len(PAIRS())} grids x {len(STAGES)} stages x {len(ATTENTION)} attentions:")
    print(f"  {spread(sweeping)} s over {PROCESSES} processes; before it, composing: {spread(composing)} s")
    print(f"  the system that this replaces: {OLD_SECONDS} s for one stage")
    conclude(Claim("sweep", median(sweeping), 0.1, "s"))


if __name__ == "__main__":
    main()
