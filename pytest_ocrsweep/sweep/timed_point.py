"""A point as it is timed, and one preparation of it: its first round, and all that was seen along with it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ..baselines import energy_gate, gate, sampling
from ..baselines.attribution import Observed
from ..baselines.energy import EnergyResult
from ..baselines.evidence import EXPECTED_NOISE, Baseline
from ..baselines.host_speed import HostSpeed
from ..baselines.measurement import Environment, GateResult, Measurement, TimeSummary
from ..baselines.own import OwnKey
from ..baselines.recorded_time import RecordedTime
from ..baselines.sampling import Samples
from ..baselines.shared import ALONE, Shared
from ..model.geometry import Workload

if TYPE_CHECKING:
    from ..vendor_model.timing import PreparedPoint


class TimedPoint(NamedTuple):
    """What is timed; with real weights, `page` gives the pixels."""

    stage: str
    work: Workload
    attention: str
    page: Path | None = None
    own: str = ""  # the name of the user's own code, which is timed there

    def __str__(self) -> str:
        if self.own:
            return str(OwnKey.of(self.own, self.stage, self.work.grid, self.attention))
        return f"{self.stage} {self.work.grid} {self.attention}"


@dataclass(frozen=True, slots=True)
class Yardstick:
    """What a point's time is judged by."""

    stored: RecordedTime | None = None
    baseline: Baseline | None = None  # of what is stored, as on a middling machine
    expected: float = EXPECTED_NOISE
    shared: Shared = ALONE


@dataclass(frozen=True, slots=True)
class Sampled:
    """What one preparation of a point gave."""

    first: Samples
    wall: Samples | None  # None where the time is its caller's wall clock already
    peak_bytes: int | None
    clock: str
    experts: str | None
    kernels: int | None
    token_ns: tuple[int, ...] | None
    tensor_flops: int | None  # None where it was not counted
    energy: EnergyResult | None = None  # None where it was not asked for

    @classmethod
    def of(cls, ready: PreparedPoint, *, energy: bool) -> Sampled:
        """Take a round of a point that is ready, and with `energy` its energy after it, if the settings ask for it."""
        first, tokens = ready.sample(), ready.token_ns()
        return cls(
            first,
            ready.wall,
            ready.peak_bytes,
            ready.clock,
            ready.experts,
            ready.kernels,
            None if tokens is None else tuple(tokens),
            ready.tensor_flops,
            ready.energy() if energy else None,
        )

    @property
    def seen(self) -> Observed:
        """What the gate reads beside the time."""
        return Observed(None, self.tensor_flops, self.kernels, self.peak_bytes)

    def measurement(
        self, decision: gate.Decision, here: Environment, recorded: RecordedTime | None = None
    ) -> Measurement:
        """What was measured, of the acceptable rounds alone if there are any; the energy beside the `recorded` one."""
        good = sampling.agreeing(decision.rounds) or decision.rounds
        power_cap = sampling.power_cap(good)
        energy = self.energy
        if energy is not None:
            energy = energy_gate.judge(energy, recorded.baseline if recorded else None)
        host_speed = HostSpeed.of(reading for r in good for reading in r.readings)
        unknown = {"power_cap": power_cap, "energy": energy, "host_speed": host_speed}
        return Measurement(
            device_ns=TimeSummary.of(Samples(tuple(ns for r in good for ns in r.ns))),
            wall_ns=TimeSummary.of(self.wall) if self.wall else None,
            tensor_flops=self.tensor_flops,
            peak_bytes=self.peak_bytes,
            host=here.host,
            gpu=here.gpu,
            clock=self.clock,
            experts=self.experts,
            kernels=self.kernels,
            sm_clock_mhz=sampling.sm_clock_mhz(good),
            token_ns=self.token_ns,
            stopped=good[-1].stopped,
            rounds=len(decision.rounds),
            objections=sampling.objections(decision.rounds),
            power_w=sampling.power_w(good),
            power_cap=power_cap,
            gate=judged(decision),
            energy=energy,
            host_speed=host_speed,
            absent=frozenset(name for name, value in unknown.items() if value is None),
        )


def judged(decision: gate.Decision) -> GateResult:
    """The decision as a report has it."""
    shared = decision.shared
    offset, limit = (shared.offset, shared.limit) if shared else (None, None)
    return GateResult(decision.outcome.value, decision.change, decision.margin, offset, limit)
