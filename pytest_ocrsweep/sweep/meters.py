"""What times the points of a run: the reference model on a device, or an engine that the settings say how to reach."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from ..errors import ArgumentError
from ..model.stages import STAGES
from .options import SLOWDOWN

if TYPE_CHECKING:
    from ..model.analytic import Model
    from .meter import Meter
    from .options import Options
    from .settings import Settings


def why_not(settings: Settings) -> str | None:
    """Why nothing can be timed; None if it can."""
    if not settings.precision.is_native:
        return f"weights in {settings.precision.name} are counted, not timed: precision=native is timed"
    if settings.engine.is_reference:
        from .meter import why_not

        return why_not(settings.vendor.device)
    engine = settings.engine
    if engine.python or engine.url:
        return None
    return f"{engine.name} is not timed: set engine.python to an interpreter that has it, or engine.url to a server"


def check(settings: Settings, options: Options) -> None:
    """Raises ArgumentError for what only the reference model can be asked, which would do nothing here."""
    engine = settings.engine
    if engine.is_reference:
        return
    slowed = options.slowdown
    for asked, what in (
        (options.profile, "--ocrsweep-profile: the lines of {} are not measured;"),
        (settings.vendor.energy_ms, "vendor.energy_ms: the energy of a point is not measured on {};"),
        (slowed.component, f"{SLOWDOWN}: the components of {{}} cannot be slowed;"),
        (slowed.percent and engine.url, f"{SLOWDOWN}: a server cannot be slowed, and {{}} is one;"),
    ):
        if asked:
            raise ArgumentError(what.format(engine.name), "leave it out, or choose engine=transformers")


def has_time(settings: Settings, stage: str) -> bool:
    """Whether a stage is timed by itself: an engine has no time for what no user waits for alone."""
    return settings.engine.is_reference or STAGES[stage].latency is not None


def devices(settings: Settings) -> list[str]:
    """What points are timed on, each by one worker of pytest-xdist."""
    if not settings.engine.is_reference:
        return [settings.engine.name]
    from .gpus import gpus

    device = settings.vendor.device
    return gpus() if device == "cuda" else [device]


def meter(settings: Settings, model: Model, options: Options, say: Callable[[str], object]) -> Meter:
    """What times points in this process; one process at a time measures on a device, or with an engine."""
    from .gpu_lock import gpu_lock
    from .gpus import device_id

    if not settings.engine.is_reference:
        from .engine_meter import EngineMeter

        lock = partial(gpu_lock, settings.engine.name, say)
        return EngineMeter(settings, model, options.checkpoint, slowdown=options.slowdown, lock=lock)
    from .fresh import FRESH_S, FreshProcesses
    from .meter import Meter

    device, seconds = settings.vendor.device, options.fresh_seconds
    if seconds is None:  # a CPU's clock differs more from process to process than they are worth
        seconds = 0.0 if device == "cpu" else FRESH_S
    return Meter(
        settings,
        model,
        options.checkpoint,
        options.profile,
        options.update,
        options.slowdown,
        lambda: gpu_lock(device_id(device), say),
        FreshProcesses(options.all_overrides, options.checkpoint, options.slowdown, seconds).round,
    )
