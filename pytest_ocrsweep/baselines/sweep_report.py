"""A whole sweep as a value: what `sweep.json` and SQLite hold, and every page is made of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from ..model.architecture import Architecture
from ..model.attention import ATTENTION
from ..model.geometry import CropGrid, Workload
from ..model.stages import STAGES
from .json_layout import NOTHING, JsonObject, names
from .measurement import Environment
from .own import OwnResult
from .result import PointResult, order

SCHEMA = 1


@dataclass(frozen=True, slots=True)
class SweepEnvironment(Environment):
    """What a sweep ran on; with several hosts or GPUs, what they do not share is None, and `hosts` has each."""

    attention_implementation: Mapping[str, str] | None = field(default=None, hash=False)
    experts_implementation: Mapping[str, str] | None = field(default=None, hash=False)
    hosts: tuple[Environment, ...] = ()

    @classmethod
    def of(cls, architecture: Architecture, revision: str | None, *measured: Environment) -> SweepEnvironment:
        """The environment of a sweep; fields that only a measurement shows are None without one."""

        return cls(
            dtype=architecture.dtype,
            git_revision=revision,
            attention_implementation={name: each.implementation for name, each in ATTENTION.items()},
            experts_implementation={
                name: stage.experts(architecture.decoder) for name, stage in STAGES.items() if stage.experts
            },
        ).on(*measured)

    def on(self, *measured: Environment) -> SweepEnvironment:
        """The same sweep, measured on these."""

        def shared(name: str) -> str | None:
            values = {getattr(each, name) for each in measured}
            return values.pop() if len(values) == 1 else None

        several = len(measured) > 1
        return replace(
            self,
            host=shared("host"),
            gpu=shared("gpu"),
            driver=shared("driver"),
            torch=shared("torch"),
            transformers=shared("transformers"),
            weights=shared("weights"),
            hosts=measured if several else (),
            absent=self.absent - {"hosts"} if several else self.absent | {"hosts"},
        )

    @property
    def measured(self) -> tuple[Environment, ...]:
        """What each host's GPU was measured with; empty if nothing was measured."""
        own = (self.host, self.gpu, self.driver, self.torch, self.transformers)
        if self.hosts or not any(own):
            return self.hosts
        return (Environment(*own, self.dtype, self.weights),)


@dataclass(frozen=True, slots=True)
class SweepWorkload(JsonObject):
    """The workload of a sweep, on every grid."""

    prompt_tokens: int
    new_tokens: int
    batch: int
    resolution: str

    @classmethod
    def of(cls, work: Workload) -> SweepWorkload:
        return cls(work.prompt_tokens, work.new_tokens, work.batch, work.resolution)

    def on(self, grid: CropGrid) -> Workload:
        """Raises ValueError where it cannot be."""
        return Workload(grid, self.prompt_tokens, self.new_tokens, self.batch, self.resolution)


WORKLOAD = names(SweepWorkload)


@dataclass(frozen=True, slots=True)
class PastTime(JsonObject):
    """A recorded process of a point; `change` is a ratio, beside the anchor, and `moved` marks a change that stayed."""

    date: str | None
    host: str | None
    median_ns: int
    change: float
    became: str | None
    moved: bool


@dataclass(frozen=True, slots=True)
class Report(JsonObject):
    """The whole of `sweep.json`; `history` has what was recorded of points before, by their names, oldest first.

    `own` is code of the user's own that was timed beside the points.
    """

    model: str
    workload: SweepWorkload
    environment: SweepEnvironment
    points: tuple[PointResult, ...]
    schema: int = SCHEMA
    history: Mapping[str, tuple[PastTime, ...]] = field(default_factory=lambda: NOTHING, hash=False)
    own: tuple[OwnResult, ...] = ()

    @classmethod
    def of(
        cls, model: str, workload: SweepWorkload, environment: SweepEnvironment, points: Iterable[PointResult]
    ) -> Report:
        """The points come in any order."""
        absent = frozenset({"history", "own"})
        return cls(model, workload, environment, tuple(sorted(points, key=order)), absent=absent)

    def with_own(self, own: Iterable[OwnResult]) -> Report:
        """The same report with code of the user's own, if there is any."""
        found = tuple(own)
        return replace(self, own=found, absent=self.absent - {"own"}) if found else self

    def beside(self, history: Mapping[str, tuple[PastTime, ...]]) -> Report:
        """The same report with the histories of its points, if there are any."""
        return replace(self, history=history, absent=self.absent - {"history"}) if history else self
