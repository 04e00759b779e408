"""What a user asks of a sweep, as values: what a page costs and what bounds it, what moved, and since when.

A page is a prefill, with vision inside it, and a decode of all new tokens. None is what is not known or was not
measured, never 0. Times are the device's own; of a batch they are of all its pages together.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from ..baselines.result import PointResult
from ..baselines.sweep_report import Report
from ..baselines.verdict import Verdict
from ..model.geometry import CropGrid
from ..model.stages import STAGES
from .what_moved import PointMoved, of_report

PREFILL, VISION, DECODE, DECODER = "prefill", "vision", "decode", "decoder"
BETWEEN = "between kernels"
USUAL = CropGrid(2, 3), "flash"  # the page that is shown first, if the sweep has it


class How(StrEnum):
    """What a time is, best first."""

    MEASURED = "measured"
    ESTIMATED = "estimated"
    FLOOR = "floor"


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate: nine of ten measured times lie between `low_ns` and `high_ns`."""

    time_ns: int
    low_ns: int
    high_ns: int


@dataclass(frozen=True, slots=True)
class Share:
    """A component, a kind of line or a part of a page, and its time; `ratio` is of the whole, None if unknown."""

    name: str
    time_ns: int | None
    ratio: float | None


@dataclass(frozen=True, slots=True)
class StageAnswer:
    """What a stage takes, and what takes it."""

    stage: str
    steps: int
    verdict: str
    measured_ns: int | None
    estimate: Interval | None
    floor_ns: int | None
    floor_bound: str | None  # the resource that sets the floor
    attained: float | None  # the floor as a part of the measured time, or of the estimate without one
    limit: Share | None  # what takes most of the estimate: launches, copies, products, …
    shares: tuple[Share, ...]  # the largest first: of components as profiled, or of an estimate's terms
    shares_are: How | None

    def best(self, how: How) -> int | None:
        """Its time of one kind."""
        estimated = self.estimate.time_ns if self.estimate else None
        return {How.MEASURED: self.measured_ns, How.ESTIMATED: estimated, How.FLOOR: self.floor_ns}[how]


@dataclass(frozen=True, slots=True)
class PageAnswer:
    """What one page costs, by the best that is known of both its stages."""

    grid: CropGrid
    attention: str
    batch: int
    new_tokens: int
    image_tokens: int
    how: How | None
    time_ns: int | None
    low_ns: int | None  # of an estimate alone
    high_ns: int | None
    parts: tuple[Share, ...]  # in the order they run; a prefill is taken apart if vision is known alike
    pages_per_s: float | None
    joules: float | None  # of a page, by the power while it was measured
    stages: tuple[StageAnswer, ...]

    def dollars_per_million(self, per_hour: float | None) -> float | None:
        """What a million pages cost, one batch after another."""
        return None if per_hour is None or not self.pages_per_s else per_hour / 3600 / self.pages_per_s * 1e6


@dataclass(frozen=True, slots=True)
class Answer:
    """What a sweep says first."""

    device: str | None
    pages: tuple[PageAnswer, ...]  # by grid, and the usual attention first
    first: PageAnswer | None  # the one to show
    moved: tuple[PointMoved, ...]  # what fails first, the largest change first
    verdicts: Mapping[str, int]  # of points, the worst first
    own_verdicts: Mapping[str, int]  # of code of the user's own


def answer(report: Report) -> Answer:
    """What a report says of its pages."""
    by_page: dict[tuple[CropGrid, str], dict[str, PointResult]] = {}
    for point in report.points:
        by_page.setdefault((point.grid, point.attention), {})[point.stage] = point
    keys = sorted(by_page, key=lambda key: (key[0].crops, key[0].rows, key[1] != USUAL[1], key[1]))
    pages = tuple(_page(*key, by_page[key]) for key in keys)
    devices = {point.floor.device for point in report.points if point.floor}
    device = report.environment.gpu or (devices.pop() if len(devices) == 1 else None)
    moved = of_report(report)
    verdicts = _counts(point.verdict for point in report.points)
    return Answer(device, pages, _first(pages, moved), moved, verdicts, _counts(each.verdict for each in report.own))


def _counts(verdicts: Iterable[Verdict]) -> dict[str, int]:
    counts = Counter(verdicts)
    return {each.value: counts[each] for each in sorted(counts, key=lambda verdict: (verdict.rank, verdict))}


