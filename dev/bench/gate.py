"""The gate's self-test: unchanged code must stay green and a slowdown turn red, each run a process of its own.

    python dev/bench/gate.py --runs 20 --slowdown 0 2 3 -- suites -k "..." --ocrsweep-grids=1x1,1x2

Runs of several slowdowns take turns. They are judged by recorded times (`pytest suites --ocrsweep-update`, three times
or more), or by those of as many processes as `--record` first starts on this machine: hosts of one GPU's name differ.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from typing import Any

Point = tuple[str, str, str]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5, help="processes for each slowdown")
    parser.add_argument("--slowdown", type=float, nargs="+", default=[0.0, 3.0], help="percent")
    parser.add_argument("--jobs", type=int, default=1, help="processes at once; the GPU's lock takes them in turn")
    parser.add_argument("--record", type=int, default=0, metavar="N", help="judge by N processes recorded first")
    parser.add_argument("pytest", nargs="*", default=["suites"], help="arguments for pytest")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        arguments = options.pytest
        if options.record:
            arguments = [*arguments, "-o", f"ocrsweep_baselines={record(arguments, options.record, Path(folder))}"]
        sys.exit(not proved(options, arguments))


def record(arguments: list[str], processes: int, folder: Path) -> Path:
    """Baselines with the counted numbers of the project and times of new processes; gives their folder."""
    copied = folder / "baselines"
    shutil.copytree("baselines", copied, ignore=shutil.ignore_patterns("timed"))
    for _ in range(processes):
        run([*arguments, "-o", f"ocrsweep_baselines={copied}", "--ocrsweep-update"], 0.0)
    return copied


def proved(options: argparse.Namespace, arguments: list[str]) -> bool:
    """Whether unchanged runs stayed green and slowed ones turned red."""
    runs = [slowdown for _ in range(options.runs) for slowdown in options.slowdown]
    with ThreadPoolExecutor(options.jobs) as pool:
        found = list(pool.map(lambda slowdown: run(arguments, slowdown), runs))

    right = True
    medians: dict[Point, list[int]] = defaultdict(list)
    for slowdown in options.slowdown:
        mine = [result for at, result in zip(runs, found, strict=True) if at == slowdown]
        right &= tell(slowdown, mine, medians)
    apart = {point: (max(times) - min(times)) / median(times) for point, times in medians.items() if len(times) > 1}
    if apart:
        worst = max(apart, key=lambda point: apart[point])
        print(f"medians of unchanged processes: at most {apart[worst]:.2%} apart, at {' '.join(worst)}")
    return right


def run(arguments: list[str], slowdown: float) -> tuple[int, list[dict[str, Any]]]:
    """Exit code and timed points of one pytest process."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pytest", *arguments, "-q", "-p", "no:cacheprovider"]
        command += ["--ocrsweep-require-vendor", f"--ocrsweep-slowdown={slowdown:g}", f"--ocrsweep-report={folder}"]
        done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        try:
            points = json.loads((Path(folder) / "sweep.json").read_text())["points"]
        except (OSError, ValueError):
            sys.exit(f"{' '.join(command)} wrote no sweep.json:\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
    timed = [point for point in points if point["vendor"]]
    outcomes = Counter(point["vendor"]["gate"]["outcome"] for point in timed)
    told = f"slowdown {slowdown:g} %: exit {done.returncode}, {dict(outcomes)}"
    if not slowdown:  # each that moved without a cause is the thing to know
        told += "".join(f"; {moved(point)}" for point in timed if point["vendor"]["gate"]["outcome"] != "pass")
    print(told, file=sys.stderr, flush=True)
    return done.returncode, timed


def moved(point: dict[str, Any]) -> str:
    """A point that did not pass, and by how much it moved."""
    gate = point["vendor"]["gate"]
    change = "" if gate["change"] is None else f" {gate['change']:+.1%}"
    return f"{point['stage']} {point['grid']} {point['attention']} {gate['outcome']}{change}"


def tell(slowdown: float, results: list[tuple[int, list[dict[str, Any]]]], medians: dict[Point, list[int]]) -> bool:
    """Prints how often each point failed; whether that is as it should be: never, or in at least 19 of 20."""
    failed: Counter[Point] = Counter()
    seen: Counter[Point] = Counter()
    outcomes: Counter[str] = Counter()
    for _, points in results:
        for point in points:
            key = (point["stage"], point["grid"], point["attention"])
            seen[key] += 1
            outcomes[point["vendor"]["gate"]["outcome"]] += 1
            failed[key] += point["vendor"]["gate"]["outcome"] == "fail"
            if not slowdown:
                medians[key].append(point["vendor"]["device_ns"]["median"])
    codes = Counter(code for code, _ in results)
    least = min((failed[key] / seen[key] for key in seen), default=0.0)
    most = max((failed[key] / seen[key] for key in seen), default=0.0)
    right = bool(seen) and (least >= 0.95 if slowdown else most == 0)
    print(
        f"slowdown {slowdown:g} %: {len(results)} processes, {len(seen)} points each, exit codes {dict(codes)}, "
        f"outcomes {dict(outcomes)}; a point failed in {least:.0%} to {most:.0%} of its runs: "
        f"{'as it should' if right else 'NOT as it should'}"
    )
    return right


if __name__ == "__main__":
    main()
