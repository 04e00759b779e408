"""How fast the driver runs a graph's kernels: it has two paces, and changes to the slower one for good."""

from __future__ import annotations

import time
from functools import partial

import torch

from ..baselines.sampling import pace_changed
from .clocks import GraphClock

KERNELS = 128
REPLAYS = 9


class Pace:
    """A graph of many kernels that do next to nothing: it times what the driver adds to each.

    Once a process has instantiated its fourth graph, whatever the graphs hold and whether they still live, NVIDIA's
    driver (580, on an H200 and an H100) runs each of its graphs 0.18 µs a kernel slower, a decode step 12 %. While
    another process's context on the GPU is being torn down, the change waits.
    """

    def __init__(self) -> None:
        self._ran = torch.zeros(1024, device="cuda")
        self._run()
        self._clock = GraphClock(self._run)

    def _run(self) -> None:
        for _ in range(KERNELS):
            self._ran.add_(1)

    def ns(self) -> int:
        """Time from one kernel to the next, now: the fastest replay's, as all else only adds to it."""
        return round(min(self._clock.batch(REPLAYS)) / KERNELS)

    def settle(self, patience_s: float = 15.0) -> bool:
        """Captures graphs until the pace has changed, so that every point is timed in the lasting one.

        False where it has not changed by then: the driver has one pace, or changes it later.
        """
        paces, end = [self.ns()], time.monotonic() + patience_s
        while time.monotonic() < end:
            GraphClock(partial(self._ran.add_, 1)).batch(1)
            paces.append(self.ns())
            # Against the fastest, as the first may be of a GPU that wakes up; twice, as one may be of a GPU that dips.
            if len(paces) > 2 and all(pace_changed(min(paces), pace) for pace in paces[-2:]):
                return True
        return False
