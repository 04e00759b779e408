"""Recorded times as JSON: a point's row in a file of times, and the values that a line of the history has too."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from typing import Any

from ..files.text import quoted
from . import energy, power_cap
from .attribution import Observed
from .counted import exactly, whole
from .energy import ENERGY
from .evidence import Baseline, Process
from .json_layout import Json
from .measurement import ENVIRONMENT, SINCE, Environment
from .point_profile import compact
from .power_cap import POWER_CAPPED
from .recorded_time import KEPT, Anchor, RecordedTime, Taken, known_clock, ordered

DATE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
TIMES = ("median_ns", "q1_ns", "q3_ns")
SEEN = ("tensor_flops", "kernels", "peak_bytes", "sm_clock_mhz")
FIELDS = ("clock", "experts", *SEEN, "wall_median_ns", "attained", "processes")
OPTIONAL = ("anchor", "pending", "profile")  # earlier versions did not record them, nor has every point all of them

STATES: dict[str, Callable[[object], Any]] = {"power_cap": power_cap.recorded, "energy": energy.recorded}
"""What a process has beside its times, if it is known of it, and what reads it."""


def states(process: Process) -> dict[str, object]:
    """What is known of a process beside its times, by the names of STATES."""
    cap = {"power_cap": POWER_CAPPED.write(process.power_cap)} if process.power_cap else {}
    return {**cap, **({"energy": ENERGY.write(process.energy)} if process.energy else {})}


def values(stored: RecordedTime, environments: list[Environment]) -> dict[str, object]:
    """A point as the file holds it, without its key."""
    seen = {name: getattr(stored.baseline.observed, name) for name in SEEN}

    def listed(taken: Iterable[Taken]) -> list[dict[str, object]]:
        return [
            {
                **{name: getattr(process, name) for name in (*TIMES, "samples")},
                "environment": environments.index(environment),
                **states(process),
            }
            for process, environment in taken
        ]

    kept = stored.anchor
    return {
        "clock": stored.clock,
        "experts": stored.experts,
        **seen,
        "wall_median_ns": stored.wall_median_ns,
        "attained": stored.attained,
        "processes": listed(stored.taken),
        **({"anchor": {"since": kept.since, "processes": listed(kept.taken)}} if kept else {}),
        **({"pending": listed(stored.pending)} if stored.pending else {}),
        **({"profile": stored.profile.compact()} if stored.profile else {}),
    }


def stored_time(raw: Json, environments: list[Environment]) -> RecordedTime:
    taken = _taken(raw, "processes", environments)
    seen = (None if raw[name] is None else whole(raw, name) for name in SEEN)
    return RecordedTime(
        Baseline(tuple(process for process, _ in taken), Observed(None, *seen)),  # in the order of its fields
        known_clock(raw["clock"]),
        text(raw, "experts"),
        None if raw["wall_median_ns"] is None else whole(raw, "wall_median_ns", least=1),
        tuple(environment for _, environment in taken),
        _attained(raw["attained"]),
        compact(raw["profile"]),
        None if raw["anchor"] is None else _anchor(raw["anchor"], environments),
        () if raw["pending"] is None else _taken(raw, "pending", environments),
    )


def _anchor(raw: object, environments: list[Environment]) -> Anchor:
    fields = exactly(raw, ("since", "processes"))
    since = None if fields["since"] is None else date_of(fields, "since")
    return Anchor(_taken(fields, "processes", environments), since)


def _taken(raw: Json, name: str, environments: list[Environment]) -> tuple[Taken, ...]:
    if not isinstance(raw[name], list) or not 1 <= len(raw[name]) <= KEPT:
        raise ValueError(f"{name} must be a list of 1 to {KEPT}")
    processes = [_process(process, len(environments)) for process in raw[name]]
    return tuple(Taken(process, environments[index]) for process, index in processes)


def _attained(value: object) -> float | None:
    if value is not None and not (isinstance(value, float) and 0 < value <= 1):
        raise ValueError(f"attained must be null or a fraction above 0, got {quoted(value)}")
    return value


def _process(raw: object, environments: int) -> tuple[Process, int]:
    there = [name for name in STATES if isinstance(raw, dict) and name in raw]
    fields = exactly(raw, (*TIMES, "samples", "environment", *there))
    times = (whole(fields, name, least=1) for name in (*TIMES, "samples"))
    process = ordered(Process(*times, **{name: STATES[name](fields[name]) for name in there}))
    index = whole(fields, "environment")
    if index >= environments:
        raise ValueError(f"environment {index} is not there: the file has {environments}, counted from 0")
    return process, index


def environments_of(stored: RecordedTime) -> Iterator[Environment]:
    """Those of its processes, whatever they are kept for."""
    others = (*(stored.anchor.taken if stored.anchor else ()), *stored.pending)
    yield from (each.environment for each in (*stored.taken, *others))


def about_environment(environment: Environment) -> dict[str, str | None]:
    known = {name: value for name in SINCE if (value := getattr(environment, name))}
    return {name: getattr(environment, name) for name in ENVIRONMENT} | known


def read_environment(raw: object) -> Environment:
    """What times were taken on, of any version's file. Raises ValueError."""
    optional = dict.fromkeys(("host", *SINCE))  # once they were not recorded
    return environment_of({**optional, **raw} if isinstance(raw, dict) else raw)


def date_of(raw: Json, name: str) -> str:
    """The field as a date and time in UTC. Raises ValueError."""
    value = raw[name]
    if not isinstance(value, str) or not DATE.fullmatch(value):
        raise ValueError(f"{name} must be such as 2026-03-01T12:00:00Z, got {quoted(value)}")
    try:
        datetime.fromisoformat(value)
    except ValueError as error:
        raise ValueError(f"{name} is {quoted(value)}, which is no date: {error}") from None
    return value


def environment_of(raw: object) -> Environment:
    """What times were taken on, with every field but those that only some engines have. Raises ValueError."""
    fields = exactly({"engine_start": None, **raw} if isinstance(raw, dict) else raw, (*ENVIRONMENT, *SINCE))
    return Environment(*(text(fields, name) for name in (*ENVIRONMENT, *SINCE)))


def text(raw: Json, name: str) -> str | None:
    """The field as text, or None. Raises ValueError."""
    value = raw[name]
    if value is not None and not isinstance(value, str):
        raise ValueError(f"{name} must be text or null, got {quoted(value)}")
    return value
