"""The time that a stage is expected to take on a calibrated device: with an interval, and what it consists of."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from math import log2
from typing import TYPE_CHECKING

from ..errors import CalibrationError
from ..model.engine import REFERENCE
from ..model.ledger import Ledger
from ..model.precision import NATIVE_NAME
from ..model.stages import STAGES
from .calibration import LIMITS, TERMS, Calibration
from .calibration_file import calibration_of
from .devices import Device
from .roofline import floor

if TYPE_CHECKING:
    from ..model.line_work import LineWork

Terms = Iterable[tuple[str, float]]  # a name of TERMS, ns
# The power by which an interval grows each time that a size doubles beyond what the calibration covers. From batch 1 to
# 64, six doublings, and from prompts of 1,000 tokens to 7,000, errors of at most 6 % were seen: this allows for more.
WIDER = 1.05
# How many times more or less other kernels, or those of other sizes, may take than those that were calibrated. Once, on
# an H100, vLLM's took 29 ms a page of 3x2 where 31 are estimated, and a step of 8 pages 2.0 to 2.4 ms where 2.1 are.
UNKNOWN_KERNELS = 1.2
# And kernels that widen weights as they read them, or multiply 8-bit floats: nobody has measured one here, and some of
# the former take as long as without.
UNKNOWN_PRECISION = 2.0

BEYOND = {  # what a stage reads of a page
    "image_tokens": "{:,} image tokens are",
    "context_tokens": "context {:,} is",
    "keys": "context {:,}, new tokens included, is",
}


@dataclass(frozen=True, slots=True)
class Estimate:
    """Whole nanoseconds of the device's own time, all steps of a decode together; `terms` sum to `time_ns`."""

    time_ns: int
    low_ns: int  # 90 % of measured times lie between `low_ns`, which no floor exceeds, and `high_ns`
    high_ns: int
    terms: Mapping[str, int]  # by the names of TERMS
    device: str
    reasons: tuple[str, ...]  # why the interval is wider than the calibration's own


def estimate(ledger: Ledger, device: Device) -> Estimate:
    """What `ledger` takes on `device`. Raises CalibrationError, which names the remedy, if that is not known."""
    calibration = calibration_of(device)
    lines = ledger.lines_of_work
    laid_out = _laid_out(lines, calibration, device.l2_bytes, speedup_of(lines, device))
    terms = {name: round(ns) for name, ns in laid_out(ledger)}
    spread, reasons = _spread(calibration, ledger)
    least = floor(ledger, device).time_ns
    if sum(terms.values()) < least:  # on a sheet that is far from the calibrated one
        terms, reasons = (
            _raised(terms, least),
            (*reasons, "its constants give less than the floor, which is shown instead"),
        )
    total = sum(terms.values())
    return Estimate(total, max(round(total / spread), least), round(total * spread), terms, device.name, reasons)


def speedup_of(lines: LineWork, device: Device) -> float:
    """`fp8_speedup` for lines some of which multiply 8-bit floats, else 1. Raises ConfigError as it does."""
    return device.fp8_speedup if lines.fp8.any() else 1.0


def unknown(
    calibration: Calibration,
    stage: str,
    attention: str,
    *,
    engine: str,
    precision: str,
    fp8: bool,
    unmeasured: str | None,
    weight_bytes: int,
) -> Iterator[tuple[float, str]]:
    """How many times wider an interval is for each thing that was not calibrated, and what that is."""
    if engine != REFERENCE.name:
        yield UNKNOWN_KERNELS, f"no kernel of {engine} was calibrated"
    if fp8:
        yield UNKNOWN_PRECISION, "nobody has measured a product of 8-bit floats"
    elif precision != NATIVE_NAME:
        yield UNKNOWN_PRECISION, f"no kernel that widens {precision} weights was calibrated"
    reach = calibration.covers.get(f"{stage} {attention}")
    calibrated = None if reach is None else reach.weight_bytes
    if unmeasured is not None:
        yield UNKNOWN_KERNELS, f"nobody calibrated {unmeasured}"
    elif precision == NATIVE_NAME and calibrated not in (None, weight_bytes):
        megabytes = f"{weight_bytes / 1e6:,.1f} MB of weights"
        yield UNKNOWN_KERNELS, f"no {stage} of a model with {megabytes} was calibrated"
    if stage not in calibration.spread:
        yield 1.0, f"no {stage} judged the calibration"


def _raised(terms: Mapping[str, int], total: int) -> dict[str, int]:
    """The terms in the same proportions, with this sum."""
    before = sum(terms.values())
    raised = {name: ns * total // before for name, ns in terms.items()}
    raised[max(raised, key=raised.__getitem__)] += total - sum(raised.values())
    return raised


def why_not(device: Device) -> CalibrationError | None:
    """Why nothing can be estimated on `device`, and what to do; None if it has a calibration."""
    try:
        calibration_of(device)
    except CalibrationError as error:
        return error
    return None


def _spread(calibration: Calibration, ledger: Ledger) -> tuple[float, tuple[str, ...]]:
    """How many times more or less than the estimate a measured time may be, and why that is more than usual."""
    stage, attention, reasons = ledger.stage, ledger.attention, []
    if calibration.scaled_from:
        reasons.append(f"scaled from {calibration.scaled_from} by both sheets")
    doublings, reach = 0.0, calibration.covers.get(f"{stage} {attention}")
    if reach is None:
        doublings = 1.0
        reasons.append(f"no {stage} with {attention} attention was calibrated")
    else:
        for size, most, words in (
            (ledger.work.batch, reach.batch, "batch {:,} is"),
            (ledger.tokens, reach.tokens, BEYOND[STAGES[stage].tokens]),
        ):
            if size > most:
                doublings += log2(size / most)
                reasons.append(f"{words.format(size)} beyond the calibration's {most:,}")
    spread = calibration.spread_of(stage) * WIDER**doublings
    for factor, reason in unknown(
        calibration,
        stage,
        attention,
        engine=ledger.engine,
        precision=ledger.precision,
        fp8=ledger.fp8_tensor_flops > 0,
        unmeasured=ledger.unmeasured,
        weight_bytes=ledger.weight_bytes,
    ):
        spread *= factor
        reasons.append(reason)
    return spread, tuple(reasons)


@lru_cache(maxsize=256)
def _laid_out(
    lines: LineWork, calibration: Calibration, l2_bytes: int, fp8_speedup: float
) -> Callable[[Ledger], Iterable[tuple[str, float]]]:
    """A function that gives each term of a ledger with its ns."""
    import numpy as np

    from .line_time import Rates, limits_of

    faster = np.where(lines.fp8, fp8_speedup, 1.0)
    rates = Rates(calibration.values, limits_of(lines.patterns), l2_bytes, faster)
    places = np.array([TERMS.index(LIMITS[pattern].term) for pattern in lines.patterns])

    def terms(ledger: Ledger) -> Terms:
        times = rates.times(ledger.work_of_lines())
        sums = np.bincount(places, times.busy_ns, len(TERMS))
        sums[0] += times.launch_ns.sum()
        return zip(TERMS, sums.tolist(), strict=True)

    return terms
