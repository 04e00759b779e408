"""What a whole run found, gathered in one process, which alone records baselines; each step of the end stands alone."""

from __future__ import annotations

import subprocess
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from ..baselines import counted, timed
from ..baselines.counted import CountedPoints, PointKey, Recorded
from ..baselines.gate import Outcome
from ..baselines.measurement import Environment
from ..baselines.metrics import exact_numbers
from ..baselines.recorded_time import TimedProcess
from ..baselines.result import PointResult, components, order
from ..baselines.sweep_report import Report, SweepEnvironment, SweepWorkload
from ..baselines.verdict import Verdict
from ..errors import BaselineError, OcrsweepError
from ..files import atomic
from ..model.geometry import CropGrid
from .session import Sweep

Key = tuple[str, CropGrid, str]  # stage, grid, attention
Write = Callable[[Path], Recorded]  # to a file


@dataclass
class Results:
    """Points by stage, grid and attention, wherever their tests ran."""

    sweep: Sweep
    points: dict[Key, PointResult] = field(default_factory=dict)
    environments: dict[tuple[str, str], Environment] = field(default_factory=dict)  # by host and GPU
    filtered: bool = False  # tests were left out, or did not come to a point: what is unused is not known
    unused: dict[str, set[PointKey]] = field(default_factory=dict)
    recorded: list[Recorded] = field(default_factory=list)
    reported: list[str] = field(default_factory=list)  # what to say of the report
    problems: list[str] = field(default_factory=list)  # what could not be done, a line each

    def take(self, points: Sequence[PointResult], failed: bool, environment: Environment | None = None) -> None:
        """Keep what one test found, in what `environment` it was timed; a test that failed did so on its last point."""
        if environment:
            self.environments[str(environment.host), str(environment.gpu)] = environment
        for point in points:
            self.points[point.key] = point
        if failed and not points[-1].verdict.failed:
            self.points[points[-1].key] = replace(points[-1], verdict=Verdict.FAIL)

    def finish(self, rootdir: Path, write: Callable[[Report], list[str]] | None = None) -> None:
        """Record what the options ask for, and `write` the report, which gives the lines to say of it.

        A step that fails is a line in `problems`, and the others are done all the same: counted numbers come first.
        """
        barred: dict[str, list[str]] = defaultdict(list)  # files, by why and what to do
        steps: dict[str, Callable[[], None]] = {"finding unused points": self._find_unused}
        if self.sweep.options.update:
            steps["recording counted numbers"] = lambda: self._record(self._counted(), barred)
            steps["recording times"] = lambda: self._record(self._times(rootdir), barred)
            steps["naming the files that were not recorded"] = lambda: self._say_barred(barred)
        if write:
            steps["writing the report"] = lambda: self.reported.extend(write(self.report(rootdir)))
        for name, step in steps.items():
            try:
                step()
            except (OcrsweepError, OSError) as error:
                self.problems.append(str(error))
            except Exception as error:  # a bug must not take the other steps with it
                self.problems.append(f"{name} failed: {type(error).__name__}: {error}")
        self.problems = list(dict.fromkeys(self.problems))

    def _find_unused(self) -> None:
        if not (self.filtered or self.sweep.options.grids):
            for stage, points in self._by_stage(self.points.values()).items():
                if unused := self.sweep.of_workload(stage) - points.keys():
                    self.unused[stage] = unused

    @property
    def _good(self) -> list[PointResult]:
        return [point for point in self.points.values() if not point.verdict.failed]

    def _record(self, writes: dict[Path, Write], barred: dict[str, list[str]]) -> None:
        """Each file, whatever becomes of the others."""
        for file, write in writes.items():
            atomic.remove_leftovers(file.parent)
            try:
                self.recorded.append(write(file))
            except BaselineError as error:
                self.problems.append(str(error))
            except OSError as error:
                barred[f"({error.strerror}): {atomic.remedy(error)}"].append(self.sweep.options.shown(file))

    def _say_barred(self, barred: dict[str, list[str]]) -> None:
        for why, names in barred.items():
            self.problems.append(f"{', '.join(names)}: not recorded, left as before {why} and update again")

    def _counted(self) -> dict[Path, Write]:
        """What records the counted numbers of every point that did not fail, by file."""

        def record(stage: str, points: CountedPoints, file: Path) -> Recorded:
            unused = {key: self.sweep.recorded[stage][key] for key in self.unused.get(stage, ())}
            done = counted.record(file, self.sweep.model.name, stage, points, unused)
            self.unused.pop(stage, None)
            return done

        by_stage = self._by_stage(self._good).items()
        return {self.sweep.file_of(stage): partial(record, stage, points) for stage, points in by_stage}

    def _times(self, rootdir: Path) -> dict[Path, Write]:
        """What records the times, each GPU's in a folder of its own, each time with what it was taken on."""
        revision = _revision(rootdir, self.sweep.options.baselines)
        found: dict[tuple[str, str], dict[PointKey, tuple[TimedProcess, bool]]] = defaultdict(dict)
        for point in sorted(self._good, key=order):
            vendor = point.vendor
            if vendor is not None:
                gpu = str(vendor.gpu)
                environment = replace(self.environments[str(vendor.host), gpu], git_revision=revision)
                time = TimedProcess.of(vendor, environment, point.floor.attained if point.floor else None)
                found[gpu, point.stage][self.key(point)] = time, vendor.gate.outcome == Outcome.PASS
        name = self.sweep.model.name
        return {
            self.sweep.timed_file_of(stage, gpu): partial(
                timed.record, model=name, gpu=timed.gpu_folder(gpu), stage=stage, found=points
            )
            for (gpu, stage), points in found.items()
        }

    def _by_stage(self, points: Iterable[PointResult]) -> dict[str, CountedPoints]:
        """Counted numbers as baselines hold them."""
        found: dict[str, CountedPoints] = defaultdict(dict)
        for point in sorted(points, key=order):
            found[point.stage][self.key(point)] = exact_numbers(point, point.analytic)
        return found

    def key(self, point: PointResult) -> PointKey:
        """What a point's baselines are found by."""
        return PointKey(self.sweep.settings.workload.on(point.grid), point.attention)

    @property
    def measured(self) -> list[Environment]:
        """What each host's GPU was measured with, in the order of their names."""
        return [self.environments[name] for name in sorted(self.environments)]

    def report(self, rootdir: Path) -> Report:
        """The points with their components, and what they were found on."""
        settings = self.sweep.settings
        revision = _revision(rootdir, self.sweep.options.baselines)
        environment = SweepEnvironment.of(settings.model, revision, *self.measured)
        workload = SweepWorkload.of(settings.workload.on(CropGrid(1, 1)))
        return Report.of(settings.model.name, workload, environment, map(self._taken_apart, self.points.values()))

    def _taken_apart(self, point: PointResult) -> PointResult:
        work = self.sweep.settings.workload.on(point.grid)
        return replace(point, components=components(self.sweep.model.ledger(point.stage, work, point.attention)))


def _revision(rootdir: Path, ours: Path) -> str | None:
    """The project's git commit; None without git or a commit.

    With "-dirty" where tracked files are not as committed, but for `ours`: an update has changed those itself.
    """
    try:
        head = _git(rootdir, "rev-parse", "HEAD")
        if head.returncode:
            return None
        but = [f":(exclude){ours}"] if ours.is_relative_to(rootdir) else []
        changed = _git(rootdir, "diff", "--quiet", "HEAD", "--", ":/", *but).returncode != 0
    except OSError:
        return None
    return head.stdout.strip() + "-dirty" * changed


def _git(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True)
