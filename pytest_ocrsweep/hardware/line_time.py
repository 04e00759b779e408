"""The time of each line of a stage, from its work and from a GPU's constants."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..model.kernels import Pattern
from ..model.line_work import Work
from .calibration import LIMITS

NS = 1e9
Array = NDArray[np.float64]
Places = NDArray[np.intp]


class LineTimes(NamedTuple):
    """Nanoseconds of each line over all its runs, as arrays [lines], or [lines, points]."""

    launch_ns: Array
    busy_ns: Array


def limits_of(patterns: Sequence[Pattern]) -> Places:
    """Where each line's limit stands among LIMITS: a fit asks for the times of the same lines thousands of times."""
    places = {pattern: place for place, pattern in enumerate(LIMITS)}
    return np.array([places[pattern] for pattern in patterns], dtype=np.intp)


class Rates:
    """The constants of a GPU, laid out for the lines of one stage, whose limits stand at `places` among LIMITS.

    `faster` is how many times more of its work each line does a second than in two bytes: an array [lines], or 1.
    """

    def __init__(
        self, constants: Mapping[str, float], places: Places, l2_bytes: int, faster: Array | float = 1.0
    ) -> None:
        limits = LIMITS.values()
        self._kernel_ns = np.array([constants[limit.kernel_ns] for limit in limits])[places]
        self._work_ns = (
            np.array([NS / constants[limit.rate] if limit.rate else 0.0 for limit in limits])[places] / faster
        )
        self._dram_ns, self._l2_ns = NS / constants["dram_bytes_per_s"], NS / constants["l2_bytes_per_s"]
        self._l2_bytes = max(l2_bytes, 1)  # a device may be described without one

    def times(self, work: Work) -> LineTimes:
        """A line's kernels are launched; then memory and arithmetic overlap, and neither hides the other wholly.

        The L2 holds the less of the activations that a run touches, the more they are: L2² of L2² + activations².
        """
        shape = (-1,) + (1,) * (work.runs.ndim - 1)
        ratio = work.activation_bytes / (self._l2_bytes * work.runs)
        missed = work.first_bytes + work.activation_bytes * ratio**2 / (1 + ratio**2)
        moved = work.first_bytes + work.again_bytes + work.activation_bytes
        kept = moved - missed - work.again_bytes
        memory_ns = np.maximum(missed * self._dram_ns + kept * self._l2_ns, moved * self._l2_ns)
        busy_ns = np.hypot(memory_ns, work.work * self._work_ns.reshape(shape))
        return LineTimes(work.launches * self._kernel_ns.reshape(shape), busy_ns)
