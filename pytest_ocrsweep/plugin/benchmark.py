"""Timed points as benchmarks of pytest-benchmark, whose inside compat.py knows."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import TypedDict, cast

import pytest

from ..baselines.own import OwnResult
from ..baselines.result import NAMES, PointResult
from . import compat

SEEN = ("host", "gpu", "clock", "experts", "kernels", "stopped", "sm_clock_mhz")  # of a measurement, and shown


class Entry(TypedDict):
    """One timed point, in plain values that a worker of pytest-xdist can send."""

    fullname: str
    name: str
    group: str | None
    param: str | None
    params: dict[str, object] | None
    extra_info: dict[str, object]
    timer: str
    samples_ns: list[float]


def available(config: pytest.Config) -> bool:
    """Whether this run is to report benchmarks; known once pytest is configured, the same in each process."""
    if compat.benchmarks(config) is None:
        return False
    option = config.option
    skipped = option.benchmark_skip and not option.benchmark_only
    disabled = option.benchmark_disable and not option.benchmark_enable
    return not (skipped or disabled)


def point(item: pytest.Item, found: PointResult) -> Entry:
    """The timed point that a test found."""
    vendor, name = found.vendor, item.name
    assert vendor is not None
    at = {key: str(getattr(found, key)) for key in NAMES}
    seen = {key: getattr(vendor, key) for key in SEEN}
    nodeid = f"{item.parent.nodeid}::{name}" if item.parent else name
    return entry(nodeid, name, found.stage, vendor.device_ns.samples, at, seen, timer=str(vendor.clock))


def own(item: pytest.Item, found: OwnResult) -> Entry:
    """Code of the user's own that a test timed."""
    vendor, name = found.measured, item.name
    assert vendor is not None
    at = {"name": found.name, **{key: str(getattr(found, key)) for key in NAMES if getattr(found, key) is not None}}
    seen = {key: getattr(vendor, key) for key in SEEN}
    nodeid = f"{item.parent.nodeid}::{name}" if item.parent else name
    return entry(nodeid, name, found.name, vendor.device_ns.samples, at, seen, timer=str(vendor.clock))


def entry(
    nodeid: str,
    name: str,
    group: str | None,
    samples_ns: Sequence[float],
    params: Mapping[str, object],
    extra_info: Mapping[str, object],
    *,
    timer: str,
) -> Entry:
    """A point as pytest-benchmark names it: by a test's node id, its name and the id in the name's brackets.

    `--benchmark-compare` finds a point by its node id, which must therefore be the same in every run and a
    different one for each point. Values that JSON does not have become strings.
    """
    if not samples_ns:
        raise ValueError(f"{nodeid}: no samples, so no benchmark; leave the point out")
    brackets = re.search(r"\[(.*)\]", name)
    found = Entry(
        fullname=nodeid,
        name=name,
        group=group,
        param=brackets and brackets[1],
        params=dict(params) or None,
        extra_info=dict(extra_info),
        timer=timer,
        samples_ns=[float(sample) for sample in samples_ns],
    )
    # execnet sends exact builtin types only: no enum of strings, no grid
    return cast(Entry, json.loads(json.dumps(found, default=str)))


def add(config: pytest.Config, point: Entry) -> None:
    """Have a point reported, in the process that reports; one that comes again replaces itself."""
    benchmark = compat.benchmark_of(point)
    reported = compat.benchmarks(config)
    assert reported is not None, "available() is not asked"
    same = (benchmark.fullname, benchmark.group, benchmark.params)
    reported[:] = [old for old in reported if (old.fullname, old.group, old.params) != same]
    reported.append(benchmark)
