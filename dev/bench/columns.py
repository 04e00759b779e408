"""Columns of many workloads: points a second, what more points and more crops cost, memory of a streamed sweep."""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from claim import Claim, conclude

from pytest_ocrsweep import CropGrid, Model, Workload, load_model
from pytest_ocrsweep.model.attention import ATTENTION
from pytest_ocrsweep.model.bulk import Columns
from pytest_ocrsweep.model.ledger import Ledger
from pytest_ocrsweep.model.stages import STAGES

MILLION = 10**6
SIZES = [10**n for n in range(2, 8)]
CROPS = [1, 10, 100, 1000, 10_000]
STREAMED = 10_000_000
AXES = {"rows": "1..10", "cols": "1..10", "batch": "1..10", "prompt-tokens": "1..100", "new-tokens": "1..100"}
KIB = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss


def seconds(call: Any, runs: int) -> float:
    """The median of `runs` after one that is not counted."""
    taken = []
    for _ in range(runs + 1):
        start = time.perf_counter()
        call()
        taken.append(time.perf_counter() - start)
    return median(taken[1:])


def random(points: int) -> dict[str, Any]:
    """Sizes that all differ from point to point, pages without crops among them."""
    rng = np.random.default_rng(points)
    most = {"rows": 9, "cols": 9, "batch": 16, "prompt_tokens": 500, "new_tokens": 2000}
    return {name: rng.integers(1, size, points, endpoint=True) for name, size in most.items()}


def read(ledger: Ledger) -> tuple[object, ...]:
    """Every number that a point's columns hold."""
    numbers = ledger.weight_bytes, ledger.kv_cache_bytes, ledger.compulsory_bytes, ledger.peak_activation_bytes
    return ledger.total(), *numbers


def rate(model: Model, stage: str, attention: str, points: int) -> float:
    """Points a second, every column."""
    sizes = random(points)
    sweep = partial(model.sweep, stage, attention=attention, **sizes)
    return points / seconds(sweep, 1 if points > MILLION else 3)


def unequal(model: Model, swept: Columns, step: int) -> int:
    """Of every `step`th point, how many differ from their ledger."""
    found = 0
    for i in range(0, swept.points, step):
        row = {name: int(column[i]) for name, column in swept.items()}
        grid = CropGrid(row["rows"], row["cols"])
        work = Workload(grid, row["prompt_tokens"], row["new_tokens"], row["batch"])
        cost, *others = read(model.ledger(swept.stage, work, swept.attention))
        names = ("weight_bytes", "kv_cache_bytes", "compulsory_bytes", "peak_activation_bytes")
        costs = ("tensor_flops", "vector_flops", "read_bytes", "write_bytes")
        same = [getattr(cost, name) for name in costs] + others == [row[name] for name in (*costs, *names)]
        found += not same
    return found


def streamed() -> list[Claim]:
    """A file of ten million points by a process of its own. Asked first: a child starts with its parent's memory."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "space.parquet"
        command = [sys.executable, "-m", "pytest_ocrsweep", "sweep", "--parquet", str(path)]
        command += ["--stage", "prefill", "--attention", "eager"]
        command += [word for name, values in AXES.items() for word in (f"--{name}", values)]
        start = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        took = time.perf_counter() - start
        size = path.stat().st_size
    memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * KIB
    print(f"Streamed to Parquet, prefill eager: {STREAMED:,} points in {took:.1f} s, file of {size / 1e6:.1f} MB")
    return [Claim("memory of a streamed sweep of 10^7 points", memory / 1e6, 500, "MB")]


def main() -> None:
    claims, model = streamed(), load_model()
    print(f"Points a second, every column ({MILLION:,} random points, one core):")
    for stage in STAGES:
        for attention in ATTENTION:
            found = rate(model, stage, attention, MILLION)
            wrong = unequal(model, model.sweep(stage, attention=attention, **random(MILLION)), MILLION // 1000)
            name = f"{stage} {attention}"
            print(f"  {name:15} {found:12,.0f}   of 1,000 points {wrong} differ from their ledgers")
            claims.append(Claim(f"{name}, points a second", found, MILLION, "points/s", at_least=True))
            claims.append(Claim(f"{name}, points that differ", wrong, 0, "points"))
    print("As points grow, prefill eager:")
    for points in SIZES:
        print(f"  {points:10,} points {rate(model, 'prefill', 'eager', points):12,.0f} points/s")
    print("As crops grow, prefill eager, a ledger with all its numbers:")
    for crops in CROPS:
        work = Workload(CropGrid(1, crops))
        took = seconds(lambda work=work: read(model.ledger("prefill", work, "eager")), 200)
        print(f"  {crops:10,} crops  {took * 1e6:12,.1f} µs")
        claims.append(Claim(f"a ledger of {crops:,} crops", took * 1e6, 100, "µs"))
    conclude(*claims)


if __name__ == "__main__":
    main()
