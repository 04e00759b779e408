"""What pairs of processes came to, base against head: for a terminal of 80 columns, as JSON, and for a pull request."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

from ..baselines.attribution import Observed
from ..baselines.gate import CAP
from ..baselines.paired import Change, PairedJudgement, PointChange, SharedChange
from ..baselines.paired_group import Outlier
from ..baselines.takes import Key
from ..files.text import markdown as plain
from .table import aligned, points

WIDTH = 80
FEW = 3  # points that a line names
WORK = {"tensor_flops": "FLOPs", "kernels": "kernels", "peak_bytes": "peak memory"}
CLOCK = 0.01  # one boost step is 0.8 %


@dataclass(frozen=True, slots=True)
class Compared:
    """What was compared: both sides in words, what they were timed on, and how."""

    base: str
    head: str
    revision: str  # as it was given
    gpu: str
    processes: int  # of each side
    wanted: int
    seconds: float
    short: bool  # the budget ended the pairs early


def lines(judgement: PairedJudgement, about: Compared) -> list[str]:
    """A summary comes last."""
    text = [f"base  {about.base}", f"head  {about.head}", f"on    {about.gpu}, {about.processes} processes each", ""]
    moved = _moved(judgement)
    if moved:
        text += [*_table(moved), ""]
    for each in judgement.slower:
        for cause in each.causes:
            text += _wrapped(f"  {each}: {cause}")
    said = [*_shared(judgement, about.revision), *_notes(judgement, about), *_work(judgement.points)]
    return [*text, *(part for line in said for part in _wrapped(line)), *_wrapped(summary(judgement, about))]


def summary(judgement: PairedJudgement, about: Compared) -> str:
    count, slower, whole = len(judgement.points), judgement.slower, judgement.slower_as_a_whole
    took = f"{about.processes} + {about.processes} processes in {_minutes(about.seconds)}"
    if judgement.red:
        what = [f"{len(slower)} of {points(count)} slower"] if slower else []
        what += [f"{each} as a whole slower" for each in whole]
        said = [f"{', '.join(what)} than {about.revision}"] if what else []
        said += [f"{points(len(judgement.lost))} without a time"] if judgement.lost else []
        return f"RED: {'; '.join([*said, took])}"
    changes = [each.change.ratio for each in judgement.points]
    widest = max(each.change.margin for each in judgement.points)
    span = f"changes {_percent(min(changes))} to {_percent(max(changes))}, margins up to {widest * 100:.1f} %"
    return f"GREEN: none of {points(count)} is slower than {about.revision}: {span}; {took}"


def _moved(judgement: PairedJudgement) -> list[PointChange]:
    """The worst first; what got faster is moved too."""
    faster = [each for each in judgement.points if each.change.faster]
    return [*judgement.slower, *sorted(faster, key=lambda each: -each.change.ratio)]


def _table(moved: Sequence[PointChange]) -> list[str]:
    cells = [["change", "margin", "base ms", "head ms", "point"]]
    for each in moved:
        times = [f"{(ns or 0) / 1e6:,.3f}" for ns in (each.then.time_ns, each.now.time_ns)]
        work = "; ".join(filter(None, [str(each), *work_of(each.then, each.now)]))
        cells.append([_percent(each.change.ratio), f"{each.change.margin * 100:.1f} %", *times, work])
    table = aligned(cells, left=(-1,))
    indent = len(table[0]) - len(cells[0][-1])
    return [part for row in table for part in textwrap.wrap(row, WIDTH, subsequent_indent=" " * indent) or [row]]


def work_of(then: Observed, now: Observed) -> list[str]:
    """What changed beside the time; a lower clock too, which is not the code's."""
    found = []
    for field, name in WORK.items():
        old, new = getattr(then, field), getattr(now, field)
        if None not in (old, new) and old != new:
            change = f"{old} -> {new}" if field == "kernels" else _percent(new / old - 1, 2) if old else f"0 -> {new}"
            found.append(f"{name} {change}")
    if then.sm_clock_mhz and now.sm_clock_mhz and abs(now.sm_clock_mhz / then.sm_clock_mhz - 1) > CLOCK:
        found.append(f"SM clock {then.sm_clock_mhz} -> {now.sm_clock_mhz} MHz")
    if then.power_capped is False and now.power_capped:
        found.append("under the power cap")
    return found


def _shared(judgement: PairedJudgement, revision: str) -> Iterator[str]:
    for each in sorted(judgement.shared, key=lambda each: -each.change.ratio):
        change = each.change
        if change.slower or change.faster:
            how = f"{_percent(change.ratio)} {'slower' if change.slower else 'faster'} than {revision}"
            yield f"{each} as a whole is {how} ({points(each.points)}, margin {change.margin * 100:.1f} %)"


