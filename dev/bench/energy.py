"""The energy of points between processes: the first one records it, the others are judged, each a process of its own.

    python dev/bench/energy.py --out build/energy

Prints what each process found, how far they lie apart, and whether all points lie within 2 %. The last process reads
the counter over longer windows, and says what shorter ones would have found.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path
from statistics import median, pstdev
from typing import Any

GOAL = 0.02
POINTS = ("vision-2x3", "prefill-2x3", "decode-2x3", "decode-1x1", "vision-1x1", "prefill-3x3")
LONG_S = 2.0
SHORTER_MS = (100, 200, 300, 500, 1000)
Process = dict[str, dict[str, Any]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("build/energy"))
    parser.add_argument("--window-ms", type=int, default=1000)
    parser.add_argument("--processes", type=int, default=5)
    parser.add_argument("--points", nargs="+", default=POINTS, help="stage-grid")
    parser.add_argument("--budget-s", type=float, default=225.0, help="after which nothing new is started")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="Hydra override")
    parser.add_argument("--windows", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.windows:
        windows(options)
        return
    options.out.mkdir(parents=True, exist_ok=True)
    begun, longest, found = time.monotonic(), 0.0, list[Process]()
    while len(found) < options.processes and time.monotonic() - begun + longest < options.budget_s:
        before = time.monotonic()
        found.append(run(options, len(found)))
        longest = max(longest, time.monotonic() - before)
    within = tell(options, found)
    left = options.budget_s - (time.monotonic() - begun)
    if left > 20:
        command = [sys.executable, __file__, "--windows", *(f"--set={each}" for each in options.set)]
        try:
            subprocess.run([*command, "--points", *options.points], timeout=left)
        except subprocess.TimeoutExpired:
            print("longer windows: out of time")
    print(f"all in {time.monotonic() - begun:.0f} s")
    sys.exit(not within)


def run(options: argparse.Namespace, number: int) -> Process:
    """The points of one pytest process, by stage and grid; the first one records them."""
    folder, report = options.out / "baselines", options.out / f"report-{number}"
    if number == 0:
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree("baselines", folder, ignore=shutil.ignore_patterns("timed"))
    pairs = [point.rsplit("-", 1) for point in options.points]
    chosen = " or ".join(f"({stage} and {grid})" for stage, grid in pairs)
    command = [sys.executable, "-m", "pytest", "suites", "-q", "-p", "no:cacheprovider", "--ocrsweep-require-vendor"]
    command += ["-k", f"flash and ({chosen})", f"--ocrsweep-grids={','.join(dict.fromkeys(grid for _, grid in pairs))}"]
    command += ["-o", f"ocrsweep_baselines={folder.resolve()}", "-o", "ocrsweep_fresh_seconds=0"]
    command += [f"--ocrsweep-report={report}", f"--ocrsweep-set=vendor.energy_ms={options.window_ms}"]
    command += [f"--ocrsweep-set={each}" for each in options.set] + ["--ocrsweep-update"] * (number == 0)
    begun = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    (options.out / f"pytest-{number}.txt").write_text(done.stdout + done.stderr)
    try:
        points = json.loads((report / "sweep.json").read_text())["points"]
    except (OSError, ValueError):
        sys.exit(f"{' '.join(command)} wrote no sweep.json:\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
    timed = {f"{each['stage']}-{each['grid']}": each for each in points if each["vendor"]}
    verdicts = ", ".join(f"{name} {each['verdict']}" for name, each in timed.items())
    print(f"process {number}: exit {done.returncode} in {time.monotonic() - begun:.0f} s: {verdicts}")
    return timed


def tell(options: argparse.Namespace, found: list[Process]) -> bool:
    """Prints a row a point; whether all were counted in every process and lie within the goal."""
    print(f"\n{len(found)} processes, window {options.window_ms} ms; mJ, W and degrees by process")
    spreads = {}
    for name in options.points:
        energies = [process.get(name, {}).get("vendor", {}).get("energy") or {} for process in found]
        known = [each["mj"] for each in energies if each.get("mj")]
        if len(known) < max(2, len(found)):
            why = {each.get("why") or "not measured" for each in energies if not each.get("mj")}
            print(f"{name}: no energy in {len(found) - len(known)} of {len(found)}: {'; '.join(sorted(why))}")
            continue
        spreads[name] = (max(known) - min(known)) / median(known)
        times = [process[name]["vendor"]["device_ns"]["median"] for process in found]
        print(f"{name}: apart {spreads[name]:.2%} (sd {pstdev(known) / median(known):.2%}; "
              f"times {(max(times) - min(times)) / median(times):.2%})")  # fmt: skip
        for key in ("mj", "power_w", "idle_w", "temperature_c", "counter_steps", "replays", "outcome", "change"):
            print(f"  {key:<13} {' '.join(shown(each.get(key)) for each in energies)}")
        print(f"  {'window_ms':<13} {' '.join(shown(each['window_ns'] / 1e6) for each in energies)}")
        print(f"  {'margin':<13} {' '.join(shown(each.get('margin')) for each in energies)}")
        net = [each["mj"] - (each["idle_w"] or 0) * ns / 1e6 for each, ns in zip(energies, times, strict=True)]
        print(f"  {'above idle':<13} {' '.join(shown(each) for each in net)}")
    if not spreads:
        print("no point has an energy in every process")
        return False
    worst = max(spreads, key=lambda name: spreads[name])
    within = spreads[worst] <= GOAL and len(spreads) == len(options.points)
    print(
        f"{'WITHIN' if within else 'NOT WITHIN'} {GOAL:.0%}: {len(spreads)} of {len(options.points)} points in "
        f"{len(found)} processes each, at most {spreads[worst]:.2%} apart, at {worst}\n"
    )
    return within


def shown(value: object) -> str:
    return f"{value:>12.4g}" if isinstance(value, float) and abs(value) < 1 else f"{value!s:>12.12}"


def windows(options: argparse.Namespace) -> None:
    """The power of each point over a long window, and how far shorter ones within it lie from it."""
    import torch

    from pytest_ocrsweep.baselines.energy import Power, Reading, power, steps
    from pytest_ocrsweep.baselines.watch import Watch
    from pytest_ocrsweep.errors import MeasureError
    from pytest_ocrsweep.sweep.config import compose
    from pytest_ocrsweep.vendor_model import gpu_state
    from pytest_ocrsweep.vendor_model.energy import POLL_S, RAMP_S
    from pytest_ocrsweep.vendor_model.timing import Vendor

    settings = compose(options.set)
    device = torch.device(settings.vendor.device)
    try:
        count = gpu_state.energy_counter(device)
    except MeasureError as error:
        print(f"longer windows: {error}")
        return
    vendor = Vendor(settings.model, device, settings.vendor.seed)
    for name in options.points[:3]:
        stage, grid = name.rsplit("-", 1)
        with vendor.timed(stage, settings.workload.on(grid), "flash") as ready:
            begun = time.perf_counter()
            with Watch(lambda: Reading(time.perf_counter(), count()), POLL_S) as watch:
                while time.perf_counter() - begun < LONG_S:
                    ready.clocks[0].batch(5)
        seen, polls = steps(watch.readings), [b.at_s - a.at_s for a, b in pairwise(watch.readings)]
        apart = [(b.at_s - a.at_s) * 1000 for a, b in pairwise(seen)]
        if len(apart) < 4:
            print(f"{name}: the counter stepped {len(seen)} times in {LONG_S} s, read {len(polls)} times")
            continue
        print(
            f"{name}: {len(seen)} steps, {min(apart):.1f} to {max(apart):.1f} ms apart, median {median(apart):.1f}; "
            f"read every {median(polls) * 1000:.2f} ms, at most {max(polls) * 1000:.1f}; W from step to step: "
            + " ".join(f"{Power(a.at_s, b.at_s, b.mj - a.mj, 1).watts:.0f}" for a, b in pairwise(seen))[:400]
        )
        begins = [each.at_s for each in seen if each.at_s > begun + RAMP_S]
        for window in SHORTER_MS:
            inside = (power(watch.readings, begin, window / 1000) for begin in begins)
            watts = [each.watts for each in inside if each]
            if len(watts) > 1:
                print(f"  windows of {window} ms: {min(watts):.1f} to {max(watts):.1f} W, "
                      f"{(max(watts) - min(watts)) / median(watts):.2%} apart, {len(watts)} of them")  # fmt: skip


if __name__ == "__main__":
    main()
