"""What a runner answers, read once into values of our own; anything else is refused by one ValueError."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from ..files.untrusted import parse_json
from .about import About
from .served import Load, Request, ServedLoad


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a command failed. The `kind` is refused, version, memory or engine; after `refused` the engine goes on."""

    kind: str
    line: str


def row(line: bytes) -> Mapping[str, Any]:
    """The object of a line of JSON."""
    try:
        value = parse_json(line)
    except RecursionError:
        raise ValueError("it is nested too deep") from None
    return _mapping(value)


def failure(value: object) -> Failure:
    given = _mapping(value)
    return Failure(str(given.get("kind")), str(given.get("line")))


def started_s(value: object) -> float:
    seconds = _mapping(value).get("started_s")
    if not isinstance(seconds, int | float):
        raise ValueError("started_s is no number")
    return float(seconds)


def about(value: object) -> About:
    given = dict(_mapping(value))
    versions = {name: str(each) for name, each in _mapping(given.pop("versions", {})).items() if each is not None}
    batches = given.pop("captured_batches", None)
    known = {each.name: given.get(each.name) for each in fields(About) if each.name in given}
    return About(
        "vllm",
        version=versions.pop("version", None),
        versions=versions,
        captured_batches=tuple(_integers(batches)) if batches is not None else None,
        **known,
    )


def served(value: object, load: Load) -> ServedLoad:
    given = _mapping(value)
    requests = tuple(Request(*_integers(each, 5)) for each in _list(given.get("requests")))
    (wall_ns,) = _integers([given.get("wall_ns")], 1)
    energy = given.get("energy_mj")
    (energy_mj,) = (None,) if energy is None else _integers([energy], 1)
    host_ns = tuple(_integers(given["host_ns"], 2)) if given.get("host_ns") else ()
    rendered_ns = tuple(_integers(given.get("rendered_ns")))
    return ServedLoad(load, requests, wall_ns, rendered_ns, energy_mj, host_ns=host_ns)


def _mapping(value: object) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise ValueError("it is no object")
    return value


def _list(value: object) -> list[object]:
    if not isinstance(value, list):
        raise ValueError("it is no list")
    return value


def _integers(value: object, count: int | None = None) -> list[int]:
    given = _list(value)
    numbers = [each for each in given if type(each) is int]
    if len(numbers) != len(given) or count not in (None, len(given)):
        raise ValueError("it has other values than whole numbers, or too few")
    return numbers
