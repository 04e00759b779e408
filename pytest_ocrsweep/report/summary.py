"""What a run says at its end: the table of its points, and each thing to know said once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from ..baselines import gate, shared
from ..baselines.measurement import GateResult
from ..baselines.recorded_time import differences
from ..baselines.result import PointResult
from ..baselines.verdict import Verdict
from ..model.geometry import CropGrid
from ..model.positions import beyond
from ..model.stages import STAGES
from ..sweep.drifts import drifts
from ..sweep.options import Options
from ..sweep.results import Results
from ..sweep.session import describe
from . import energy, own, terminal

FEW = 8  # grids that a sentence names, or points with a line each


def lines(results: Results, width: int | None = None) -> list[str]:
    """Nothing without points. The table has the columns that `width` has room for."""
    if not results.points and not results.own.found:
        return []
    sweep = results.sweep
    labels = {grid: point.label for grid, point in sweep.points.items() if point.label}
    work = describe(sweep.settings.workload.on(CropGrid(1, 1)))
    runs = {(point.stage, point.grid) for point in results.points.values()}
    return [
        f"{sweep.model.title}, {work}",
        *(
            terminal.table(list(results.points.values()), labels, expected=results.expected, width=width)
            if results.points
            else ()
        ),
        *own.table(results.own.results),
        *(f"{name} is cut into {grid}" for name, grid in sweep.pages),
        *_about_folder(sweep.options),
        *_about_hosts(results),
        *_about_updates(results),
        *_about_points(results, work),
        *own.about(results),
        *_about_offsets(results),
        *_about_margins(results),
        *energy.about(results),
        *_about_drift(results),
        *_about_environments(results),
        *_about_unused(results),
        *beyond(sweep.settings.model, ((stage, sweep.settings.workload.on(grid)) for stage, grid in runs)),
        *([f"nothing was measured: {sweep.unmeasured}"] if sweep.unmeasured and results.points else []),
        *results.notes,
        *results.reported,
    ]


def short(results: Results) -> list[str]:
    """One line for a run that is to be quiet, and what it recorded; nothing without points and code of one's own."""
    said = [terminal.counts(results.points.values())] if results.points else []
    said += [f"own code: {own.counts(results.own.results)}"] if results.own.found else []
    return [f"ocrsweep: {'; '.join(said)}", *_about_updates(results)] if said else []


def _about_folder(options: Options) -> Iterator[str]:
    """Which baselines judged the points, or took them up."""
    folder, shown = options.folder, options.shown(options.baselines)
    if folder is None:
        return
    if folder.own:
        yield (
            f"baselines: those of pytest-ocrsweep, which are only read; to begin your own in "
            f"{options.shown(folder.own)}: {options.accepting_all}"
        )
    elif folder.begins:
        instead = f"; {options.shown(folder.above)} is another set" if folder.above else ""
        yield f"baselines: a new set begins in {shown}{instead}"
    else:
        yield f"baselines: {shown}"


def _about_hosts(results: Results) -> Iterator[str]:
    """Where the times are from, if not all from one place, and what the hosts do not share."""
    measured = results.measured
    if len(measured) < 2:
        return
    yield from (f"measured on {environment}" for environment in measured)
    for name in ("driver", "torch", "transformers", "weights"):
        values = [getattr(environment, name) for environment in measured]
        if len(set(values)) > 1:
            each = ", ".join(f"{value} on {on.host}" for value, on in zip(values, measured, strict=True))
            yield f"hosts differ in {name}: {each}"


def _about_updates(results: Results) -> Iterator[str]:
    for done in results.recorded:
        counts = f"{done.added} points added, {done.changed} changed, {done.same} as before"
        counts += f", {done.kept} kept" if done.kept else ""
        removed = f"{done.removed} unused points removed, {done.same} left"
        yield f"{results.sweep.options.shown(done.path)}: {removed if done.removed else counts}"
        yield from _first(done.lines)


def _about_points(results: Results, work: str) -> Iterator[str]:
    """Points without a baseline, points that a failed device left, and points that got faster."""
    sweep, accept = results.sweep, results.sweep.options.accepting_all
    by_verdict = {verdict: [p for p in results.points.values() if p.verdict is verdict] for verdict in Verdict}
    missing: list[PointResult] = []
    untimed: list[PointResult] = []
    for point in results.points.values():
        if not sweep.options.update and results.key(point) not in sweep.recorded[point.stage]:
            missing.append(point)
        elif point.verdict is Verdict.NO_BASELINE:
            untimed.append(point)
    if missing:
        known = any(sweep.known[point.stage] for point in missing)
        grids = f"{_grids(missing)} of " if known else ""
        yield (
            f"no baseline is recorded for {grids}workload {work}: "
            f"{len(missing)} points were counted, not judged; to record them: {accept}"
        )
    if untimed:
        yield (
            f"no time to compare with is recorded for {_grids(untimed)}: "
            f"{len(untimed)} points were timed, not judged; to record them: {accept}"
        )
    if left := [point for point in by_verdict[Verdict.NO_SAMPLE] if point.vendor is None]:
        yield f"a device failed: {len(left)} points after that were counted, not timed; run them again"
    if faster := by_verdict[Verdict.IMPROVED]:
        yield f"faster than recorded: {len(faster)} points ({_grids(faster)}); to accept them: {accept}"


