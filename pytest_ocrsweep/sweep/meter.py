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
from typing import TYPE_CHECKING, Any, TypeVar

from ..baselines import energy_gate, gate
from ..baselines.measurement import Environment
from ..baselines.recorded_time import RecordedTime, incomparable
from ..baselines.sampling import Samples
from ..baselines.settle import settle
from ..errors import CheckpointError, DeviceLost, MeasureError, OutOfMemory
from ..vendor_model.versions import unsupported
from . import explain
from .explain import Measured
from .options import NO_SLOWDOWN, Slowdown
from .timed_point import Sampled, TimedPoint, Yardstick

if TYPE_CHECKING:
    from ..model.analytic import Model
    from ..model.architecture import Architecture
    from ..vendor_model.timing import Vendor
    from .settings import Settings


T = TypeVar("T")


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
    count: bool = False  # the FLOPs of each point on the vendor too, as an update does
    slowdown: Slowdown = NO_SLOWDOWN
    lock: Callable[[], AbstractContextManager[object]] = nullcontext
    fresh: Callable[[TimedPoint], Samples | None] = lambda _: None  # a round in a new process, where there can be one
    digest: str | None = None  # of the checkpoint, once it is loaded
    lost: str | None = None  # where the device failed, once it has
    held: ExitStack = field(default_factory=ExitStack, repr=False)
    firsts: dict[TimedPoint, Sampled] = field(default_factory=dict, init=False, repr=False)  # taken before judgement

    def close(self) -> None:
        """Lets the device go."""
        self.held.close()

    @cached_property
    def vendor(self) -> Vendor:
        """Raises CheckpointError for a checkpoint that does not fit."""
        from ..vendor_model import gpu_state
        from ..vendor_model.timing import Vendor

        self.held.enter_context(self.lock())
        device = gpu_state.device(self.settings.vendor.device)
        load, slowdown = self._load if self.checkpoint else None, self.slowdown
        percent = 0.0 if slowdown.component else slowdown.percent
        wanted = self.settings.vendor
        return Vendor(self.settings.model, device, wanted.seed, percent, load=load, energy_ms=wanted.energy_ms)

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

    def first(self, point: TimedPoint, *, anew: bool = False) -> Sampled:
        """A first round of a point, which `measure` goes on with if that point is judged too; taken again if `anew`.

        Raises OutOfMemory, after which other points can be measured, and DeviceLost, after which none can: `lost` says
        so from then on.
        """
        if anew or point not in self.firsts:
            self.firsts[point] = self._take(point, None, count=self.count, energy=True)
        return self.firsts[point]

    def measure(self, point: TimedPoint, by: Yardstick) -> Measured:
        """Time a point, again while the gate cannot tell.

        Raises OutOfMemory and DeviceLost, as `first` does.
        """
        taken = self.firsts.pop(point, None) or self._take(point, by.stored, count=self.count, energy=True)
        here, stored = self.environment(), by.stored
        why = incomparable(stored, taken.clock, taken.experts, here) if stored else []
        baseline = by.baseline if not why else None
        ready = iter((taken.first,))
        decision = settle(
            baseline,
            lambda: next(ready, None) or self._take(point, stored, count=False).first,
            taken.seen,
            fresh=lambda: self.fresh(point),
            review=self.reviewed,
            expected=by.expected,
            shared=by.shared,
        )
        if baseline and (other := gate.other_state(baseline, decision.rounds)):
            why = [other]
        if decision.outcome is gate.Outcome.FAIL and not self.count:  # what else changed is worth the time now
            taken = replace(taken, tensor_flops=self._take(point, stored, count=True).tensor_flops)
            decision = gate.judge(
                baseline,
                decision.rounds,
                taken.seen,
                cap=len(decision.rounds),
                expected=by.expected,
                shared=by.shared,
                apart=decision.apart,
            )
        compared = None if why else stored
        if energy_gate.fails(taken.energy, compared.baseline if compared else None):
            again = self._take(point, stored, count=False, energy=True).energy
            taken = replace(taken, energy=taken.energy and taken.energy.least(again))
        measured = Measured(taken.measurement(decision, here, compared), decision, why)
        return self.profiled(point, compared, measured)

    def profiled(self, point: TimedPoint, stored: RecordedTime | None, measured: Measured) -> Measured:
        """With the point's lines, where they were asked for or a recorded time failed; an update fails none."""
        if not self.profile and (self.count or not explain.fails(measured.decision, stored)):
            return measured
        try:
            now = explain.measured(self.vendor, self.model, point.stage, point.work, point.attention)
        except MeasureError as error:
            return replace(measured, unprofiled=str(error))
        found = explain.causes(now, measured.decision, stored, measured.measurement.sm_clock_mhz)
        now = replace(now, causes=tuple(map(str, found or ())))
        return replace(measured, measurement=replace(measured.measurement, profile=now), causes=found)

    def _take(self, point: TimedPoint, stored: RecordedTime | None, *, count: bool, energy: bool = False) -> Sampled:
        """Prepare the point anew and take a round: rounds of one graph would share its luck."""
        return self.guarded(point, lambda: self.prepared(point, stored, count, energy))

    def reviewed(self, taken: Samples) -> Samples:
        """A round with what is known of it by now."""
        return taken

    def guarded(self, point: TimedPoint, run: Callable[[], T]) -> T:
        try:
            return run()
        except (RuntimeError, MemoryError) as error:
            from ..vendor_model import failure

            if why := failure.lost(self.vendor.device):
                self.lost = f"the device failed at {point}"
                raise DeviceLost(f"the device failed, and this process can time nothing more ({why})") from None
            if not failure.out_of_memory(error):
                raise
        # Only out here is the error gone, whose traceback held the tensors.
        raise OutOfMemory(self.out_of_memory())

    def prepared(self, point: TimedPoint, stored: RecordedTime | None, count: bool, energy: bool) -> Sampled:
        self.vendor.delay = explain.delay(self.slowdown, stored)
        pixels = point.page if self.checkpoint else None
        with self.vendor.timed(point.stage, point.work, point.attention, pixels, count=count) as ready:
            return Sampled.of(ready, energy=energy)

    def out_of_memory(self) -> str:
        from ..vendor_model import gpu_state

        self.vendor.forget()
        memory = gpu_state.memory(self.vendor.device)
        has = "{:.1f} GB, of which {:.1f} GB are free".format(*(size / 1e9 for size in memory)) if memory else "less"
        return f"out of memory: {self.gpu} has {has}"
