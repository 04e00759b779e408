"""From a point to what the vendor's model takes there, judged by the gate; torch is loaded when a point is measured."""

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

from ..baselines import gate, timed
from ..baselines.sampling import Samples
from ..model.geometry import Workload
from ..vendor_model.versions import unsupported

if TYPE_CHECKING:
    from ..model.architecture import Architecture
    from ..vendor_model.timing import PreparedPoint, Vendor
    from .settings import Settings


class MeasureError(ValueError):
    """What keeps a point from being measured, in one line."""


class OutOfMemory(MeasureError):
    """The device's memory did not hold the point, and holds nothing of it any more."""


class DeviceLost(MeasureError):
    """The device answers this process no more."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What one point took: `found` as `sweep.json` has it, and the gate's word on it.

    `incomparable` says why what is recorded was no baseline for it.
    """

    found: dict[str, Any]
    verdict: gate.Verdict
    incomparable: list[str]


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
    import torch

    return None if torch.cuda.is_available() else "no GPU: torch finds none that it can use"


def _has_driver() -> bool:
    for library in ("libcuda.so.1", "nvcuda.dll"):
        try:
            ctypes.CDLL(library)
        except OSError:
            continue
        return True
    return False


def check(folder: Path, model: Architecture) -> None:
    """Raises MeasureError for a folder that is no checkpoint of `model`; no tensor is read. Loads torch."""
    from ..vendor_model import checkpoint

    with _refused():
        checkpoint.check(folder, model)


@contextmanager
def _refused() -> Iterator[None]:
    from ..vendor_model.snapshot_files import CheckpointError

    try:
        yield
    except CheckpointError as error:
        raise MeasureError(f"--ocrsweep-checkpoint: {error}") from None


@dataclass
class Meter:
    """The vendor's model on this process's device, built at the first point.

    From then on the process holds the device's `lock`: another that only waited with a model built would already
    be company on the GPU.
    """

    settings: Settings
    checkpoint: Path | None = None
    slowdown_percent: float = 0.0
    lock: Callable[[], AbstractContextManager[object]] = nullcontext
    digest: str | None = None  # of the checkpoint, once it is loaded
    lost: str | None = None  # where the device failed, once it has
    _held: ExitStack = field(default_factory=ExitStack, repr=False)

    def close(self) -> None:
        """Lets the device go."""
        self._held.close()

    @cached_property
    def vendor(self) -> Vendor:
        """Raises MeasureError for a checkpoint that does not fit."""
        import torch

        from ..vendor_model.timing import Vendor

        self._held.enter_context(self.lock())
        device = torch.device(self.settings.vendor.device)
        load = self._load if self.checkpoint else None
        return Vendor(self.settings.model, device, self.settings.vendor.seed, self.slowdown_percent, load=load)

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
        import torch

        device = self.vendor.device
        return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"

    def environment(self) -> dict[str, str | None]:
        """What the times were taken on; None where unknown."""
        import torch
        import transformers

        from ..vendor_model import gpu_state

        return {
            "host": platform.node(),
            "gpu": self.gpu,
            "driver": gpu_state.driver(),
            "torch": str(torch.__version__),  # a class of its own, which no worker can send
            "transformers": transformers.__version__,
            "dtype": self.settings.model.dtype,
            "weights": f"checkpoint {self.digest}" if self.digest else f"random, seed {self.settings.vendor.seed}",
        }

    def measure(
        self,
        stage: str,
        work: Workload,
        attention: str,
        stored: timed.Stored | None,
        expected: float,
        *,
        count: bool,
        page: Path | None,
    ) -> Measured:
        """Time a point, again while the gate cannot tell; `count` its FLOPs on the vendor too, which takes longer.

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
        stored: timed.Stored | None,
        expected: float,
        *,
        count: bool,
        page: Path | None,
    ) -> Measured:
        pixels = page if self.checkpoint else None
        with self.vendor.timed(stage, work, attention, pixels) as point:
            why = timed.incomparable(stored, point.clock, point.experts, self.environment()) if stored else []
            baseline = stored.baseline if stored and not why else None
            flops = point.tensor_flops() if count else None
            seen = gate.Observed(None, flops, point.kernels, point.peak_bytes)
            verdict = gate.settle(baseline, point.sample, seen, expected=expected)
            if verdict.outcome is gate.Outcome.FAIL and not count:  # what else changed is worth the time now
                seen = replace(seen, tensor_flops=point.tensor_flops())
                verdict = gate.judge(baseline, verdict.rounds, seen, expected=expected)
            return Measured({"host": platform.node(), "gpu": self.gpu, **_found(point, verdict, seen)}, verdict, why)


def _found(point: PreparedPoint, verdict: gate.Verdict, seen: gate.Observed) -> dict[str, Any]:
    good = [r for r in verdict.rounds if not r.objections] or list(verdict.rounds)
    pooled = Samples(tuple(ns for r in good for ns in r.ns))
    return {
        "tensor_flops": seen.tensor_flops,
        "device_ns": _summary(pooled),
        "wall_ns": _summary(point.wall),
        "peak_bytes": point.peak_bytes,
        "clock": point.clock,
        "experts": point.experts,
        "kernels": point.kernels,
        "token_ns": point.token_ns(),
        "stopped": good[-1].stopped,
        "rounds": len(verdict.rounds),
        "objections": sorted({o for r in verdict.rounds for o in r.objections}),
        "sm_clock_mhz": good[-1].after.sm_clock_mhz,
        "power_w": good[-1].after.power_w,
        "gate": {"outcome": str(verdict.outcome), "change": verdict.change, "margin": verdict.margin},
    }


def _summary(samples: Samples) -> dict[str, Any]:
    q1, median, q3 = (round(x) for x in samples.quartiles)
    return {"min": samples.min, "median": median, "q1": q1, "q3": q3, "samples": list(samples.ns)}
