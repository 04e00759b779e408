"""Points profiled line by line on the device of the settings."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager
from dataclasses import asdict
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING

from ..errors import MeasureError
from ..hardware.profile import Profile
from ..model.analytic import Model
from ..model.geometry import Workload
from .meter import Meter, why_not
from .settings import Settings

if TYPE_CHECKING:
    from typing import Self


class Profiler:
    """The reference model, held for several points; a context that gives the device back."""

    def __init__(self, settings: Settings, model: Model) -> None:
        self._meter, self._model, self._settings = Meter(settings, model, lock=self._lock), model, settings

    def _lock(self) -> AbstractContextManager[None]:
        from .gpu_lock import gpu_lock
        from .gpus import device_id

        return gpu_lock(device_id(self._settings.vendor.device), partial(print, file=sys.stderr))

    def __enter__(self) -> Self:
        if why := why_not(self._settings.vendor.device):
            raise MeasureError(f"{why};", hint="profile on a machine with a GPU")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._meter.close()

    @property
    def gpu(self) -> str:
        """The name of the device."""
        return self._meter.gpu

    def environment(self) -> dict[str, str]:
        """What the profiles were taken on, as far as it is known."""
        return {name: str(value) for name, value in asdict(self._meter.environment()).items() if value is not None}

    def profile(self, stage: str, work: Workload, attention: str) -> Profile:
        """A point's lines and their times. Raises MeasureError, in one line."""
        from ..vendor_model.line_profile import profile_point

        return profile_point(self._meter.vendor, self._model, stage, work, attention)
