"""Measured lines as files: a header, then one JSON object a point, gzipped if the name says so."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import ProfileError
from ..files import untrusted
from ..files.atomic import write_bytes
from ..files.text import quoted
from ..model.attention import ATTENTION
from ..model.geometry import CropGrid, Workload
from ..model.stages import STAGES
from .profile import Point, Profile, ProfiledLine, Profiles

SCHEMA = 1
MOST_BYTES = 256 * 2**20  # of a file, unpacked
MOST_NS = 1e15  # eleven days


def to_json(profile: Profile) -> dict[str, Any]:
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
    for name, known in (("stage", STAGES), ("attention", ATTENTION)):
        if entry[name] not in known:
            raise ValueError(f"{name} {quoted(entry[name])}")
    lines = tuple(_line(*line) for line in entry["lines"])
    if not lines:
        raise ValueError("it has no lines")
    return Profile(entry["stage"], entry["attention"], work, _time("device_ns", entry["device_ns"], 1), lines)


def _line(index: object, path: object, runs: object, kernels: object, time_ns: object) -> ProfiledLine:
    if type(index) is not int or type(runs) is not int or type(kernels) is not int or min(index, runs, kernels) < 0:
        raise ValueError(f"a line's place, runs and kernels must be whole numbers: {quoted([index, runs, kernels])}")
    if not isinstance(path, str):
        raise ValueError(f"a line's path must be text, got {quoted(path)}")
    return ProfiledLine(index, path, runs, kernels, _time("a line's time", time_ns, 0))


def _time(name: str, ns: Any, least: float) -> float:
    if type(ns) not in (int, float) or not least <= ns <= MOST_NS:
        raise ValueError(f"{name} must be at least {least:g} ns and at most {MOST_NS:g}, got {quoted(ns)}")
    return float(ns)


def write(path: Path, profiles: Profiles) -> None:
    """Write a file of profiles, gzipped if its name ends so: a header, then one point a line."""
    of = {"model": profiles.model, "weight_bytes": profiles.weight_bytes}
    header = {"schema": SCHEMA, "device": profiles.device, "environment": dict(profiles.environment), **of}
    text = "".join(json.dumps(entry) + "\n" for entry in (header, *map(to_json, profiles.points)))
    write_bytes(path, gzip.compress(text.encode(), mtime=0) if path.suffix == ".gz" else text.encode())


def read(path: Path) -> Profiles:
    """The profiles of a file. Raises ProfileError, with the line, if it is not one."""
    try:
        header, *entries = _objects(path)
    except (OSError, ValueError, EOFError, zlib.error, RecursionError) as error:
        message = f"{quoted(str(path))} is no file of profiles: {error};"
        raise ProfileError(message, hint="record one: ocrsweep calibrate") from None
    if header.get("schema") != SCHEMA:
        raise ProfileError(
            f"{quoted(str(path))} has schema {quoted(header.get('schema'))}, not {SCHEMA};", hint="record it anew"
        )
    points: dict[Point, Profile] = {}
    number = 1
    try:
        device, environment = _headed(header)
        for entry in entries:
            number += 1
            profile = from_json(entry)
            if profile.point in points:
                raise ValueError(f"{profile.label} is there twice")
            points[profile.point] = profile
    except (KeyError, TypeError, ValueError) as error:
        reason = f"no {error}" if isinstance(error, KeyError) else str(error)
        message = f"{quoted(str(path))}, line {number} is no profile: {reason};"
        raise ProfileError(message, hint="record it anew") from None
    return Profiles(device, environment, tuple(points.values()), header.get("model"), header.get("weight_bytes"))


def _headed(header: Mapping[str, Any]) -> tuple[str, dict[str, str]]:
    device, environment = header["device"], header.get("environment", {})
    if not isinstance(device, str) or not isinstance(environment, dict):
        raise ValueError(f"the header names no device and its environment: {quoted(dict(header))}")
    if not isinstance(header.get("model", ""), str | None) or type(header.get("weight_bytes", 0)) not in (
        int,
        type(None),
    ):
        raise ValueError("its model must be a name, and weight_bytes a whole number")
    return device, {str(name): str(value) for name, value in environment.items()}


def _objects(path: Path) -> list[dict[str, Any]]:
    with untrusted.open_regular(path) as packed, gzip.open(packed) if path.suffix == ".gz" else packed as file:
        text = file.read(MOST_BYTES + 1)
    if len(text) > MOST_BYTES:
        raise ValueError(f"it holds more than {MOST_BYTES:,} bytes")
    objects = [untrusted.parse_json(line) for line in text.splitlines()]
    if not objects or not all(isinstance(entry, dict) for entry in objects):
        raise ValueError("every line must be a JSON object")
    return objects
