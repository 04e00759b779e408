"""Reports of separate runs of one sweep become the report that a single run would have written, or are refused."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

from ..baselines.measurement import ENVIRONMENT, Environment
from ..baselines.metrics import exact_numbers
from ..baselines.own import OwnKey, OwnResult, own_order
from ..baselines.result import PointResult, order
from ..baselines.sweep_report import WORKLOAD, Report, SweepEnvironment
from ..baselines.verdict import worst
from ..errors import ReportError
from ..files.text import quoted

REMEDY = "merge the reports of one sweep, each point measured once"


class Part(NamedTuple):
    """The report of one run, and what the user calls it."""

    source: str
    report: Report


def merge(parts: Sequence[Part]) -> Report:
    """The report of all points. Raises ReportError, one line with both sources, for what does not belong together."""
    _refuse_other_sweeps(parts)
    points = _points(parts)
    extra = {name: value for _, report in parts for name, value in report.extra.items()}
    whole = replace(parts[0].report, environment=_environment(parts), points=points, extra=extra)
    whole = replace(whole, own=(), absent=whole.absent | {"own"}).with_own(_own(parts))
    return whole.beside({name: past for _, report in parts for name, past in report.history.items()})


def _refuse_other_sweeps(parts: Sequence[Part]) -> None:
    first: dict[str, tuple[str, object]] = {}  # value of each fact, and the source that has it
    for source, report in parts:
        for name, value in _facts(report):
            other, known = first.setdefault(name, (source, value))
            if value != known:
                raise ReportError(f"{name} is {_shown(known)} in {other}, but {_shown(value)} in {source}:", REMEDY)


def _facts(report: Report) -> Iterator[tuple[str, object]]:
    """What all parts of one sweep have in common, by name."""
    environment = report.environment
    yield "model", report.model
    yield from ((name, getattr(report.workload, name)) for name in WORKLOAD)
    for name in ("dtype", "attention_implementation", "experts_implementation", "git_revision"):
        yield name, getattr(environment, name)
    yield from (("weights", each.weights) for each in environment.measured)
    for point in report.points:  # a model's sizes are not in its report, but its stages' weights are
        yield f"weight_bytes of {point.stage}", point.analytic["weight_bytes"]
        if point.vendor is None:  # else the floor is for the GPU that was measured
            yield "the device of floors", point.floor and point.floor.device


def _points(parts: Sequence[Part]) -> tuple[PointResult, ...]:
    found: dict[object, tuple[str, PointResult]] = {}
    for source, report in parts:
        for point in report.points:
            other, known = found.get(point.key, (source, point))
            found[point.key] = source, point if known is point else _joined(other, known, source, point)
    return tuple(sorted((point for _, point in found.values()), key=order))


def _own(parts: Sequence[Part]) -> Iterator[OwnResult]:
    """Each once: that which was timed. Raises ReportError for what two sources timed."""
    found: dict[OwnKey, tuple[str, OwnResult]] = {}
    for source, report in parts:
        for result in report.own:
            other, known = found.get(result.key, (source, None))
            if known and known.measured and result.measured:
                raise ReportError(f"{result} was timed in {other} and in {source}:", REMEDY)
            found[result.key] = (source, result) if known is None or result.measured else (other, known)
    return (found[key][1] for key in sorted(found, key=own_order))


def _joined(other: str, known: PointResult, source: str, point: PointResult) -> PointResult:
    """A point that two sources have: the measured one, with the worse of both verdicts and what moved in either."""
    old, new = exact_numbers(known, known.analytic), exact_numbers(point, point.analytic)
    for name, value in new.items():
        if value != old[name]:
            raise ReportError(f"{point}: {name} is {old[name]:,} in {other}, but {value:,} in {source}:", REMEDY)
    if known.vendor and point.vendor:
        raise ReportError(f"{point} was measured in {other} and in {source}:", REMEDY)
    chosen, moved = point if point.vendor else known, tuple(dict.fromkeys((*known.moved, *point.moved)))
    absent = chosen.absent - {"moved"} if moved else chosen.absent
    return replace(chosen, verdict=worst(known.verdict, point.verdict), moved=moved, absent=absent)


def _environment(parts: Sequence[Part]) -> SweepEnvironment:
    """Each host's GPU once, by name, as in one run on all of them."""
    measured: dict[tuple[str, str], tuple[str, Environment]] = {}
    for source, report in parts:
        for environment in report.environment.measured:
            host = str(environment.host), str(environment.gpu)  # a point names no more of what it was measured on
            other, known = measured.setdefault(host, (source, environment))
            for name in ENVIRONMENT:
                old, new = getattr(known, name), getattr(environment, name)
                if old != new:
                    where = f"{name} on {environment.host}"
                    raise ReportError(f"{where} is {_shown(old)} in {other}, but {_shown(new)} in {source}:", REMEDY)
    environments = [report.environment for _, report in parts]
    absent = frozenset.intersection(*(each.absent for each in environments))
    extra = {name: value for each in environments for name, value in each.extra.items()}
    every = [measured[host][1] for host in sorted(measured)]
    return replace(environments[0], absent=absent, extra=extra).on(*every)


def _shown(value: object) -> str:
    return "unknown" if value is None else quoted(value)
