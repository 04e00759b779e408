"""How fast the driver runs a CUDA graph's kernels: it has two speeds, and changes to the slower one for good."""

from __future__ import annotations

import time

import torch

from ..baselines.machine import graph_speed_changed
from .clocks import GraphClock

KERNELS = 128
REPLAYS = 9
PATIENCE_S = 15.0
HOLD_S = 0.5
"""How long a speed must last to be the lasting one: while another process ends, a GPU dips for milliseconds."""


class GraphSpeed:
    """Times a graph of many kernels that do next to nothing, and so what the driver adds to each.

    Once a process has instantiated its fourth graph, whatever the graphs hold and whether they still live, NVIDIA's
    driver (580, on an H200 and an H100) runs each of its graphs 0.18 µs a kernel slower, a decode step 12 %. While
    another process's context on any GPU of the host is being torn down, the change waits, or is undone for a moment.
    """

    def __init__(self) -> None:
        self.lasting_ns: int | None = None  # from one kernel to the next, once the speed has changed and held
        self._ran = torch.zeros(1024, device="cuda")
        self._run()
        self._fastest = self.kernel_ns()

    def _run(self) -> None:
        for _ in range(KERNELS):
            self._ran.add_(1)

    def kernel_ns(self) -> int:
        """Time from one kernel to the next of a graph made now, ns: the fastest replay's, as all else only adds to it.

        Of a new graph each time: on two H200s of one host, graphs made while another process ended stayed fast, and
        those made before did not show it.
        """
        return round(min(GraphClock(self._run).batch(REPLAYS)) / KERNELS)

    def is_fast(self) -> bool:
        """Whether a graph made now is faster than those that the driver makes for good."""
        return self._faster(self.kernel_ns())

    def settle(self, patience_s: float = PATIENCE_S, hold_s: float = HOLD_S) -> bool:
        """Captures graphs until the speed has changed for `hold_s`, so that every point is timed at the lasting one.

        False if it has not changed after `patience_s`: the driver has one speed, or changes it later.
        """
        end, since = time.monotonic() + patience_s, None
        while True:
            reading, now = self.kernel_ns(), time.monotonic()
            # Against the fastest, as the first may be of a GPU that wakes up.
            self._fastest = min(self._fastest, reading)
            if not graph_speed_changed(self._fastest, reading):
                since = None
                if now >= end:
                    return False
            elif since is None:
                since = now
            elif now - since >= hold_s:
                self.lasting_ns = reading
                return True

    def steady(self, patience_s: float = PATIENCE_S) -> None:
        """Waits until the driver runs graphs at its lasting speed; one look if it does, or if that is not known yet.

        A faster speed that outlasts the patience is the lasting one from then on: clocks may have been set anew.
        """
        if self.lasting_ns is None:
            if graph_speed_changed(self._fastest, self.kernel_ns()):  # later than `settle` waited
                self.settle(patience_s=0.0)
            return
        end = time.monotonic() + patience_s
        while self._faster(reading := self.kernel_ns()):
            if time.monotonic() >= end:
                self.lasting_ns = reading
                return
            time.sleep(HOLD_S / 10)

    def _faster(self, reading: int) -> bool:
        return (
            self.lasting_ns is not None and reading < self.lasting_ns and graph_speed_changed(reading, self.lasting_ns)
        )
