"""Timed points as benchmarks of pytest-benchmark; what is known of its inside is known here alone.

It promises none of this (seen in 5.3; tests/test_benchmarks.py tells when it changes):
- its session is registered as the plugin "pytest-benchmark" when pytest is configured;
- what is in the session's list `benchmarks` is saved, compared and shown, also by a controller of pytest-xdist, where
  `disabled` is set but only keeps the `benchmark` fixture from timing;
- a `Metadata` takes what it knows of a test from eight attributes of its fixture.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypedDict, cast

import pytest

from ..baselines.result import NAMES, PointResult

SESSION = "pytest-benchmark"
SEEN = ("host", "gpu", "clock", "experts", "kernels", "stopped", "sm_clock_mhz")  # of a measurement, and shown


class Entry(TypedDict):
    """One timed point, in plain values that a worker of pytest-xdist can send."""

    fullname: str
    name: str
    group: str | None
    param: str | None
    params: dict[str, Any] | None
    extra_info: dict[str, Any]
    timer: str
    samples_ns: list[float]


@dataclass(frozen=True, slots=True)
class _Fixture:
    """What `Metadata` reads of the `benchmark` fixture."""

    fullname: str
    name: str
    group: str | None
    param: str | None
    params: dict[str, Any] | None
    extra_info: dict[str, Any]
    cprofile_stats: None = None
    has_error: bool = False


def available(config: pytest.Config) -> bool:
    """Whether this run is to report benchmarks; known once pytest is configured, the same in each process."""
    if not config.pluginmanager.has_plugin(SESSION):
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
    seen = {
        key: getattr(vendor, key) for key in ("host", "gpu", "clock", "experts", "kernels", "stopped", "sm_clock_mhz")
    }
    nodeid = f"{item.parent.nodeid}::{name}" if item.parent else name
    return entry(nodeid, name, found.stage, vendor.device_ns.samples, at, seen, timer=str(vendor.clock))


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
    from pytest_benchmark.stats import Metadata

    fixture = _Fixture(
        fullname=point["fullname"],
        name=point["name"],
        group=point["group"],
        param=point["param"],
        params=point["params"],
        extra_info=point["extra_info"],
    )
    options = {"timer": point["timer"]}
    benchmark: Any = Metadata(fixture, 1, options)  # type: ignore[no-untyped-call]  # it is not annotated
    for sample in point["samples_ns"]:
        benchmark.update(sample / 1e9)

    session: Any = config.pluginmanager.get_plugin(SESSION)
    same = (benchmark.fullname, benchmark.group, benchmark.params)
    session.benchmarks[:] = [old for old in session.benchmarks if (old.fullname, old.group, old.params) != same]
    session.benchmarks.append(benchmark)
