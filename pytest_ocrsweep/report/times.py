"""Recorded times beside counted costs, as Markdown: `python -m pytest_ocrsweep.report.times --gpu nvidia-h200`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from ..baselines import counted, gate, timed
from ..baselines.counted import BaselineError, Key
from ..baselines.metrics import METRICS, values
from ..baselines.result import Row
from ..model.stages import STAGES
from ..sweep.grid_sources import SourceError, points
from ..sweep.session import describe

NAMES = ("stage", "grid", "attention")
SHOWN = ("context_tokens", "flops", "moved_bytes", "device_ns", "wall_ns")
EVIDENCE = ("peak GB measured", "counted off %", "kernels", "processes", "apart %", "margin %")
REMEDY = "record both with pytest suites/ --ocrsweep-update"


class TimesError(ValueError):
    """Times that cannot be shown, in one line that says what to do."""


class Source(NamedTuple):
    """Which recorded times: below a folder of baselines, of a model, on a GPU by its folder's name."""

    folder: Path
    model: str
    gpu: str


@dataclass(frozen=True, slots=True)
class Point:
    """A recorded time and the counted costs of the same point; `margin` is the gate's, a ratio."""

    stage: str
    key: Key
    stored: timed.Stored
    counted: dict[str, int]
    margin: float

    @property
    def name(self) -> str:
        """Stage, grid and attention."""
        return f"{self.stage} {self.key.work.grid} {self.key.attention}"

    @property
    def processes(self) -> int:
        """How many the time was recorded in."""
        return len(self.stored.baseline.processes)

    @property
    def apart(self) -> float | None:
        """How far the processes' medians lie apart, as a ratio; None for a single process."""
        medians = [process.median_ns for process in self.stored.baseline.processes]
        return (max(medians) - min(medians)) / self.stored.baseline.time_ns if len(medians) > 1 else None

    @property
    def peak_off(self) -> float | None:
        """How far the counted peak memory lies from the measured, as a ratio; None where it was not measured."""
        measured = self.stored.baseline.observed.peak_bytes
        return self.counted["peak_activation_bytes"] / measured - 1 if measured else None

    @property
    def values(self) -> dict[str, float | None]:
        """Every metric of the point, as a run that found it would show it; decode's are of all its new tokens."""
        work, stored = self.key.work, self.stored
        measured = {"device_ns": stored.baseline.time_ns, "wall_ns": stored.wall_median_ns}
        row: Row = {
            "stage": self.stage,
            "grid": str(work.grid),
            "attention": self.key.attention,
            "image_tokens": work.image_tokens,
            "context_tokens": work.context_tokens,
            "new_tokens": work.new_tokens,
            "batch": work.batch,
            "analytic": self.counted,
            "floor": None,
            "vendor": {"clock": stored.clock, **{name: {"median": ns} for name, ns in measured.items()}},
            "verdict": "",
        }
        return values(row)


def recorded(source: Source, grids: str | None = None) -> list[Point]:
    """The points of a sweep source, or all, by stage, grid and attention. Raises TimesError, BaselineError."""
    try:
        wanted = {point.grid for point in points(grids)} if grids else None
    except SourceError as error:
        raise TimesError(f"--grids: {error}") from None
    folder, model, gpu = source
    found = []
    for stage in STAGES:
        numbers = counted.read(counted.file_of(folder, model, stage), model, stage)
        times = timed.read(timed.file_of(folder, model, gpu, stage), model, gpu, stage)
        expected = gate.expected_noise(stored.baseline for stored in times.values())
        for key, stored in times.items():
            if wanted is not None and key.work.grid not in wanted:
                continue
            if key not in numbers:
                raise TimesError(f"{stage} {key.work.grid} {key.attention} has a time, but no counted costs: {REMEDY}")
            found.append(Point(stage, key, stored, numbers[key], gate.margin(stored.baseline, expected)))
    if not found:
        what = f"of {model} on {gpu}{f' at {grids}' if grids else ''}"
        raise TimesError(f"no times {what} are recorded in {folder}: {REMEDY}")
    return found