def _first(pages: tuple[PageAnswer, ...], moved: Iterable[PointMoved]) -> PageAnswer | None:
    """One with a failed point, else the usual one, one with a profile, or the middle one: a whole one if any is."""
    whole = [page for page in pages if page.how] or pages
    by_key = {(page.grid, page.attention): page for page in whole}
    failing = [(each.grid, each.attention) for each in moved if each.own is None and each.fails]
    wanted: list[tuple[CropGrid | None, str | None]] = [*failing, USUAL]
    profiled = [page for page in whole if any(stage.shares_are is How.MEASURED for stage in page.stages)]
    found = [by_key[key] for key in wanted if key in by_key] or profiled or list(whole[len(whole) // 2 :])
    return found[0] if found else None


def _page(grid: CropGrid, attention: str, points: Mapping[str, PointResult]) -> PageAnswer:
    any_point = next(iter(points.values()))
    stages = {name: _stage(points[name]) for name in STAGES if name in points}
    prefill, decode = stages.get(PREFILL), stages.get(DECODE)
    how = next(
        (kind for kind in How if prefill and decode and None not in (prefill.best(kind), decode.best(kind))), None
    )
    time_ns = sum(stages[name].best(how) or 0 for name in (PREFILL, DECODE)) if how else None
    low, high = None, None
    if how is How.ESTIMATED and prefill and decode and prefill.estimate and decode.estimate:
        both = prefill.estimate, decode.estimate
        low, high = sum(each.low_ns for each in both), sum(each.high_ns for each in both)
    pages_per_s = any_point.batch / time_ns * 1e9 if time_ns and how is not How.FLOOR else None
    return PageAnswer(
        grid,
        attention,
        any_point.batch,
        any_point.new_tokens,
        any_point.image_tokens,
        how,
        time_ns,
        low,
        high,
        _parts(stages, how, time_ns),
        pages_per_s,
        _joules(points) if how is How.MEASURED else None,
        tuple(stages.values()),
    )


def _parts(stages: Mapping[str, StageAnswer], how: How | None, whole: int | None) -> tuple[Share, ...]:
    """Floors are not taken apart: that of a prefill is not the sum of its parts' floors."""
    if how is None or not whole:
        return ()
    times = {name: stages[name].best(how) for name in (PREFILL, DECODE)}
    vision, prefill = stages[VISION].best(how) if VISION in stages else None, times[PREFILL]
    if how is not How.FLOOR and vision is not None and prefill is not None and vision < prefill:
        times = {VISION: vision, DECODER: prefill - vision, DECODE: times[DECODE]}
    return tuple(Share(name, ns, ns / whole) for name, ns in times.items() if ns is not None)


def _stage(point: PointResult) -> StageAnswer:
    estimate, floor = point.estimate, point.floor
    measured = point.vendor.device_ns.median if point.vendor else None
    expected = Interval(estimate.time_ns, estimate.low_ns, estimate.high_ns) if estimate else None
    best = measured or (expected.time_ns if expected else None)
    terms = _shares(estimate.terms, estimate.time_ns) if estimate else ()
    profile = point.vendor.profile if point.vendor else None
    shares, how = terms, How.ESTIMATED if terms else None
    if profile:
        times = {name: line.time_ns for name, line in profile.components.items()} | {BETWEEN: profile.gap_ns}
        shares, how = _shares(times, profile.device_ns), How.MEASURED
    return StageAnswer(
        point.stage,
        STAGES[point.stage].steps(point.new_tokens),
        point.verdict.value,
        measured,
        expected,
        floor.time_ns if floor else None,
        floor.bound if floor else None,
        floor.time_ns / best if floor and best else None,
        terms[0] if terms else None,
        shares,
        how,
    )


def _shares(times: Mapping[str, int], whole: int) -> tuple[Share, ...]:
    found = [Share(name, ns, ns / whole if whole > 0 else None) for name, ns in times.items() if ns > 0]
    return tuple(sorted(found, key=lambda share: -(share.time_ns or 0)))


def _joules(points: Mapping[str, PointResult]) -> float | None:
    energy = 0.0
    for name in (PREFILL, DECODE):
        vendor = points[name].vendor
        if vendor and vendor.energy and vendor.energy.mj:
            energy += vendor.energy.mj / 1000
        elif vendor and vendor.power_w is not None:
            energy += vendor.power_w * vendor.device_ns.median / 1e9
        else:
            return None
    return energy / points[DECODE].batch
