"""The time that a stage is expected to take on a calibrated device: with an interval, and what it consists of."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from math import log2
from typing import TYPE_CHECKING

from ..errors import CalibrationError
from ..model.engine import REFERENCE
from ..model.geometry import Workload
from ..model.ledger import Ledger
from ..model.precision import NATIVE_NAME
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
# How many times more or less the kernels of another engine may take than those that were calibrated. Once, on an H100,
# vLLM's took 29 ms a page of 3x2 where 31 are estimated, and a step of 8 pages 2.0 to 2.4 ms where 2.1 are.
UNKNOWN_ENGINE = 1.2
# And kernels that widen weights as they read them: nobody has measured one here, and some take as long as without.
UNKNOWN_PRECISION = 2.0


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
    terms = {name: round(ns) for name, ns in _laid_out(ledger.lines_of_work, calibration, device.l2_bytes)(ledger)}
    spread, reasons = _spread(calibration, ledger.stage, ledger.attention, ledger.work)
    spread *= unknown_kernels(engine=ledger.engine != REFERENCE.name, stage=ledger.unmeasured is not None)
    if ledger.engine != REFERENCE.name:
        reasons = (*reasons, f"no kernel of {ledger.engine} was calibrated")
    if ledger.precision != NATIVE_NAME:
        spread *= UNKNOWN_PRECISION
        reasons = (*reasons, f"no kernel that widens {ledger.precision} weights was calibrated")
    if ledger.unmeasured is not None:
        reasons = (*reasons, f"nobody calibrated {ledger.unmeasured}")
    least = floor(ledger, device).time_ns
    if sum(terms.values()) < least:  # on a sheet that is far from the calibrated one
        terms, reasons = (
            _raised(terms, least),
            (*reasons, "its constants give less than the floor, which is shown instead"),
        )
    total = sum(terms.values())
    return Estimate(total, max(round(total / spread), least), round(total * spread), terms, device.name, reasons)


def unknown_kernels(*, engine: bool, stage: bool) -> float:
    """How many times wider an interval is for what was not calibrated: an engine's kernels, a part of a stage."""
    return UNKNOWN_ENGINE ** (engine + stage)


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


def _spread(calibration: Calibration, stage: str, attention: str, work: Workload) -> tuple[float, tuple[str, ...]]:
    """How many times more or less than the estimate a measured time may be, and why that is more than usual."""
    reasons = []
    if calibration.scaled_from:
        reasons.append(f"scaled from {calibration.scaled_from} by both sheets")
    doublings, reach = 0.0, calibration.covers.get(f"{stage} {attention}")
    if reach is None:
        doublings = 1.0
        reasons.append(f"no {stage} with {attention} attention was calibrated")
    else:
        for size, most, word in (
            (work.batch, reach.batch, "batch"),
            (work.context_tokens, reach.context_tokens, "context"),
        ):
            if size > most:
                doublings += log2(size / most)
                reasons.append(f"{word} {size:,} is beyond the calibration's {most:,}")
    return calibration.spread_of(stage) * WIDER**doublings, tuple(reasons)


@lru_cache(maxsize=256)
def _laid_out(
    lines: LineWork, calibration: Calibration, l2_bytes: int
) -> Callable[[Ledger], Iterable[tuple[str, float]]]:
    """A function that gives each term of a ledger with its ns."""
    import numpy as np

    from .line_time import Rates

    rates = Rates(calibration.values, lines.patterns, l2_bytes)
    places = np.array([TERMS.index(LIMITS[pattern].term) for pattern in lines.patterns])

    def terms(ledger: Ledger) -> Terms:
        times = rates.times(ledger.work_of_lines())
        sums = np.bincount(places, times.busy_ns, len(TERMS))
        sums[0] += times.launch_ns.sum()
        return zip(TERMS, sums.tolist(), strict=True)

    return terms
