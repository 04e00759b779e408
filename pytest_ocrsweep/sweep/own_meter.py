"""From code of the user's own to what it takes, on the device of the reference model and judged by the same gate."""

from __future__ import annotations

import platform
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

from ..baselines.measurement import Environment
from ..baselines.own import OwnCount
from ..baselines.recorded_time import RecordedTime
from ..errors import DeviceLost, MeasureError
from ..model.geometry import Workload
from ..model.stages import STAGES
from .explain import Measured
from .gpu_lock import gpu_lock
from .meter import Meter, T
from .timed_point import Sampled, TimedPoint, Yardstick

if TYPE_CHECKING:
    from ..vendor_model.families import ReferenceModel
    from ..vendor_model.own_vendor import OwnVendor

Call = Callable[[], object]
HOST = "host"  # the name of its lock
WEIGHTS = "own"  # in an environment: nothing more is known of them


@dataclass
class OwnMeter(Meter):
    """Times the model or the call that it was given last; `whole` is the meter of the reference model."""

    whole: Meter | None = None
    counts: dict[TimedPoint, OwnCount] = field(default_factory=dict, init=False)
    _call: Call | None = field(default=None, init=False)

    @cached_property
    def vendor(self) -> OwnVendor:
        from ..vendor_model.own_vendor import OwnVendor

        return OwnVendor.beside(self._whole.vendor)

    @property
    def _whole(self) -> Meter:
        assert self.whole is not None
        return self.whole

    @cached_property
    def gpu(self) -> str:
        return self._whole.gpu

    def give_model(self, model: object, attention: str) -> None:
        """What is timed from now on. Raises MeasureError for a model that cannot be."""
        from ..vendor_model import own_model

        self.lost = self._whole.lost
        self.vendor.own, self._call = own_model.check(model, attention, self.vendor.device), None

    def give_call(self, call: Call, *, cuda_graph: bool) -> None:
        """What is timed from now on. Raises MeasureError for a graph where there is no GPU."""
        if cuda_graph and self.vendor.device.type != "cuda":
            raise MeasureError(f"cuda_graph=True: {self.vendor.device} has no CUDA graphs;", "leave it out there")
        self.lost = self._whole.lost
        self.vendor.own, self._call, self.vendor.cuda_graph = None, call, cuda_graph

    @property
    def _model(self) -> ReferenceModel | None:
        return self.vendor.own

    def does_the_same(self, point: TimedPoint) -> bool:
        """Whether the model does the reference model's work on as many bytes of weights: only then its floor holds."""
        from ..vendor_model import own_model

        page = Workload(self.model.architecture.tiling.smallest)
        counted = max(self.model.ledger(stage, page).weight_bytes for stage in STAGES)
        agrees = point in self.counts and self.counts[point].agrees
        return agrees and self._model is not None and own_model.weight_bytes(self._model) >= counted

    def environment(self) -> Environment:
        """The reference model's, with what is known of the code."""
        from ..vendor_model import own_model

        here = self._whole.environment()
        if self._model is None:
            return replace(here, dtype=None, weights=None)
        return replace(here, dtype=own_model.dtype(self._model), weights=WEIGHTS)

    def measure(self, point: TimedPoint, by: Yardstick) -> Measured:
        """Count and time it, again while the gate cannot tell. Raises OutOfMemory and DeviceLost."""
        self.counts[point] = self.guarded(point, lambda: self._counted(point))
        if first := self.firsts.get(point):  # taken for the offset of its family, which needs no count
            self.firsts[point] = replace(first, tensor_flops=self.counts[point].tensor_flops)
        return super().measure(point, by)

    def guarded(self, point: TimedPoint, run: Callable[[], T]) -> T:
        try:
            return super().guarded(point, run)
        except DeviceLost:
            self._whole.lost = self.lost
            raise

    def _counted(self, point: TimedPoint) -> OwnCount:
        from ..vendor_model import operator_count

        if self._call is not None:
            found = operator_count.count([self._call])
            return OwnCount(found.total, why=found.why)
        found = self.vendor.counted(point.stage, point.work, point.attention)
        analytic = self.model.ledger(point.stage, point.work, point.attention).total().tensor_flops
        if found.total in (None, analytic):
            return OwnCount(found.total, analytic, why=found.why)
        reference = operator_count.of_reference(self.settings.model, point.stage, point.work, point.attention)
        return OwnCount(found.total, analytic, found.less(reference))

    def prepared(self, point: TimedPoint, stored: RecordedTime | None, count: bool, energy: bool) -> Sampled:
        if self._call is None:
            taken = super().prepared(point, stored, count=False, energy=energy)
        else:
            with self.vendor.timed_call(self._call) as ready:
                taken = Sampled.of(ready, energy=energy)
        return replace(taken, tensor_flops=self.counts[point].tensor_flops if point in self.counts else None)

    def profiled(self, point: TimedPoint, stored: RecordedTime | None, measured: Measured) -> Measured:
        """Lines are those of the reference model: a model that does other work has none."""
        return super().profiled(point, stored, measured) if self.does_the_same(point) else measured

    def out_of_memory(self) -> str:
        self._whole.vendor.forget()
        return super().out_of_memory()


@dataclass
class HostMeter(OwnMeter):
    """Times calls on the host's CPU, one at a time on the host; what they take is of that CPU, by its name."""

    @cached_property
    def vendor(self) -> OwnVendor:
        vendor = super().vendor
        vendor.cpu_time = True
        return vendor

    @cached_property
    def gpu(self) -> str:
        from cpuinfo import get_cpu_info  # type: ignore[import-untyped]

        return str(get_cpu_info().get("brand_raw") or platform.machine() or "cpu")

    def environment(self) -> Environment:
        """That of the CPU: a GPU beside it and its driver count for nothing."""
        return replace(super().environment(), gpu=self.gpu, driver=None)

    def measure(self, point: TimedPoint, by: Yardstick) -> Measured:
        """Alone among our processes; one that has measured may live on, as it leaves nothing on a CPU."""
        with gpu_lock(HOST, lambda _: None, patience_s=0):
            return super().measure(point, by)
