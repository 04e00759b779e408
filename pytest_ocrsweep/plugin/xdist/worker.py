"""A worker's part: it reports its collection to the controller, and keeps to the GPU of its lane."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from enum import IntEnum
from typing import NamedTuple

import pytest

from ...sweep.alike import fingerprints
from ...sweep.gpus import VISIBLE
from .. import compat
from ..state import FILTERED, SKIPPED, sweep_of

GIVEN = "ocrsweep"  # what the controller adds to a worker's `workerinput`: its lane, and a channel for `Collected`
TORCHS = ("cpu", "cuda:")  # so begin torch's own names of single devices, which choose without our help


class Kind(IntEnum):
    """What a test is to us."""

    OTHER = 0
    POINT = 1
    TIMED = 2


class Collected(NamedTuple):
    """What a worker reports, in plain values that execnet sends."""

    kinds: bytes = b""  # of each test; empty if none is ours
    devices: int = 0  # that its host has for the timed ones
    alike: Mapping[str, str] = {}  # what must be the same in every process, by name
    filtered: str = ""  # why tests were left out
    skipped: tuple[str, ...] = ()  # files of points, if points are demanded
    problem: str | None = None  # why it ends instead


def tell(session: pytest.Session, problem: str | None) -> None:
    """Report this worker's collection, before pytest-xdist does on the same connection: no test's id has to change."""
    config = session.config
    if problem is not None:
        send(config, Collected(problem=problem))
        return
    kinds = bytes(_kind(item) for item in session.items)
    ours = any(kinds)
    devices = sweep_of(config).devices if Kind.TIMED in kinds else []
    alike = fingerprints(sweep_of(config)) if ours else {}
    filtered, skipped = config.stash.get(FILTERED, ""), config.stash.setdefault(SKIPPED, {})
    send(config, Collected(kinds if ours else b"", len(devices), alike, filtered, tuple(skipped)), devices)


def send(config: pytest.Config, collected: Collected, devices: Sequence[str] = ()) -> None:
    """Send it, and see only this lane's device from now on; a run that times nothing finds its GPUs untouched."""
    given = (compat.worker_input(config) or {}).get(GIVEN)
    if given is None:
        return  # its controller runs without this plugin
    given["channel"].send(tuple(collected))
    if devices and not devices[0].startswith(TORCHS):
        os.environ[VISIBLE] = device_of(given["lane"], devices, given["shared"])


def device_of(lane: int, devices: Sequence[str], shared: bool) -> str:
    """The GPU of a lane; of lanes beyond the last GPU none, unless their workers may be given timed tests too."""
    return devices[lane % len(devices)] if shared or lane < len(devices) else ""


def _kind(item: pytest.Item) -> Kind:
    """Whether a test checks a point and may time it, as far as is known before torch is loaded."""
    if not compat.uses(item, "ocrsweep"):
        return Kind.OTHER
    return Kind.TIMED if sweep_of(item.config).times(compat.argument(item, "grid")) else Kind.POINT
