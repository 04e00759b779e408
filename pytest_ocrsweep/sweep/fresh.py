"""One round of a point in a process of its own: rounds in one process share its luck, processes do not.

The parent process holds the device's lock and waits, so the new process measures alone. The parent writes what to time
to the new process's standard input, as one line of JSON; the new process answers with one line.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ..baselines.machine import Machine
from ..baselines.sampling import Samples
from .options import Slowdown
from .search_path import searched, searching
from .stopping import die_with_parent
from .timed_point import TimedPoint

MODULE = "pytest_ocrsweep.sweep.fresh"
FRESH_S = 300.0
"""What all of them may take in a run on a GPU: thirty or so."""

PATIENCE_S = 120.0
"""Longer than a process needs to load torch, build the model and take a round."""


@dataclass
class FreshProcesses:
    """Starts them, one at a time, while `seconds` last."""

    overrides: tuple[str, ...]
    checkpoint: Path | None = None
    slowdown: Slowdown = field(default_factory=Slowdown)
    seconds: float = 0.0

    def round(self, point: TimedPoint) -> Samples | None:
        """A round of the point in a new process; None where the time is up or the process came to nothing."""
        begun = time.monotonic()
        if self.seconds <= 0:
            return None
        try:
            done = subprocess.run(
                [sys.executable, "-m", MODULE],
                input=json.dumps(self._task(point)),
                capture_output=True,
                text=True,
                timeout=min(PATIENCE_S, self.seconds),
            )
        except (OSError, subprocess.TimeoutExpired):
            return None
        finally:
            self.seconds -= time.monotonic() - begun
        return _samples(done.stdout) if done.returncode == 0 else None

    def _task(self, point: TimedPoint) -> dict[str, object]:
        return {
            "overrides": [*self.overrides, "vendor.energy_ms=null"],
            "config_dir": str(folder) if (folder := searched()) else None,
            "checkpoint": str(self.checkpoint) if self.checkpoint else None,
            "slowdown": self.slowdown.percent,
            "stage": point.stage,
            "grid": str(point.work.grid),
            "attention": point.attention,
            "page": str(point.page) if point.page else None,
            "asked_by": os.getpid(),
        }


def _samples(text: str) -> Samples | None:
    try:
        raw = json.loads(text.splitlines()[-1])
        before, after, *during = (_machine(**each) for each in (raw["before"], raw["after"], *raw["during"]))
        return Samples(tuple(raw["ns"]), raw["stopped"], before, after, tuple(during))
    except (IndexError, ValueError, KeyError, TypeError):
        return None


def _machine(throttle_reasons: list[str] | None, **rest: Any) -> Machine:
    """JSON has no tuples."""
    return Machine(throttle_reasons=None if throttle_reasons is None else tuple(throttle_reasons), **rest)


def main() -> None:
    """Times what standard input asks for, and writes the round to standard output."""
    task = json.loads(sys.stdin.read())
    die_with_parent(task["asked_by"])

    from ..model.geometry import CropGrid
    from ..vendor_model import gpu_state
    from .catalogue import model_of
    from .config import compose
    from .meter import Meter

    gpu_state.OURS.add(task["asked_by"])
    with searching(Path(task["config_dir"]) if task["config_dir"] else None):
        settings = compose(task["overrides"])
    checkpoint = Path(task["checkpoint"]) if task["checkpoint"] else None
    meter = Meter(settings, model_of(settings), checkpoint, slowdown=Slowdown(task["slowdown"]))
    work = settings.workload.on(CropGrid.of(task["grid"]))
    page = Path(task["page"]) if task["page"] else None
    taken = meter.first(TimedPoint(task["stage"], work, task["attention"], page))
    print(json.dumps(asdict(taken.first)))


if __name__ == "__main__":
    main()
