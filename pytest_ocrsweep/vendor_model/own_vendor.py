"""Code of the user's own, timed as the reference model is: by its clocks, warm-up, stopping rule and readings."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ..errors import MeasureError
from ..model.geometry import Workload
from . import operator_count
from .clocks import Clock, CpuClock, GraphClock, HostClock
from .compat import trusting_image_tokens
from .failure import out_of_memory
from .families import ReferenceModel
from .forward import Call
from .operator_count import OperatorCount
from .regions import Region
from .timing import PreparedPoint, Vendor


@dataclass
class OwnVendor(Vendor):
    """Times `own` in place of the reference model, and changes nothing of it: its experts run as they are set there."""

    own: ReferenceModel | None = None
    cuda_graph: bool = False  # of a call: whether its device time is that of a graph's replays
    cpu_time: bool = False  # of a call: whether its time is the CPU's, not the clock's on the wall

    @classmethod
    def beside(cls, other: Vendor) -> OwnVendor:
        """On the device of another, whose driver has settled."""
        other.settle()
        vendor = cls(other.model, other.device, other.seed, other.slowdown_percent, other.rule)
        vendor.graph_speed, vendor.energy_meter = other.graph_speed, other.energy_meter
        return vendor

    def built(self, attention: str, experts: str) -> ReferenceModel:
        assert self.own is not None
        return self.own

    def forget(self) -> None:
        """The model stays: it is the user's."""
        self.tidy()

    def _experts_run(self, stage: str) -> str | None:
        return None

    @contextmanager
    def _region(
        self, built: ReferenceModel, stage: str, work: Workload, attention: str, page: Path | None
    ) -> Iterator[Region]:
        with trusting_image_tokens(built), Vendor._region(self, built, stage, work, attention, page) as region:
            yield region

    def counted(self, stage: str, work: Workload, attention: str) -> OperatorCount:
        """The FLOPs of a point, counted on the model as it runs."""
        with self.running(stage, work, attention) as region:
            return operator_count.count(region.calls, region.halves, self.own)

    @contextmanager
    def timed_call(self, call: Call) -> Iterator[PreparedPoint]:
        """A call, warm and with its clock ready."""
        try:
            yield self.prepared(Region((call,), lambda: call, (2,), 0), None, count=False)
        finally:
            self.tidy()

    def _clock_of(self, call: Call) -> Clock:
        return Vendor._clock_of(self, call) if self.own is not None else self._call_clock(call)

    def _call_clock(self, call: Call) -> Clock:
        """The host's: a graph would leave out all that a call does on the host, and so is only what was asked for."""
        if not self.cuda_graph:
            return CpuClock(call) if self.cpu_time else HostClock(call)
        try:
            return GraphClock(call)
        except RuntimeError as error:
            if out_of_memory(error):
                raise
            why = str(error).partition("\n")[0]
            raise MeasureError(f"no CUDA graph captures the call ({why});", "time it without cuda_graph=True") from None
