"""How fast the driver runs a CUDA graph's kernels: it has two speeds, and changes to the slower one for good."""

from __future__ import annotations

import time
from functools import partial

import torch

from ..baselines.sampling import graph_speed_changed
from .clocks import GraphClock

KERNELS = 128
REPLAYS = 9


class GraphSpeed:
    """Times a graph of many kernels that do next to nothing, and so what the driver adds to each.

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

    def kernel_ns(self) -> int:
        """Time from one kernel to the next, now, ns: the fastest replay's, as all else only adds to it."""
        return round(min(self._clock.batch(REPLAYS)) / KERNELS)

    def settle(self, patience_s: float = 15.0) -> bool:
        """Captures graphs until the speed has changed, so that every point is timed at the lasting one.

        False if it has not changed by then: the driver has one speed, or changes it later.
        """
        readings, end = [self.kernel_ns()], time.monotonic() + patience_s
        while time.monotonic() < end:
            GraphClock(partial(self._ran.add_, 1)).batch(1)
            readings.append(self.kernel_ns())
            # Against the fastest, as the first may be of a GPU that wakes up; twice, as one may be of a GPU that dips.
            if len(readings) > 2 and all(graph_speed_changed(min(readings), ns) for ns in readings[-2:]):
                return True
        return False
