"""How fast a device works off a batch of pages, and the batch with which it still keeps its latency targets.

What to expect comes from estimates, with the interval that holds nine of ten measured times. Floors bound it: no
software is faster. On a device without a calibration only the floors are known.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from ..model.analytic import Model
from ..model.geometry import Workload
from . import roofline, sizing
from .devices import Device
from .estimate import Estimate, estimate, why_not
from .sizing import Target

NS = 1e9


@dataclass(frozen=True, slots=True)
class Speed:
    """How fast a batch is served: the time to its first tokens, the mean time per token after, and pages a second."""

    ttft_ns: int
    tpot_ns: int
    pages_per_s: float

    @classmethod
    def of(cls, work: Workload, prefill_ns: int, decode_ns: int) -> Speed:
        """The speed of a batch that is prefilled and then decoded; both times are for the whole batch."""
        seconds = (prefill_ns + decode_ns) / NS
        return cls(
            prefill_ns,
            round(decode_ns / max(work.new_tokens, 1)),
            work.batch * work.pages / seconds if seconds else 0.0,
        )

    def keeps(self, target: Target) -> bool:
        """Whether both latencies are within the target."""
        return self.ttft_ns <= target.ttft_s * NS and self.tpot_ns <= target.tpot_s * NS


@dataclass(frozen=True, slots=True)
class Speeds:
    """Nine of ten times lie between `fast` and `slow`; these and `expected` are None without a calibration."""

    expected: Speed | None
    slow: Speed | None
    fast: Speed | None
    floor: Speed
    reasons: tuple[str, ...] = ()  # why the interval is wider than usual


@dataclass(frozen=True, slots=True)
class Served:
    """The largest batch that fits and keeps a target, as expected, when slow, and by floors; None if not even one.

    The speeds are of the expected batch, or of the floors' if nothing can be expected.
    """

    batch: int | None
    safe_batch: int | None
    most_batch: int | None
    speeds: Speeds | None


def speeds(model: Model, work: Workload, device: Device, attention: str = "flash") -> Speeds:
    """How fast `device` works off a batch."""
    ledgers = [model.ledger(stage, work, attention) for stage in ("prefill", "decode")]
    floor = Speed.of(work, *(roofline.floor(ledger, device).time_ns for ledger in ledgers))
    if why_not(device):
        return Speeds(None, None, None, floor)
    found = {ledger.stage: estimate(ledger, device) for ledger in ledgers}
    prefill, decode = found.values()
    return Speeds(
        Speed.of(work, prefill.time_ns, decode.time_ns),
        Speed.of(work, prefill.high_ns, decode.high_ns),
        Speed.of(work, prefill.low_ns, decode.low_ns),
        floor,
        tuple(_reasons(found)),
    )


def _reasons(found: Mapping[str, Estimate]) -> Iterator[str]:
    """Each reason once; one that not all stages have names its stage."""
    for reason in dict.fromkeys(reason for each in found.values() for reason in each.reasons):
        stages = [stage for stage, each in found.items() if reason in each.reasons]
        yield reason if len(stages) == len(found) else f"{', '.join(stages)}: {reason}"


def served(model: Model, work: Workload, device: Device, target: Target, attention: str = "flash") -> Served:
    """How many pages like that of `work` the device serves at once within the target."""
    most = sizing.batches(model, work, [device], target, attention)[device.name]
    batch = safe = None
    if most is not None:

        def at(batch: int) -> Speeds:
            return speeds(model, replace(work, batch=batch), device, attention)

        batch = sizing.largest(lambda n: n <= most and _keeps(at(n).expected, target))
        safe = sizing.largest(lambda n: n <= (batch or 0) and _keeps(at(n).slow, target))
    shown = most if why_not(device) else batch
    return Served(batch, safe, most, speeds(model, replace(work, batch=shown), device, attention) if shown else None)


def _keeps(speed: Speed | None, target: Target) -> bool:
    return speed is not None and speed.keeps(target)