def _about_offsets(results: Results) -> Iterator[str]:
    """What all points of a family share on a machine, where that is worth a line."""
    found: dict[str, GateResult] = {}
    for point in results.points.values():
        if point.vendor and abs(point.vendor.gate.shared or 0.0) > shared.SAID:
            found[f"{point.stage} {point.attention} on this machine ({point.vendor.host})"] = point.vendor.gate
    for family, judged in found.items():
        offset, limit = judged.shared or 0.0, judged.shared_limit or shared.LIMIT
        way, share = "slower" if offset > 0 else "faster", f"{100 * abs(offset):.1f} %"
        how = f"a point was judged by what remains, and the whole by its limit, {100 * limit:.1f} %"
        if offset > limit:
            how = f"that is beyond the limit of the whole, {100 * limit:.1f} %"
        elif not judged.of_machine:
            how = "no machine explains so much, so a point was judged by its whole change"
        yield f"{family} is {share} {way} than recorded in all points: machine, driver or code; {how}"


def _about_margins(results: Results) -> Iterator[str]:
    """Points whose margin is wider than what the gate is to see, and recorded processes that are no evidence."""
    options, timed = results.sweep.options, [(p, p.vendor) for p in results.points.values() if p.vendor]
    wide = [(vendor.gate.margin or 0.0, str(point)) for point, vendor in timed]
    wide += [(own.measured.gate.margin or 0.0, str(own)) for own in results.own.found.values() if own.measured]
    wide = sorted(((margin, name) for margin, name in wide if margin > gate.CAP), reverse=True)
    if wide and not options.update:
        (margin, name), many = wide[0], "1 point" if len(wide) == 1 else f"{len(wide):,} points"
        yield (
            f"{many} cannot see {100 * gate.CAP:g} %: the margin of {name} is {100 * margin:.1f} %; "
            f"record again on a quiet machine, three times: {options.accepting_all}"
        )
    for point, vendor in timed:
        recorded = results.sweep.timed_of(point.stage, str(vendor.gpu)).get(results.key(point))
        if recorded:
            apart = [process.median_ns / recorded.baseline.time_ns - 1 for process in recorded.baseline.outlying]
            yield from (
                f"{point}: a recorded process is {100 * x:+.1f} % off the others; it is left out" for x in apart
            )


def _about_drift(results: Results) -> Iterator[str]:
    """Points that moved little by little, beside their first accepted times."""
    found = drifts(results)
    yield from _first([f"{point} {drift}" for point, drift in found.items()])
    beyond = [point for point, drift in found.items() if drift.exceeds(results.sweep.options.drift)]
    if beyond and results.sweep.options.update:
        limit = f"ocrsweep_drift={100 * results.sweep.options.drift:g}"
        yield f"beyond {limit}, a run fails: {', '.join(beyond)}; accept a point: ocrsweep history accept {beyond[0]}"


def _about_environments(results: Results) -> Iterator[str]:
    """What the recorded times ran with, and this run did not."""
    for environment in results.measured:
        gpu = str(environment.gpu)
        then = [recorded for stage in STAGES for recorded in results.sweep.timed_of(stage, gpu).values()]
        if different := dict.fromkeys(line for recorded in then for line in differences(recorded, environment)):
            on = f"{gpu} of {environment.host}" if len(results.measured) > 1 else gpu
            yield f"the times on {on} were recorded with another environment: {', '.join(different)}"


def _about_unused(results: Results) -> Iterator[str]:
    options = results.sweep.options
    for stage, keys in results.unused.items():
        yield (
            f"unused: {options.shown(results.sweep.file_of(stage))} records {len(keys)} points that no test used "
            f"({_some({key.work.grid for key in keys})}); to remove them: {options.pruning}"
        )


def _first(lines: Sequence[str]) -> Iterator[str]:
    """The first lines, and how many are left out."""
    yield from lines[:FEW]
    if len(lines) > FEW:
        yield f"and {len(lines) - FEW} more points like these: ocrsweep history"


def _grids(points: Iterable[PointResult]) -> str:
    return _some({point.grid for point in points})


def _some(grids: set[CropGrid]) -> str:
    names = [str(grid) for grid in sorted(grids)]
    more = f" and {len(names) - FEW} more" if len(names) > FEW else ""
    return f"{'grid' if len(names) == 1 else 'grids'} {', '.join(names[:FEW])}{more}"
