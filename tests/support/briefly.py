"""One round of few samples a point, for tests of what is done with times; `-p briefly` in a pytest of its own."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial


def shorten(set_attribute: Callable[[object, str, object], object] = setattr) -> None:
    from pytest_ocrsweep.baselines import gate
    from pytest_ocrsweep.baselines.sampling import TimeCap
    from pytest_ocrsweep.vendor_model import timing

    set_attribute(gate, "CONFIRMED", 1)
    set_attribute(timing, "WARM_UP_S", 0.02)
    set_attribute(timing, "Vendor", partial(timing.Vendor, rule=TimeCap(0.02)))


_once = cache(shorten)


def pytest_runtest_setup() -> None:
    """Only with a test, as torch takes long to import: an idle worker never does."""
    _once()
