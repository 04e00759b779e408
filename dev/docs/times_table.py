"""Recorded times beside counted costs, as Markdown: `python dev/docs/times_table.py --gpu nvidia-h200`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

from pytest_ocrsweep.baselines.measurement import ENVIRONMENT, Environment
from pytest_ocrsweep.baselines.metrics import METRICS, analytic_names, values
from pytest_ocrsweep.baselines.result import Analytic, PointResult
from pytest_ocrsweep.errors import OcrsweepError
from pytest_ocrsweep.report.recorded import RecordedPoint, Source, recorded
from pytest_ocrsweep.sweep.session import describe

NAMES = ("stage", "grid", "attention")
SHOWN = ("context_tokens", "flops", "moved_bytes", "device_ns", "wall_ns")
EVIDENCE = ("peak GB measured", "counted off %", "kernels", "processes", "apart %", "margin %")


def workload(point: RecordedPoint) -> str:
    """What a point was measured with beside its grid and attention."""
    return describe(point.key.work)


def name_of(point: RecordedPoint) -> str:
    return f"{point.stage} {point.key.work.grid} {point.key.attention}"


def apart(point: RecordedPoint) -> float | None:
    """How far the processes' medians lie apart, as a ratio; None for a single process."""
    medians = [process.median_ns for process in point.stored.baseline.processes]
    return (max(medians) - min(medians)) / point.stored.baseline.time_ns if len(medians) > 1 else None


def peak_off(point: RecordedPoint) -> float | None:
    """How far the counted peak memory lies from the measured one, as a ratio; None if it was not measured."""
    measured = point.stored.baseline.observed.peak_bytes
    return point.counted["peak_activation_bytes"] / measured - 1 if measured else None


def numbers_of(point: RecordedPoint) -> dict[str, float | None]:
    """Every metric of the point; a decode's are totals over its new tokens."""
    costs = Analytic({name: point.counted[name] for name in analytic_names()})
    found = PointResult.of(point.stage, point.key.work, point.key.attention, costs, vendor=point.stored.measurement)
    return values(found)


def markdown(found: Sequence[RecordedPoint]) -> str:
    """A table for each workload, what the times were taken on, and how far processes agree."""
    lines = []
    for work, group in groupby(sorted(found, key=workload), workload):
        lines += [f"Workload {work}:", "", *_table(list(group)), ""]
    return "\n".join([*lines, *_notes(found)]) + "\n"


def _table(found: Sequence[RecordedPoint]) -> list[str]:
    header = [*NAMES, *(METRICS[name].heading for name in SHOWN), *EVIDENCE]
    ruler = ["---" if heading in NAMES else "---:" for heading in header]
    return [f"| {' | '.join(cells)} |" for cells in (header, ruler, *map(_cells, found))]


def _cells(point: RecordedPoint) -> list[str]:
    numbers, seen = numbers_of(point), point.stored.baseline.observed
    off, spread = peak_off(point), apart(point)
    return [
        *name_of(point).split(),
        *(METRICS[name].show(numbers[name]) for name in SHOWN),
        METRICS["peak_activation_bytes"].show(seen.peak_bytes),
        "-" if off is None else f"{100 * off:.2f}",
        "-" if seen.kernels is None else str(seen.kernels),
        str(len(point.stored.baseline.processes)),
        "-" if spread is None else f"{100 * spread:.2f}",
        f"{100 * point.margin:.2f}",
    ]


def _notes(found: Sequence[RecordedPoint]) -> list[str]:
    several = {name_of(point): ratio for point in found if (ratio := apart(point)) is not None}
    environments = [environment for point in found for environment in point.stored.environments]
    ran_on = dict.fromkeys(_ran_on(environment) for environment in environments)
    lines = [f"Measured on {'; '.join(ran_on)}.", "Decode rows are of all new tokens; its kernels are of one step."]
    if several:
        worst = max(several, key=lambda name: several[name])
        lines.append(
            f"Medians of separate processes lie at most {100 * several[worst]:.2f} % apart ({worst}), "
            f"over the {len(several)} of {len(found)} points that have more than one process."
        )
    if peaks := {name_of(point): off for point in found if (off := peak_off(point)) is not None}:
        worst = max(peaks, key=lambda name: abs(peaks[name]))
        lines.append(
            f"Peak memory as counted lies at most {100 * abs(peaks[worst]):.2f} % from the measured ({worst}); "
            f"it is equal, to the byte, at {sum(off == 0 for off in peaks.values())} of {len(peaks)} points."
        )
    return lines


def _ran_on(environment: Environment) -> str:
    unnamed, left_out = ("gpu", "dtype"), ("host", "git_revision")
    known = {name: getattr(environment, name) for name in ENVIRONMENT if name not in left_out}
    return ", ".join(text if name in unnamed else f"{name} {text}" for name, text in known.items() if text)


def parser(description: str | None) -> argparse.ArgumentParser:
    """The options that choose recorded times, to be read by `chosen`."""
    made = argparse.ArgumentParser(description=description)
    made.add_argument("--gpu", default="nvidia-h200", help="folder's name of the GPU (default: %(default)s)")
    made.add_argument("--model", default="deepseek-ocr", help="default: %(default)s")
    made.add_argument("--baselines", type=Path, default=Path("baselines"), help="default: %(default)s")
    made.add_argument("--grids", metavar="SOURCE", help="as for --ocrsweep-grids; default: all that is recorded")
    return made


def chosen(made: argparse.ArgumentParser, options: argparse.Namespace) -> list[RecordedPoint]:
    """The points that the options ask for; what is wrong ends the program in one line."""
    try:
        return recorded(Source(options.baselines, options.model, options.gpu), options.grids)
    except OcrsweepError as error:
        made.exit(2, f"{error}\n")


def main() -> None:
    made = parser(__doc__)
    print(markdown(chosen(made, made.parse_args())), end="")


if __name__ == "__main__":
    main()
