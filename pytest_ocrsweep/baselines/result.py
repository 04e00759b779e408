"""One point as a value: what is counted of it, its floor, what was measured, and what that came to.

Base units everywhere; None is what is not known or was not measured. The JSON is in `result_json`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache

from ..errors import CalibrationError
from ..hardware import roofline
from ..hardware.devices import Device
from ..hardware.estimate import estimate
from ..model.geometry import CropGrid, Workload
from ..model.ledger import Ledger
from ..model.stages import STAGES
from .json_layout import NOTHING, JsonObject, names
from .measurement import Measurement
from .moved import Moved
from .point_profile import component_of
from .verdict import Verdict

NAMES = ("stage", "grid", "attention")  # what a point is found by, within one workload


@dataclass(frozen=True, slots=True)
class Costs(JsonObject):
    """What a stage or a component costs."""

    tensor_flops: int
    vector_flops: int
    read_bytes: int
    write_bytes: int


COSTS = names(Costs)
NOT_MOVED = frozenset({"moved"})  # the field that a document has only of points that moved


@dataclass(frozen=True, slots=True)
class Analytic(JsonObject):
    """What is counted of a point: the numbers of the metrics that are counted from a ledger."""

    numbers: Mapping[str, int] = field(hash=False)

    def __getitem__(self, name: str) -> int:
        return self.numbers[name]


@dataclass(frozen=True, slots=True)
class FloorResult(JsonObject):
    """The least time that physics allows on a device; what stands beside a measured time is None without one."""

    device: str
    compulsory_bytes: int | None
    time_ns: int
    bound: str
    tensor_ns: int | None
    vector_ns: int | None
    bandwidth_ns: int | None
    dram_bytes: int | None = None
    kernel_limit_ns: int | None = None
    attained: float | None = None
    mfu: float | None = None
    mbu: float | None = None

    @classmethod
    def of(cls, ledger: Ledger, device: Device, measured_ns: int | None = None, path: str = "") -> FloorResult:
        """A stage's floor, beside a measured time if there is one; or that of its part at `path`."""
        least, compulsory = roofline.floor(ledger, device, path), ledger.compulsory(path)
        counted = (device.name, compulsory, least.time_ns, least.bound)
        times = (least.tensor_ns, least.vector_ns, least.bandwidth_ns)
        if measured_ns is None:
            return cls(*counted, *times)
        return cls(
            *counted,
            *times,
            None if ledger.dram_unknown else ledger.dram_bytes(device),
            roofline.kernel_limit(ledger, device),
            roofline.attained(least, measured_ns),
            roofline.mfu(ledger, device, measured_ns),
            roofline.mbu(ledger, device, measured_ns),
        )


@dataclass(frozen=True, slots=True)
class EstimateResult(JsonObject):
    """The device's own time that a calibration expects; 90 % of measured times lie between `low_ns` and `high_ns`."""

    device: str
    time_ns: int
    low_ns: int
    high_ns: int
    terms: Mapping[str, int] = field(default_factory=lambda: NOTHING, hash=False)  # ns; they sum to `time_ns`
    reasons: tuple[str, ...] = ()  # why the interval is wider than the calibration's own

    @classmethod
    def of(cls, ledger: Ledger, device: Device) -> EstimateResult | None:
        """What a stage is expected to take; None if the device has no calibration. Loads numpy."""
        try:
            found = estimate(ledger, device)
        except CalibrationError:
            return None
        return cls(found.device, found.time_ns, found.low_ns, found.high_ns, found.terms, found.reasons)

    @property
    def spread(self) -> float:
        """How many times longer than expected a measured time may be."""
        return self.high_ns / self.time_ns if self.time_ns else 1.0


@dataclass(frozen=True, slots=True)
class PointResult(JsonObject):
    """One point: what it costs, the floor where the device is known, what was measured, and what that came to.

    The estimate is of the floor's device; a run adds it last, and only to points that it shows or stores.
    """

    stage: str
    grid: CropGrid
    attention: str
    image_tokens: int
    context_tokens: int
    new_tokens: int
    batch: int
    analytic: Analytic
    floor: FloorResult | None
    vendor: Measurement | None
    verdict: Verdict
    components: Mapping[str, Costs] = field(
        default_factory=lambda: NOTHING, hash=False
    )  # by path, in the order they run
    estimate: EstimateResult | None = None
    moved: tuple[Moved, ...] = ()  # since its baseline, if it failed or improved

    @classmethod
    def of(
        cls,
        stage: str,
        work: Workload,
        attention: str,
        analytic: Analytic,
        floor: FloorResult | None = None,
        vendor: Measurement | None = None,
        verdict: Verdict = Verdict.COUNTED,
        components: Mapping[str, Costs] | None = None,
        estimate: EstimateResult | None = None,
        moved: tuple[Moved, ...] = (),
    ) -> PointResult:
        """A point of a workload."""
        tokens = (work.image_tokens, work.context_tokens, work.new_tokens, work.batch)
        parts = components or NOTHING
        absent = frozenset[str]() if moved else NOT_MOVED
        return cls(
            *(stage, work.grid, attention, *tokens),
            analytic,
            floor,
            vendor,
            verdict,
            parts,
            estimate,
            moved,
            absent=absent,
        )

    @property
    def key(self) -> tuple[str, CropGrid, str]:
        """What the point is found by."""
        return self.stage, self.grid, self.attention

    def __str__(self) -> str:
        return f"{self.stage} {self.grid} {self.attention}"


def order(point: PointResult) -> tuple[int, CropGrid, str]:
    """Points sort by stage, grid and attention, whichever worker was first."""
    return list(STAGES).index(point.stage), point.grid, point.attention


def components(ledger: Ledger) -> dict[str, Costs]:
    """What each part costs, in the order they run: "sam", "clip", …, "decoder/attn", …, "head"."""
    totals = {path: ledger.total(path) for path in _components(ledger.paths)}
    return {path: Costs(*(getattr(cost, name) for name in COSTS)) for path, cost in totals.items()}


@cache
def _components(paths: tuple[str, ...]) -> tuple[str, ...]:
    """Cached, because most points of a sweep have the same paths."""
    return tuple(dict.fromkeys(map(component_of, paths)))
