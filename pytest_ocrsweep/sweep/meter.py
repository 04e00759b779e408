"""From a point to what the reference model takes there, judged by the gate; torch loads when a point is measured."""

from __future__ import annotations

import ctypes
import os
import platform
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..baselines import gate
from ..baselines.attribution import Observed
from ..baselines.measurement import Environment, GateResult, Measurement, TimeSummary
from ..baselines.recorded_time import RecordedTime, incomparable
from ..baselines.sampling import Samples
from ..errors import CheckpointError, DeviceLost, MeasureError, OutOfMemory
from ..model.geometry import Workload
from ..vendor_model.versions import unsupported
from . import explain
from .explain import Measured
from .options import NO_SLOWDOWN, Slowdown

if TYPE_CHECKING:
    from ..model.analytic import Model
    from ..model.architecture import Architecture
    from ..vendor_model.timing import PreparedPoint, Vendor
    from .settings import Settings


def why_not(device: str) -> str | None:
    """Why nothing can be measured on `device` ("cuda", "cuda:1", "cpu"); None where it can. Loads torch last."""
    for module in ("torch", "transformers"):
        if find_spec(module) is None:
            return f"{module} is not installed (pip install 'pytest-ocrsweep[vendor]')"
    if wrong := unsupported():
        return wrong
    if device == "cpu":
        return None
    if os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1"):
        return "no GPU: CUDA_VISIBLE_DEVICES is empty"
    if not _has_driver():
        return "no GPU: this machine has no NVIDIA driver"
    from ..vendor_model import gpu_state

    return None if gpu_state.usable() else "no GPU: torch finds none that it can use"


def _has_driver() -> bool:
    for library in ("libcuda.so.1", "nvcuda.dll"):
        try:
            ctypes.CDLL(library)
        except OSError:
            continue
        return True
    return False


def check(folder: Path, model: Architecture) -> None:
    """Raises CheckpointError for a folder that is no checkpoint of `model`; no tensor is read. Loads torch."""
    from ..vendor_model import checkpoint

    with _refused():
        checkpoint.check(folder, model)


@contextmanager
def _refused() -> Iterator[None]:
    try:
        yield
    except CheckpointError as error:
        raise error.at("--ocrsweep-checkpoint") from None


