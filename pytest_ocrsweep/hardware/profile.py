"""Measured lines: what each line of a ledger took on a GPU, and files of them."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ProfileError
from ..files.atomic import write_bytes
from ..files.text import printable, quoted, text_of
from ..files.untrusted import open_regular, parse_json
from ..model.attention import ATTENTION
from ..model.geometry import CropGrid, Workload
from ..model.stages import STAGES

if TYPE_CHECKING:
    from ..model.analytic import Model

SCHEMA = 1
DEFAULTS = Workload(CropGrid(1, 1))
LONGEST_NS = 24 * 3600 * 10**9  # no call of a stage takes a day
MOST_BYTES = 256 * 2**20  # of a file, unpacked


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
        """The label of the point."""
        return self.point.label


def _changed(work: Workload) -> list[str]:
    names = {"batch": "batch", "resolution": "resolution", "prompt_tokens": "prompt"}
    return [f"{word} {getattr(work, n)}" for n, word in names.items() if getattr(work, n) != getattr(DEFAULTS, n)]


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
        of, now = (self.model, self.weight_bytes), (model.name, weight_bytes(model))
        if any(then not in (None, it) for then, it in zip(of, now, strict=True)):
            raise ProfileError(f"the profiles are of {_sized(*of)}, not of {_sized(*now)};", hint="profile it anew")


def weight_bytes(model: Model) -> int:
    """Bytes of all parameters of the model."""
    return model.ledger("prefill", DEFAULTS).weight_bytes


def _sized(name: str | None, size: int | None) -> str:
    return f"{quoted(name)} with {quoted(size)} bytes of parameters"


def to_json(profile: Profile) -> dict[str, object]:
    """A profile as one JSON object."""
    work = profile.work
    return {
        "stage": profile.stage,
        "grid": str(work.grid),
        "attention": profile.attention,
        "batch": work.batch,
        "resolution": work.resolution,
        "prompt_tokens": work.prompt_tokens,
        "new_tokens": work.new_tokens,
        "device_ns": round(profile.device_ns),
        "lines": [[x.index, x.path, x.runs, x.kernels, round(x.time_ns)] for x in profile.lines],
    }


def from_json(entry: Mapping[str, Any]) -> Profile:
    """A profile from its JSON object. Raises KeyError, TypeError or ValueError if it is not one."""
    sizes = {name: entry[name] for name in ("batch", "resolution", "prompt_tokens", "new_tokens")}
    work = Workload(CropGrid.parse(entry["grid"]), **sizes)
    stage, attention = entry["stage"], entry["attention"]
    if stage not in STAGES or attention not in ATTENTION:
        raise ValueError(f"no stage {quoted(stage)} with {quoted(attention)} attention is known")
    lines = tuple(_line(*line) for line in entry["lines"])
    return Profile(stage, attention, work, _ns(entry["device_ns"], least=1), lines)


def _line(index: object, path: object, *numbers: object) -> ProfiledLine:
    runs, kernels, time_ns = numbers
    for number in (index, runs, kernels):
        if type(number) is not int or not 0 <= number < 2**32:
            raise ValueError(f"{quoted(number)} is no count")
    if not isinstance(path, str) or not path.isprintable():
        raise ValueError(f"{quoted(path)} is no path of a line")
    return ProfiledLine(index, path, runs, kernels, _ns(time_ns))  # type: ignore[arg-type]


def _ns(number: object, least: int = 0) -> float:
    if type(number) not in (int, float) or not least <= number <= LONGEST_NS:  # type: ignore[operator]
        raise ValueError(f"{quoted(number)} is no time of {least} to {LONGEST_NS} ns")
    return float(number)  # type: ignore[arg-type]


def write(path: Path, profiles: Profiles) -> None:
    """Write a file of profiles, gzipped if its name ends so: a header, then one point a line."""
    header: dict[str, object] = {"schema": SCHEMA, "device": profiles.device, "environment": dict(profiles.environment)}
    header |= {"model": profiles.model, "weight_bytes": profiles.weight_bytes}
    text = "".join(json.dumps(entry) + "\n" for entry in (header, *map(to_json, profiles.points)))
    write_bytes(path, gzip.compress(text.encode(), mtime=0) if path.suffix == ".gz" else text.encode())


def read(path: Path) -> Profiles:
    """The profiles of a file. Raises ProfileError, with the line, if it is not one."""
    try:
        header, *entries = _objects(path)
    except (OSError, ValueError, EOFError, RecursionError, zlib.error) as error:
        message = f"{quoted(str(path))} is no file of profiles: {text_of(error)};"
        raise ProfileError(message, hint="record one: ocrsweep calibrate") from None
    if header.get("schema") != SCHEMA:
        raise ProfileError(
            f"{quoted(str(path))} has schema {quoted(header.get('schema'))}, not {SCHEMA};", hint="record it anew"
        )
    gpu = header.get("device")
    if not isinstance(gpu, str) or not gpu:
        raise ProfileError(f"{quoted(str(path))} names no GPU, but {quoted(gpu)};", hint="record it anew")
    points: dict[Point, Profile] = {}
    for number, entry in enumerate(entries, start=2):
        try:
            profile = from_json(entry)
            if profile.point in points:
                raise ValueError(f"{profile.label} is there twice")
            points[profile.point] = profile
        except (KeyError, TypeError, ValueError) as error:
            reason = f"no {error}" if isinstance(error, KeyError) else text_of(error)
            message = f"{quoted(str(path))}, line {number} is no profile: {reason};"
            raise ProfileError(message, hint="record it anew") from None
    environment = header.get("environment")
    known = {str(key): str(value) for key, value in environment.items()} if isinstance(environment, dict) else {}
    of = header.get("model"), header.get("weight_bytes")
    return Profiles(printable(gpu), known, tuple(points.values()), *of)


def _objects(path: Path) -> list[Mapping[str, Any]]:
    with open_regular(path) as file, gzip.open(file) if path.suffix == ".gz" else nullcontext(file) as unpacked:
        text = unpacked.read(MOST_BYTES + 1)
    if len(text) > MOST_BYTES:
        raise ValueError(f"it holds more than {MOST_BYTES:,} bytes")
    objects = [parse_json(line) for line in text.splitlines()]
    if not objects or not all(isinstance(entry, dict) for entry in objects):
        raise ValueError("every line must be a JSON object")
    return objects