def _notes(judgement: PairedJudgement, about: Compared) -> Iterator[str]:
    for outlier in judgement.outliers:
        yield _outlier(outlier)
    for keys, what in (
        (judgement.lost, "base takes a time and head does not"),
        (judgement.only_base, "only base has it"),
        (judgement.only_head, "only head has it"),
        (judgement.otherwise, "not judged, the sides are timed by different clocks"),
        (judgement.unjudged, "not judged, a side has fewer than 2 acceptable processes"),
    ):
        if keys:
            yield f"{points(len(keys))}: {what}: {_named(keys)}"
    blind = [each for each in judgement.points if each.change.margin > CAP]
    if blind:
        yield f"{points(len(blind))} cannot see {CAP * 100:g} %: {_named([each.key for each in blind])}"
    if about.short:
        ran = f"{about.processes} of {about.wanted}"
        yield f"the budget was enough for {ran} processes a side: margins are wider than with all"


def _outlier(each: Outlier) -> str:
    where = " ".join(map(str, each.key)) if each.key else f"all points of {' '.join(each.group)}"
    return f"process {each.process + 1} of {each.side} was {_percent(each.off)} off at {where}: left out"


def _work(changes: Sequence[PointChange]) -> Iterator[str]:
    """The work that changed, also of points whose time did not."""
    for field, name in WORK.items():
        pairs = [(getattr(each.then, field), getattr(each.now, field)) for each in changes]
        ratios = [new / old - 1 for old, new in pairs if old and new is not None and new != old]
        if ratios:
            yield f"{name} changed at {points(len(ratios))}: {_percent(min(ratios), 2)} to {_percent(max(ratios), 2)}"


def _named(keys: Sequence[Key]) -> str:
    more = f" and {len(keys) - FEW:,} more" if len(keys) > FEW else ""
    return ", ".join(" ".join(map(str, key)) for key in keys[:FEW]) + more


def _percent(ratio: float, digits: int = 1) -> str:
    return f"{ratio * 100:+.{digits}f} %"


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.0f} min {seconds % 60:.0f} s" if seconds >= 60 else f"{seconds:.0f} s"


def _wrapped(line: str) -> list[str]:
    return textwrap.wrap(line, WIDTH, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)


# For a pull request and for programs


def markdown(judgement: PairedJudgement, about: Compared) -> str:
    """A few lines: the summary, the table of what moved, and what a reviewer must know."""
    text = [f"**{plain(summary(judgement, about))}**", ""]
    moved = _moved(judgement)
    if moved:
        text += ["| point | change | margin | beside the time |", "|---|--:|--:|---|"]
        for each in moved:
            work = plain("; ".join(work_of(each.then, each.now))) or "same work"
            text.append(f"| {each} | {_percent(each.change.ratio)} | {each.change.margin * 100:.1f} % | {work} |")
        text.append("")
    said = [*_shared(judgement, about.revision), *_notes(judgement, about), *_work(judgement.points)]
    text += [*(f"- {plain(line)}" for line in said)]
    return "\n".join([*text, f"- {plain(f'base {about.base}; head {about.head}; on {about.gpu}')}", ""])


def as_json(judgement: PairedJudgement, about: Compared) -> dict[str, object]:
    """All points, in base units; changes and margins are ratios."""
    return {
        "schema": 1,
        "red": judgement.red,
        **asdict(about),
        "points": [_point(each) for each in judgement.points],
        "stages": [_stage(each) for each in judgement.shared],
        "outliers": [
            {"side": o.side, "process": o.process + 1, "change": o.off, "at": " ".join(map(str, o.key or o.group))}
            for o in judgement.outliers
        ],
        **{
            name: [" ".join(map(str, key)) for key in getattr(judgement, name)]
            for name in ("only_base", "only_head", "lost", "otherwise", "unjudged")
        },
    }


def _point(each: PointChange) -> dict[str, object]:
    stage, grid, attention = each.key
    return {
        "stage": stage,
        "grid": str(grid),
        "attention": attention,
        **_change(each.change),
        "base": asdict(each.then),
        "head": asdict(each.now),
        "processes": each.processes,
        "causes": [str(cause) for cause in each.causes],
    }


def _stage(each: SharedChange) -> dict[str, object]:
    return {"stage": each.stage, "attention": each.attention, "points": each.points, **_change(each.change)}


def _change(change: Change) -> dict[str, object]:
    outcome = "slower" if change.slower else "faster" if change.faster else "same"
    return {"outcome": outcome, "change": change.ratio, "beyond": change.beyond, "margin": change.margin}
