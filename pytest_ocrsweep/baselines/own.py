"""Code of the user's own, timed under a name: a model at a point, or a call; what was counted and measured of it.

Base units everywhere; None is what is not known, was not counted or was not measured. The JSON is in `result_json`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from ..errors import ArgumentError
from ..files.text import quoted
from ..model.geometry import CropGrid
from .json_layout import NOTHING, JsonObject
from .measurement import Environment, Measurement
from .moved import Moved
from .result import FloorResult
from .verdict import Verdict

CALL = "call"
"""Stands where a model of the user's own has a stage."""

FOLDER = "own"
"""In a model's folder of baselines; it holds a folder for each name."""

MODEL = "model"
"""The name of a model that was given none."""

NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")


def checked_name(name: object) -> str:
    """The name, if it can be a folder of baselines. Raises ArgumentError."""
    if not isinstance(name, str) or not NAME.fullmatch(name):
        what = "at most 100 letters, digits, '_', '.' and '-', and no '.' or '-' first"
        raise ArgumentError(f"the name of your own code is the folder of its times: {what}, got {quoted(name)}")
    return name


class OwnKey(NamedTuple):
    """What the user's own code is found by within a run."""

    name: str
    stage: str  # CALL for a call
    grid: CropGrid | None = None
    attention: str | None = None

    @classmethod
    def of(cls, name: str, stage: str, grid: CropGrid, attention: str) -> OwnKey:
        """A call has neither grid nor attention."""
        return cls(name, stage) if stage == CALL else cls(name, stage, grid, attention)

    @property
    def point(self) -> str:
        """Where it was timed: "decode 2x3 flash", or "call"."""
        return " ".join(map(str, filter(None, self[1:])))

    def __str__(self) -> str:
        return self.name if self.stage == CALL else f"{self.name} at {self.point}"


def own_order(key: OwnKey) -> tuple[object, ...]:
    """Sorts by name, and then by point."""
    return key.name, key.stage, key.grid or CropGrid(1, 1), key.attention or ""


@dataclass(frozen=True, slots=True)
class OwnCount(JsonObject):
    """The tensor FLOPs that torch's dispatcher showed, beside those of the reference model at the same point.

    `differences` are by operator, the code's less the reference model's. `why` says why nothing was counted.
    """

    tensor_flops: int | None = None
    analytic_flops: int | None = None
    differences: Mapping[str, int] = field(default_factory=lambda: NOTHING, hash=False)
    why: str | None = None

    @property
    def agrees(self) -> bool:
        """Whether the code does the reference model's work, as far as that is counted."""
        return self.tensor_flops is not None and self.tensor_flops == self.analytic_flops

    def __str__(self) -> str:
        if self.tensor_flops is None:
            return f"not counted: {self.why or 'nothing ran'}"
        if self.analytic_flops is None:
            return f"{self.tensor_flops:,} tensor FLOPs"
        difference = self.tensor_flops - self.analytic_flops
        if not difference:
            return "as many tensor FLOPs as the reference model"
        each = ", ".join(f"{operator} {flops:+,.0f}" for operator, flops in self.differences.items())
        percent = f"{100 * difference / self.analytic_flops:+.4g} %" if self.analytic_flops else "from 0"
        way = "more" if difference > 0 else "fewer"
        return f"{abs(difference):,} tensor FLOPs {way} than the reference model ({percent}){each and f': {each}'}"


@dataclass(frozen=True, slots=True)
class OwnResult(JsonObject):
    """One thing of the user's own: what it counts, its floor if one applies, what was measured, and the verdict."""

    name: str
    stage: str
    grid: CropGrid | None
    attention: str | None
    counted: OwnCount
    floor: FloorResult | None
    measured: Measurement | None
    environment: Environment | None
    verdict: Verdict
    moved: tuple[Moved, ...] = ()  # since its recorded time, if it failed or improved

    @property
    def key(self) -> OwnKey:
        """What it is found by within a run."""
        return OwnKey(self.name, self.stage, self.grid, self.attention)

    def __str__(self) -> str:
        return str(self.key)
