"""The metrics of serving: their units, and which way is better."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

from ..files.text import quoted
from .recorded_time import LONGEST_NS

MOST_PER_S = 10**9
"""No server does as many pages, requests or tokens a second."""


class Better(StrEnum):
    """Which of two values a user wants."""

    LOWER = "lower"
    HIGHER = "higher"


@dataclass(frozen=True, slots=True)
class ServingMetric:
    """Stored in `unit`, printed under `heading` as `scale` stored ones; `noise` is expected between runs, a ratio."""

    unit: str
    better: Better
    heading: str
    scale: int
    noise: float
    bounds: str | None = None  # the metric of which it is the 99th percentile, and so never the smaller one

    def show(self, value: float | None) -> str:
        """Scaled, with four digits; a dash if it was not measured."""
        if value is None:
            return "-"
        scaled = value / self.scale
        return f"{scaled:,.{max(0, 3 - math.floor(math.log10(scaled)))}f}" if scaled >= 0.001 else f"{scaled:.3g}"

    def loss(self, change: float) -> float:
        """How much worse a changed value is: 0.05 for a rise of 5 % in a time, and for a fall of 5 % in a rate."""
        return change if self.better is Better.LOWER else -change


def _time(heading: str, noise: float = 0.01, bounds: str | None = None) -> ServingMetric:
    return ServingMetric("ns", Better.LOWER, heading, 10**6, noise, bounds)


def _rate(unit: str, heading: str) -> ServingMetric:
    return ServingMetric(unit, Better.HIGHER, heading, 1, 0.01)


# Medians over the requests of a run, unless the name says otherwise. `tokens_per_s` counts answers alone, of all
# requests together. `requests_per_s` is there only if a request holds more than one page.
SERVING_METRICS = {
    "ttft_ns": _time("TTFT ms"),
    "ttft_p99_ns": _time("TTFT p99 ms", 0.03, "ttft_ns"),
    "tpot_ns": _time("TPOT ms"),
    "tpot_p99_ns": _time("TPOT p99 ms", 0.03, "tpot_ns"),
    "itl_ns": _time("ITL ms"),
    "pages_per_s": _rate("pages/s", "pages/s"),
    "requests_per_s": _rate("requests/s", "requests/s"),
    "tokens_per_s": _rate("tokens/s", "tokens/s"),
    "render_ns": _time("render ms"),
    "energy_mj_per_page": ServingMetric("mJ", Better.LOWER, "J/page", 1000, 0.02),
}


@dataclass(frozen=True, slots=True)
class Figure:
    """A metric's value in one run; quartiles and their number of samples if the run kept samples."""

    value: float
    q1: float | None = None
    q3: float | None = None
    samples: int | None = None

    @property
    def error(self) -> float | None:
        """Standard error of the value over the value, from the quartiles as of a normal distribution."""
        if self.q1 is None or self.q3 is None or not self.samples:
            return None
        return 1.2533 * (self.q3 - self.q1) / 1.349 / math.sqrt(self.samples) / self.value

    @classmethod
    def of(cls, samples: list[float]) -> Figure | None:
        """The median of samples; None without any."""
        ordered, count = sorted(samples), len(samples)
        if not count:
            return None
        q1, median, q3 = (_quantile(ordered, part) for part in (0.25, 0.5, 0.75))
        return cls(median, q1, q3, count)


def _quantile(ordered: list[float], part: float) -> float:
    """Between the two nearest samples, as numpy has it."""
    at = part * (len(ordered) - 1)
    low = math.floor(at)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (at - low) * (ordered[high] - ordered[low])


def checked(name: str, figure: Figure) -> Figure:
    """The figure, if a clock could give it. Raises ValueError."""
    most = LONGEST_NS if SERVING_METRICS[name].unit == "ns" else MOST_PER_S
    positive(name, figure.value, most, least=1 if most == LONGEST_NS else 0)
    spread = (figure.q1, figure.q3, figure.samples)
    if spread == (None, None, None):
        return figure
    q1, q3 = (positive(f"a quartile of {name}", value, most) for value in spread[:2])
    if not q1 <= figure.value <= q3:
        raise ValueError(f"{name} must lie between its quartiles, got {figure.value:g} of {q1:g} to {q3:g}")
    if type(figure.samples) is not int or figure.samples < 1:
        raise ValueError(f"the samples of {name} must be a whole number of at least 1, got {quoted(figure.samples)}")
    return figure


def positive(name: str, value: object, most: float, least: float = 0) -> float:
    """The value, if it is a number above 0, at least `least` and at most `most`. Raises ValueError."""
    if type(value) not in (int, float) or not (value > 0 and least <= value <= most):  # type: ignore[operator]
        bound = f"of at least {least:g}" if least else "above 0"
        raise ValueError(f"{name} must be a number {bound} and at most {most:g}, got {quoted(value)}")
    return value  # type: ignore[return-value]
