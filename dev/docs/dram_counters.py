"""DRAM traffic of the reference model by the GPU's own counters; needs NVIDIA's Nsight Compute (ncu) on the PATH.

    python dev/docs/dram_counters.py --out baselines/deepseek-ocr/dram/nvidia-h200.json

Each point is the CUDA graph that is timed, replayed warm, and profiled as one piece: between its kernels nothing else
touches the L2. `--kernels` profiles each kernel of the graphs instead.
"""

from __future__ import annotations

import argparse
import csv
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pytest_ocrsweep.files import atomic
from pytest_ocrsweep.model.attention import ATTENTION
from pytest_ocrsweep.model.geometry import CropGrid
from pytest_ocrsweep.model.stages import STAGES
from pytest_ocrsweep.sweep.config import compose

COUNTERS = {"dram__bytes_read.sum": "read_bytes", "dram__bytes_write.sum": "write_bytes"}
SEPARATOR = "spin_kernel"  # what `compat.spin` launches: it ends each replay's results


class DramError(RuntimeError):
    """Why nothing could be counted, in one line."""


def main() -> None:
    """Count in a process under ncu, and write what it counted."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--grids", default="1x1,1x2,2x2,3x3", help="separated by commas")
    parser.add_argument("--stages", default=",".join(STAGES))
    parser.add_argument("--attention", default=",".join(ATTENTION))
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="Hydra override")
    parser.add_argument("--kernels", action="store_true", help="each kernel by itself")
    parser.add_argument("--out", type=Path, default=Path("dram.json"))
    parser.add_argument("--replay", type=Path, help=argparse.SUPPRESS)  # the process under ncu, which writes its plan
    options = parser.parse_args()
    if options.replay:
        replay(options)
        return
    try:
        found = count(sys.argv[1:], options.kernels)
    except DramError as error:
        sys.exit(f"nothing was counted: {error}")
    atomic.write(options.out, json.dumps(found, indent=1) + "\n")
    for point in found["points"]:
        both = " and ".join(f"{point[name] / 1e9:.3f} GB {name[:-6]}" for name in COUNTERS.values())
        print(f"{point['stage']} {point['grid']} {point['attention']}: {both}")


def count(arguments: list[str], kernels: bool) -> dict[str, Any]:
    """Run this module under ncu, and put what it prints together with what was run. Raises DramError."""
    if shutil.which("ncu") is None:
        raise DramError("ncu is not on the PATH: install NVIDIA Nsight Compute")
    with tempfile.TemporaryDirectory() as folder:
        plan, log = Path(folder) / "plan.json", Path(folder) / "ncu.csv"
        command = ["ncu", "--clock-control", "none", "--cache-control", "none", "--profile-from-start", "off"]
        command += ["--graph-profiling", "node" if kernels else "graph", "--metrics", ",".join(COUNTERS)]
        command += ["--csv", "--page", "raw", "--print-units", "base", "--log-file", str(log)]
        command += [sys.executable, __file__, *arguments, "--replay", str(plan)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode or not plan.exists():
            raise DramError(f"{command[0]} ended with {done.returncode}: {(done.stderr or done.stdout)[-2000:]}")
        planned = json.loads(plan.read_text())
        rows = list(results(log.read_text().splitlines()))
    points = list(joined(planned["points"], rows, kernels))
    return {**planned, "points": points}


def results(lines: Iterable[str]) -> Iterator[dict[str, Any]]:
    """Each profiled kernel or graph of ncu's CSV, in order: its name and bytes; other lines are skipped."""
    table = csv.DictReader(line for line in lines if line.startswith('"'))
    for row in table:
        if row["ID"]:  # the line under the header holds units
            counted = {name: int(float(row[counter].replace(",", ""))) for counter, name in COUNTERS.items()}
            yield {"name": row["Kernel Name"], **counted}


def joined(points: list[dict[str, Any]], rows: Iterable[dict[str, Any]], kernels: bool) -> Iterator[dict[str, Any]]:
    """Points with the mean of their graphs' bytes, times the steps; a decode is its first and its last step."""
    replays: list[list[dict[str, Any]]] = [[]]
    for row in rows:
        if SEPARATOR in row["name"]:
            replays.append([])
        else:
            replays[-1].append(row)
    expected = sum(point["graphs"] for point in points)
    if len(replays) != expected + 1 or not all(replays[:-1]):
        raise DramError(f"ncu counted {len(replays) - 1} replays where {expected} were run")
    rest = iter(replays)
    for point in points:
        graphs = [next(rest) for _ in range(point["graphs"])]
        sums = {
            name: sum(row[name] for graph in graphs for row in graph) * point["times"] // len(graphs)
            for name in COUNTERS.values()
        }
        yield {**point, **sums, **({"each": graphs[-1]} if kernels else {})}


def replay(options: argparse.Namespace) -> None:
    """Replay each point's graphs, warm, with the profiler on for one replay of each."""
    import torch

    from pytest_ocrsweep.vendor_model import compat
    from pytest_ocrsweep.vendor_model.timing import Vendor

    settings = compose(options.set)
    device = torch.device(settings.vendor.device)
    vendor = Vendor(settings.model, device, settings.vendor.seed)
    cuda = torch.cuda.cudart() if device.type == "cuda" else None
    planned = []
    for attention in options.attention.split(","):
        for grid in options.grids.split(","):
            for stage in options.stages.split(","):
                work = settings.workload.on(CropGrid.parse(grid))
                with vendor.timed(stage, work, attention) as point:
                    for clock in point.clocks:
                        clock.batch(2)
                        if cuda:
                            cuda.cudaProfilerStart()
                        clock.batch(1)
                        if cuda:
                            compat.spin(1)
                            torch.cuda.synchronize()
                            cuda.cudaProfilerStop()
                    planned.append(
                        {
                            "stage": stage,
                            "grid": grid,
                            "attention": attention,
                            "graphs": len(point.clocks),
                            "times": sum(point.region.halves) // 2,
                            "kernels": point.kernels,
                        }
                    )
    gpu = torch.cuda.get_device_name(device) if cuda else "cpu"
    about = {"gpu": gpu, "torch": str(torch.__version__), "workload": asdict(settings.workload)}
    options.replay.write_text(json.dumps({**about, "points": planned}))


if __name__ == "__main__":
    main()
