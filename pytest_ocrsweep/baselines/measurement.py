"""What was measured at a point, and what on; None is what is not known."""

from __future__ import annotations

from dataclasses import dataclass

from .attribution import Observed
from .energy import EnergyResult
from .evidence import Process
from .host_speed import HostSpeed
from .json_layout import JsonObject, names
from .point_profile import PointProfile
from .power_cap import PowerCap
from .sampling import Samples


@dataclass(frozen=True, slots=True)
class TimeSummary(JsonObject):
    """Samples of a time in ns, in the order taken, and their quartiles; of a recorded time, quartiles alone."""

    median: int
    min: int | None = None
    q1: int | None = None
    q3: int | None = None
    samples: tuple[int, ...] = ()

    @classmethod
    def of(cls, samples: Samples) -> TimeSummary:
        q1, median, q3 = (round(ns) for ns in samples.quartiles)
        return cls(median, samples.min, q1, q3, samples.ns)


EXPLAINED = 1.4
"""Of an offset's limit. Machines 0.6 % apart (sd) are 1.8 % away once in 400; a single point that got 2 % slower on a
machine that is 1.3 to 1.8 % faster must still fail."""


def of_machine(offset: float, limit: float) -> float:
    """What of an offset a machine explains: all of it, or nothing if it is so far off that code must have done that."""
    return offset if abs(offset) <= EXPLAINED * limit else 0.0


@dataclass(frozen=True, slots=True)
class GateResult(JsonObject):
    """What the gate found of a time; ratios, of which `shared` is what all points of its family have of the change."""

    outcome: str | None = None
    change: float | None = None
    margin: float | None = None
    shared: float | None = None
    shared_limit: float | None = None  # that `shared` was judged by

    @property
    def of_machine(self) -> float:
        """What of `shared` a machine explains."""
        shared, limit = self.shared or 0.0, self.shared_limit
        return shared if limit is None else of_machine(shared, limit)


@dataclass(frozen=True, slots=True)
class Measurement(JsonObject):
    """What the reference model took at a point; `kernels` are of one call, a decode's one step."""

    device_ns: TimeSummary
    wall_ns: TimeSummary | None
    tensor_flops: int | None
    peak_bytes: int | None
    host: str | None
    gpu: str | None
    clock: str | None
    experts: str | None
    kernels: int | None
    sm_clock_mhz: int | None
    token_ns: tuple[int, ...] | None = None  # a decode's first and last step
    stopped: str | None = None
    rounds: int | None = None
    objections: tuple[str, ...] = ()
    power_w: float | None = None
    power_cap: PowerCap | None = None
    gate: GateResult = GateResult()
    profile: PointProfile | None = None
    energy: EnergyResult | None = None  # None: not asked for
    host_speed: HostSpeed | None = None  # of an engine's host, where it says it

    @property
    def process(self) -> Process:
        """The device time as the gate compares it."""
        time = self.device_ns
        q1, q3 = (time.median if ns is None else ns for ns in (time.q1, time.q3))
        energy = self.energy.of_process if self.energy else None
        return Process(time.median, q1, q3, max(1, len(time.samples)), power_cap=self.power_cap, energy=energy)

    @property
    def observed(self) -> Observed:
        """What was seen along with the time."""
        return Observed(None, self.tensor_flops, self.kernels, self.peak_bytes, self.sm_clock_mhz)


@dataclass(frozen=True, slots=True)
class Environment(JsonObject):
    """What times were taken on."""

    host: str | None = None
    gpu: str | None = None
    driver: str | None = None
    torch: str | None = None
    transformers: str | None = None
    dtype: str | None = None
    weights: str | None = None
    git_revision: str | None = None
    gpu_uuid: str | None = None  # which card; two cards of one host are two machines
    engine_start: str | None = None  # how an engine was started otherwise than by default: "encoder_graphs=true"

    def __str__(self) -> str:
        """In words: "node7: NVIDIA H200, driver 580.1, torch 2.11.0, transformers 5.23.0"."""
        versions = {"driver": self.driver, "torch": self.torch, "transformers": self.transformers}
        known = [f"{name} {version}" for name, version in versions.items() if version]
        return f"{self.host}: {', '.join([str(self.gpu), *known])}"


SINCE = ("gpu_uuid", "engine_start")  # earlier versions did not record them, and None is not recorded
ENVIRONMENT = tuple(name for name in names(Environment) if name not in SINCE)  # what a sweep is of, and compared by
