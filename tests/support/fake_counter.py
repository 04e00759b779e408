"""A plugin that gives this machine a counter of energy: `pytest -p fake_counter`.

It counts FAKE_WATTS, 300 if it is not set, while the process works, and 100 W from its first reading on otherwise; it
steps every 20 ms.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable

import pytest

REST_W, STEP_S = 100.0, 0.02


def counter(device: object) -> Callable[[], int]:
    """Of the CPU seconds of this process, all threads together, beside the seconds that pass."""
    work_w = float(os.environ.get("FAKE_WATTS", "300"))
    last = [0.0, 0]

    def count() -> int:
        now = time.perf_counter()
        if now // STEP_S > last[0] // STEP_S:
            last[:] = [now, round(1000 * (REST_W * now + (work_w - REST_W) * time.process_time()))]
        return int(last[1])

    return count


def pytest_configure(config: pytest.Config) -> None:
    from pytest_ocrsweep.vendor_model import gpu_state

    gpu_state.energy_counter = counter
