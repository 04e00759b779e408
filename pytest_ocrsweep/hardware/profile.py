"""Measured lines: what each line of a ledger took on a GPU."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import ProfileError
from ..model.geometry import CropGrid, Workload

if TYPE_CHECKING:
    from ..model.analytic import Model

DEFAULTS = Workload(CropGrid(1, 1))


@dataclass(frozen=True, slots=True)
class Point:
    """A stage of one workload."""

    stage: str
    attention: str
    work: Workload

    @property
    def label(self) -> str:
        """The point in a few words, what is not default included."""
        return " ".join([f"{self.stage} {self.work.grid} {self.attention}", *_changed(self.work)])


@dataclass(frozen=True, slots=True)
class ProfiledLine:
    """All runs of one line in one call of the stage, or in one step of a decode."""

    index: int  # among the kernels of the stage's program
    path: str
    runs: int
    kernels: int  # CUDA kernels of all runs
    time_ns: float  # that the GPU was busy with them


@dataclass(frozen=True, slots=True)
class Profile:
    """One point, measured line by line. A decode is its last step."""

    stage: str
    attention: str
    work: Workload
    device_ns: float  # the median of a CUDA graph's replays
    lines: tuple[ProfiledLine, ...]

    @property
    def busy_ns(self) -> float:
        """The sum of all lines."""
        return sum(line.time_ns for line in self.lines)

    @property
    def gap_ns(self) -> float:
        """The time between kernels; below 0 if profiled kernels ran slower than those of the timed replays."""
        return self.device_ns - self.busy_ns

    @property
    def point(self) -> Point:
        """The point by itself."""
        return Point(self.stage, self.attention, self.work)

    @property
    def label(self) -> str:
        """As the point's."""
        return self.point.label


def _changed(work: Workload) -> list[str]:
    names = {"batch": "batch", "resolution": "resolution", "prompt_tokens": "prompt"}
    return [f"{word} {getattr(work, n)}" for n, word in names.items() if getattr(work, n) != getattr(DEFAULTS, n)]


def parts(profile: Profile, depth: int) -> dict[str, float]:
    """Nanoseconds by path, up to `depth` parts of it, in the order in which the parts first run."""
    sums: dict[str, float] = {}
    for line in profile.lines:
        path = "/".join(line.path.split("/")[:depth])
        sums[path] = sums.get(path, 0.0) + line.time_ns
    return sums


@dataclass(frozen=True, slots=True)
class Profiles:
    """The profiles of one GPU."""

    device: str  # as the driver reports it
    environment: Mapping[str, str]
    points: tuple[Profile, ...]

    model: str | None = None  # its name, and the bytes of all its parameters; None in older files
    weight_bytes: int | None = None

    def of(self, points: Iterable[Point]) -> Iterator[Profile]:
        """The profiles of these points, in order. Raises ProfileError, which names it, for one that is missing."""
        known = {profile.point: profile for profile in self.points}
        for point in points:
            if point not in known:
                raise ProfileError(f"{point.label} is not among the profiles;", hint="measure it: ocrsweep calibrate")
            yield known[point]

    def check(self, model: Model) -> None:
        """Raises ProfileError if these are profiles of another model."""
        for then, now in ((self.model, model.name), (self.weight_bytes, weight_bytes(model))):
            if then not in (None, now):
                what = f"the profiles are of {_model(self.model, self.weight_bytes)}"
                raise ProfileError(f"{what}, not of {_model(model.name, weight_bytes(model))};", hint="profile it anew")
        for profile in self.points:
            check(profile, model)


def check(profile: Profile, model: Model) -> None:
    """Raises ProfileError if the profile's lines are not those of the model."""
    work = profile.work
    kernels = model.program(profile.stage, work.resolution, bool(work.grid.crops), profile.attention).sequence
    for line in profile.lines:
        if line.index >= len(kernels) or kernels[line.index].path != line.path:
            raise ProfileError(f"{profile.label} has other lines than the model;", hint="profile it anew")


def weight_bytes(model: Model) -> int:
    """Bytes of all parameters of the model."""
    return model.ledger("prefill", DEFAULTS).weight_bytes


def _model(name: str | None, size: int | None) -> str:
    return f"{name} with {size:,} bytes of parameters"
