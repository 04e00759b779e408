"""The analytic model: one instance prices every stage at every workload, one by one or by the million."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..errors import ConfigError
from ..files.near_miss import did_you_mean
from .architecture import Architecture
from .attention import ATTENTION
from .device_times import DeviceTimes
from .engine import REFERENCE, Engine
from .geometry import CropGrid, Workload
from .ledger import Ledger
from .limits import refuse, refuse_pair
from .precision import NATIVE, Precision
from .program import Program
from .stages import STAGES, point

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from .bulk import Columns


@dataclass(frozen=True, slots=True)
class Model:
    """An analytic model of one architecture on one engine. It lays a stage out once, when the stage is first priced."""

    architecture: Architecture
    hardware: DeviceTimes | None = field(default=None, repr=False, compare=False)  # that ledgers ask for times
    engine: Engine = field(default=REFERENCE, repr=False)
    precision: Precision = field(default=NATIVE, repr=False)
    _programs: dict[tuple[str, str, bool, str], Program] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    @property
    def name(self) -> str:
        """The name of the architecture."""
        return self.architecture.name

    @property
    def title(self) -> str:
        """Its name for people, with its engine and its precision if they are not the reference's."""
        on = "" if self.engine.is_reference else f" on {self.engine.name}"
        return f"{self.name}{on}" if self.precision.is_native else f"{self.name}{on} in {self.precision.name}"

    @property
    def recorded_as(self) -> str:
        """The folder with its baselines: the architecture's; other engines and precisions have one in it."""
        cached = "" if self.engine.kv_bytes == REFERENCE.kv_bytes else f"-kv-{self.engine.kv_dtype}"
        engine = () if self.engine.is_reference else (f"{self.engine.name}{cached}",)
        precision = () if self.precision.is_native else (self.precision.name,)
        return "/".join((self.name, *engine, *precision))

    def grid_of(self, width: int, height: int, resolution: str = "gundam") -> CropGrid:
        """The grid into which the engine cuts a page of `width` × `height` pixels; 1x1 in a mode without crops.

        Raises ValueError as `CropGrid.for_image` does, and for an unknown resolution.
        """
        tiling = self.architecture.tiling
        sides = tiling.sides(tiling.own(resolution))
        return sides.grid_of(width, height, self.engine.most_crops or self.architecture.most_crops)

    def ledger(self, stage: str, work: Workload, attention: str = "flash") -> Ledger:
        """What `stage` costs for `work`.

        Raises ValueError for an unknown stage or attention, and names the known; ConfigError for what the engine never
        runs.
        """
        work = work.cut_by(self.architecture.tiling)
        program = self.program(stage, work.resolution, bool(work.grid.crops), attention)
        refuse(self.architecture, self.engine, stage, work)
        at = point(work, self.architecture.decoder, self.engine)
        made_by = self.engine.name, self.precision.name
        return Ledger(stage, work, attention, program, at, program.values(at), self.hardware, *made_by)

    def sweep(
        self,
        stage: str,
        *,
        rows: ArrayLike,
        cols: ArrayLike,
        attention: str = "flash",
        resolution: str = "gundam",
        batch: ArrayLike = 1,
        prompt_tokens: ArrayLike = 10,
        new_tokens: ArrayLike = 100,
        pages: int = 1,
    ) -> Columns:
        """The numbers of `ledger` at many workloads, as columns of 64-bit integers; needs numpy.

        Sizes are whole numbers or arrays of them, and broadcast against one another: [N] columns for N points, the
        last axis fastest. `pages` are those in each prompt of a mode without crops. Raises ValueError as `ledger` and
        `Workload` do, and for sizes that are not whole or do not broadcast; raises OverflowError, which names column
        and point, for a number of 2⁶³ or more.
        """
        from .bulk import swept

        sizes = {"rows": rows, "cols": cols, "batch": batch, "prompt_tokens": prompt_tokens, "new_tokens": new_tokens}
        return swept(self, stage, attention, self.architecture.tiling.own(resolution), sizes, pages)

    def program(self, stage: str, resolution: str, crops: bool, attention: str) -> Program:
        """A stage laid out for every workload of that resolution, with crops or without. Raises as `ledger` does."""
        check_names(stage, attention)
        if attention not in self.engine.attentions:
            has = ", ".join(self.engine.attentions)
            raise ConfigError(f"{self.engine.name} has no {attention} attention: choose from {has}")
        key = (stage, resolution, crops, attention)
        program = self._programs.get(key)
        if program is None:
            refuse_pair(self.architecture, self.engine, self.precision)
            program = STAGES[stage].program(
                self.architecture, resolution, crops, attention, self.engine, self.precision
            )
            self._programs[key] = program
        return program


def check_names(stage: str, attention: str) -> None:
    """Raises ValueError for an unknown stage or attention, and names the known."""
    for given, known, what in ((stage, STAGES, "stage"), (attention, ATTENTION, "attention")):
        if given not in known:
            meant = did_you_mean(str(given), known)
            raise ValueError(f"unknown {what} {given!r}: choose from {', '.join(known)}{meant}")