@dataclass
class Meter:
    """The reference model on this process's device, built at the first point.

    From then on the process holds the device's `lock`: another that only waited with a model built would already
    be company on the GPU.
    """

    settings: Settings
    model: Model
    checkpoint: Path | None = None
    profile: bool = False
    slowdown: Slowdown = NO_SLOWDOWN
    lock: Callable[[], AbstractContextManager[object]] = nullcontext
    digest: str | None = None  # of the checkpoint, once it is loaded
    lost: str | None = None  # where the device failed, once it has
    _held: ExitStack = field(default_factory=ExitStack, repr=False)

    def close(self) -> None:
        """Lets the device go."""
        self._held.close()

    @cached_property
    def vendor(self) -> Vendor:
        """Raises CheckpointError for a checkpoint that does not fit."""
        from ..vendor_model import gpu_state
        from ..vendor_model.timing import Vendor

        self._held.enter_context(self.lock())
        device = gpu_state.device(self.settings.vendor.device)
        load, slowdown = self._load if self.checkpoint else None, self.slowdown
        percent = 0.0 if slowdown.component else slowdown.percent
        return Vendor(self.settings.model, device, self.settings.vendor.seed, percent, load=load)

    def _load(self, attention: str, experts: str) -> Any:
        from ..vendor_model import checkpoint

        assert self.checkpoint is not None
        with _refused():
            loaded = checkpoint.load(
                self.checkpoint, self.settings.model, attention, experts, self.settings.vendor.device
            )
        self.digest = loaded.digest
        return loaded.model

    @cached_property
    def gpu(self) -> str:
        """The name of the device that is measured."""
        from ..vendor_model import gpu_state

        return gpu_state.name(self.vendor.device)

    def environment(self) -> Environment:
        """What the times were taken on; None where unknown."""
        from ..vendor_model import gpu_state, versions

        torch, transformers = versions.loaded()
        return Environment(
            host=platform.node(),
            gpu=self.gpu,
            driver=gpu_state.driver(),
            torch=torch,
            transformers=transformers,
            dtype=self.settings.model.dtype,
            weights=f"checkpoint {self.digest}" if self.digest else f"random, seed {self.settings.vendor.seed}",
            gpu_uuid=gpu_state.uuid(self.vendor.device),
        )

    def measure(
        self,
        stage: str,
        work: Workload,
        attention: str,
        stored: RecordedTime | None,
        expected: float,
        *,
        count: bool,
        page: Path | None,
    ) -> Measured:
        """Time a point, again while the gate cannot tell; `count` its FLOPs on the vendor too, as an update does.

        With real weights, `page` gives the pixels. Raises OutOfMemory, after which other points can be measured, and
        DeviceLost, after which none can: `lost` says so from then on.
        """
        try:
            return self._measure(stage, work, attention, stored, expected, count=count, page=page)
        except (RuntimeError, MemoryError) as error:
            from ..vendor_model import failure

            if why := failure.lost(self.vendor.device):
                self.lost = f"the device failed at {stage} {work.grid} {attention}"
                raise DeviceLost(f"the device failed, and this process can time nothing more ({why})") from None
            if not failure.out_of_memory(error):
                raise
        # Only out here is the error gone, whose traceback held the tensors.
        raise OutOfMemory(self._out_of_memory())

    def _out_of_memory(self) -> str:
        from ..vendor_model import gpu_state

        self.vendor.forget()
        memory = gpu_state.memory(self.vendor.device)
        has = "{:.1f} GB, of which {:.1f} GB are free".format(*(size / 1e9 for size in memory)) if memory else "less"
        return f"out of memory: {self.gpu} has {has}"

    def _measure(
        self,
        stage: str,
        work: Workload,
        attention: str,
        stored: RecordedTime | None,
        expected: float,
        *,
        count: bool,
        page: Path | None,
    ) -> Measured:
        pixels = page if self.checkpoint else None
        self.vendor.delay = explain.delay(self.slowdown, stored)
        with self.vendor.timed(stage, work, attention, pixels) as point:
            here = self.environment()
            why = incomparable(stored, point.clock, point.experts, here) if stored else []
            baseline = stored.baseline if stored and not why else None
            flops = point.tensor_flops() if count else None
            seen = Observed(None, flops, point.kernels, point.peak_bytes)
            decision = gate.settle(baseline, point.sample, seen, expected=expected)
            if decision.outcome is gate.Outcome.FAIL and not count:  # what else changed is worth the time now
                seen = replace(seen, tensor_flops=point.tensor_flops())
                decision = gate.judge(baseline, decision.rounds, seen, expected=expected)
            measured = Measured(_measurement(point, decision, seen, here), decision, why)
        stored = None if why else stored
        if not self.profile and (count or not explain.fails(decision, stored)):  # an update fails no time
            return measured
        try:
            now = explain.measured(self.vendor, self.model, stage, work, attention)
        except MeasureError as error:
            return replace(measured, unprofiled=str(error))
        found = explain.causes(now, decision, stored, measured.measurement.sm_clock_mhz)
        now = replace(now, causes=tuple(map(str, found or ())))
        return replace(measured, measurement=replace(measured.measurement, profile=now), causes=found)


def _measurement(point: PreparedPoint, decision: gate.Decision, seen: Observed, here: Environment) -> Measurement:
    """What was measured, of the acceptable rounds alone if there are any."""
    good = [r for r in decision.rounds if not r.objections] or list(decision.rounds)
    tokens = point.token_ns()
    return Measurement(
        device_ns=TimeSummary.of(Samples(tuple(ns for r in good for ns in r.ns))),
        wall_ns=TimeSummary.of(point.wall),
        tensor_flops=seen.tensor_flops,
        peak_bytes=point.peak_bytes,
        host=here.host,
        gpu=here.gpu,
        clock=point.clock,
        experts=point.experts,
        kernels=point.kernels,
        sm_clock_mhz=good[-1].after.sm_clock_mhz,
        token_ns=None if tokens is None else tuple(tokens),
        stopped=good[-1].stopped,
        rounds=len(decision.rounds),
        objections=tuple(sorted({o for r in decision.rounds for o in r.objections})),
        power_w=good[-1].after.power_w,
        gate=GateResult(decision.outcome.value, decision.change, decision.margin),
    )