def workload(point: Point) -> str:
    """What a point was measured with beside its grid and attention."""
    return describe(point.key.work)


def markdown(found: Sequence[Point]) -> str:
    """A table for each workload, what the times were taken on, and how far processes agree."""
    lines = []
    for work, group in groupby(sorted(found, key=workload), workload):
        lines += [f"Workload {work}:", "", *_table(list(group)), ""]
    return "\n".join([*lines, *_notes(found)]) + "\n"


def _table(found: Sequence[Point]) -> list[str]:
    header = [*NAMES, *(METRICS[name].heading for name in SHOWN), *EVIDENCE]
    ruler = ["---" if heading in NAMES else "---:" for heading in header]
    return [f"| {' | '.join(cells)} |" for cells in (header, ruler, *map(_cells, found))]


def _cells(point: Point) -> list[str]:
    numbers, seen = point.values, point.stored.baseline.observed
    return [
        *point.name.split(),
        *(METRICS[name].show(numbers[name]) for name in SHOWN),
        METRICS["peak_activation_bytes"].show(seen.peak_bytes),
        "-" if point.peak_off is None else f"{100 * point.peak_off:.2f}",
        "-" if seen.kernels is None else str(seen.kernels),
        str(point.processes),
        "-" if point.apart is None else f"{100 * point.apart:.2f}",
        f"{100 * point.margin:.2f}",
    ]


def _notes(found: Sequence[Point]) -> list[str]:
    several = {point.name: point.apart for point in found if point.apart is not None}
    environments = [environment for point in found for environment in point.stored.environments]
    ran_on = dict.fromkeys(_ran_on(environment) for environment in environments)
    lines = [f"Measured on {'; '.join(ran_on)}.", "Decode rows are of all new tokens; its kernels are of one step."]
    if several:
        worst = max(several, key=lambda name: several[name])
        lines.append(
            f"Medians of separate processes lie at most {100 * several[worst]:.2f} % apart ({worst}), "
            f"over the {len(several)} of {len(found)} points that have more than one process."
        )
    if peaks := {point.name: point.peak_off for point in found if point.peak_off is not None}:
        worst = max(peaks, key=lambda name: abs(peaks[name]))
        lines.append(
            f"Peak memory as counted lies at most {100 * abs(peaks[worst]):.2f} % from the measured ({worst}); "
            f"it is equal, to the byte, at {sum(off == 0 for off in peaks.values())} of {len(peaks)} points."
        )
    return lines


def _ran_on(environment: timed.Environment) -> str:
    told = {**environment, "host": None, "git_revision": None}
    unnamed = ("gpu", "dtype")
    return ", ".join(text if name in unnamed else f"{name} {text}" for name, text in told.items() if text)


def parser(description: str | None) -> argparse.ArgumentParser:
    """The options that choose recorded times, to be read by `chosen`."""
    made = argparse.ArgumentParser(description=description)
    made.add_argument("--gpu", default="nvidia-h200", help="folder's name of the GPU (default: %(default)s)")
    made.add_argument("--model", default="deepseek-ocr", help="default: %(default)s")
    made.add_argument("--baselines", type=Path, default=Path("baselines"), help="default: %(default)s")
    made.add_argument("--grids", metavar="SOURCE", help="as for --ocrsweep-grids; default: all that is recorded")
    return made


def chosen(made: argparse.ArgumentParser, options: argparse.Namespace) -> list[Point]:
    """The points that the options ask for; what is wrong ends the program in one line."""
    try:
        return recorded(Source(options.baselines, options.model, options.gpu), options.grids)
    except (TimesError, BaselineError) as error:
        made.exit(2, f"{error}\n")


def main() -> None:
    made = parser(__doc__)
    print(markdown(chosen(made, made.parse_args())), end="")


if __name__ == "__main__":
    main()
