"""One component of a point made slower on this GPU: the blame must name it, and no other.

    python dev/campaigns/blame.py                                        vision, prefill and decode of 2x3
    python dev/campaigns/blame.py --points decode:1x1:flash --trials 5 --percent 20

Each point is profiled once as its record. Then each component is slowed in turn, if the stage takes 0.5 % more by it:
by `--percent` of its recorded time, with a kernel in the captured graph. The point is profiled and judged `--trials`
times for each component, and as often unchanged. Exits with 1 unless each component is named in 19 of 20 trials, and
no other ever.

`--processes` adds trials that start in processes of their own: then a record is compared with another process's lines.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

from pytest_ocrsweep import CropGrid, Workload, load_model
from pytest_ocrsweep.baselines.blame import Clocks, blame
from pytest_ocrsweep.baselines.gate import FLOOR
from pytest_ocrsweep.baselines.point_profile import PointProfile, compact

POINTS = "vision:2x3:flash,prefill:2x3:flash,decode:2x3:flash,decode:2x3:eager"
STAGE_SLOWER = 0.005
NAMED = 0.95


class Bench:
    """The reference model on the GPU, as the meter has it."""

    def __init__(self, model: str, device: str, overrides: list[str]) -> None:
        from pytest_ocrsweep.vendor_model import gpu_state, timing

        self.model = load_model(model, overrides=overrides)
        self.vendor = timing.Vendor(self.model.architecture, gpu_state.device(device))
        self.name = gpu_state.name(self.vendor.device)
        self.read = gpu_state.reader(self.vendor.device, None)

    def profile(self, point: str, slowed: tuple[str, int] | None = None) -> tuple[PointProfile, int | None]:
        """The point's lines, one component slowed by so many ns, and the SM clock after it."""
        from pytest_ocrsweep.vendor_model.line_profile import profile_point
        from pytest_ocrsweep.vendor_model.slowed import Delay

        stage, grid, attention = point.split(":")
        self.vendor.delay = Delay(*slowed) if slowed else None
        found = profile_point(self.vendor, self.model, stage, Workload(CropGrid.parse(grid)), attention)
        return PointProfile.measured(found), self.read().sm_clock_mhz


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", default=POINTS, help="STAGE:GRID:ATTENTION, separated by commas")
    parser.add_argument("--trials", type=int, default=20, help="of each component, and unchanged")
    parser.add_argument("--percent", type=float, default=10.0, help="of the component's recorded time")
    parser.add_argument("--margin", type=float, default=FLOOR, help="the gate's, as a ratio")
    parser.add_argument("--model", default="deepseek-ocr")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--processes", type=int, default=1, help="trials are shared among so many, one after another")
    parser.add_argument("--record", type=Path, help=argparse.SUPPRESS)  # of the process that started this one
    parser.add_argument("--json", type=Path, help="write each trial there, one JSON object a line")
    options = parser.parse_args()
    if options.processes > 1:
        return shared(options)
    bench = Bench(options.model, options.device, [])
    print(f"{bench.name}, {options.percent:g} % more of one component, margin {options.margin:.1%}", flush=True)
    rights = [right(bench, point, options) for point in options.points.split(",")]
    return 0 if all(rights) else 1


def shared(options: argparse.Namespace) -> int:
    """The same in new processes, all judged by what the first of them recorded."""
    with tempfile.TemporaryDirectory() as folder:
        record, trials = Path(folder), -(-options.trials // options.processes)
        words = [sys.executable, __file__, f"--record={record}", f"--trials={trials}", f"--points={options.points}"]
        words += [f"--{name}={getattr(options, name)}" for name in ("percent", "margin", "model", "device")]
        words += [f"--json={options.json}"] if options.json else []
        codes = [subprocess.run(words, check=False).returncode for _ in range(options.processes)]
    return max(codes)


def recorded(bench: Bench, point: str, folder: Path | None) -> tuple[PointProfile, int | None]:
    file = folder / f"{point.replace(':', '-')}.json" if folder else None
    if file and file.exists():
        lines, clock = json.loads(file.read_text())
        profile = compact(lines)
        assert profile is not None
        return profile, clock
    profile, clock = bench.profile(point)
    if file:
        file.write_text(json.dumps([profile.compact(), clock]))
    return profile, clock


def right(bench: Bench, point: str, options: argparse.Namespace) -> bool:
    """Prints how often each component of a point was named, and what else; whether that is as it should be."""
    then, clock_then = recorded(bench, point, options.record)
    more = {name: round(part.time_ns * options.percent / 100) for name, part in then.components.items()}
    slowed = {name: ns for name, ns in more.items() if ns >= STAGE_SLOWER * then.device_ns and slowable(name)}
    print(f"{point}: {then.device_ns:,} ns, gaps {then.gap_ns:,} ns; slowed: {', '.join(slowed)}", flush=True)
    fine = True
    for name in (None, *slowed):
        named: Counter[str] = Counter()
        for _ in range(options.trials):
            now, clock = bench.profile(point, (name, slowed[name]) if name else None)
            causes = blame(then, now, options.margin, Clocks(clock_then, clock))
            named.update(cause.name for cause in causes)
            keep(options.json, point, name, then, now, [str(cause) for cause in causes])
        hits, others = named.pop(name, 0) if name else options.trials, dict(named)
        good = hits >= NAMED * options.trials and not others
        fine &= good
        what = f"{name} {slowed[name]:+,} ns: named {hits} of {options.trials}" if name else "unchanged:"
        print(f"  {'yes' if good else 'NO '}  {what} others {others or 'never'}", flush=True)
    return fine


def slowable(name: str) -> bool:
    from pytest_ocrsweep.vendor_model.slowed import MODULES

    return name in MODULES


def keep(
    file: Path | None, point: str, name: str | None, then: PointProfile, now: PointProfile, causes: list[str]
) -> None:
    if file:
        trial = {"point": point, "slowed": name, "causes": causes, "then": then.compact(), "now": now.compact()}
        with file.open("a") as out:
            out.write(json.dumps(trial) + "\n")


if __name__ == "__main__":
    sys.exit(main())
