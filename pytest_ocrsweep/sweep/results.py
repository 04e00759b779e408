"""What a whole run found, gathered in one process, which alone records baselines; each step of the end stands alone."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, partial
from pathlib import Path

from ..baselines import counted, history, timed
from ..baselines.counted import CountedPoints, PointKey
from ..baselines.measurement import Environment
from ..baselines.metrics import exact_numbers
from ..baselines.recorded_file import Recorded
from ..baselines.recorded_time import TimedProcess
from ..baselines.result import PointResult, order
from ..baselines.sweep_report import Report, SweepEnvironment, SweepWorkload
from ..baselines.verdict import Verdict
from ..errors import BaselineError, OcrsweepError
from ..files import atomic
from ..model.geometry import CropGrid
from . import expected
from .journals import Journals, TakenUp
from .own_results import AGREES, File, OwnResults
from .revision import Revision, revision
from .session import Sweep
from .slow_hosts import Key, slow

Write = Callable[[Path], Recorded]  # to a file


@dataclass
class Results:
    """Points by stage, grid and attention, wherever their tests ran."""

    sweep: Sweep
    points: dict[Key, PointResult] = field(default_factory=dict)
    environments: dict[tuple[str, str], Environment] = field(default_factory=dict)  # by host and GPU
    _taken_on: dict[Key, Environment] = field(default_factory=dict, init=False)  # a host may have several cards
    _slow: dict[Key, str] = field(default_factory=dict, init=False)  # of a host that was faster later
    filtered: str | None = None  # why it is not known which points are unused: tests were left out, or came to none
    of_all_paths: bool = True  # else tests of other files may use recorded times of a user's own code
    unused: dict[str, set[PointKey]] = field(default_factory=dict)
    recorded: list[Recorded] = field(default_factory=list)
    reported: list[str] = field(default_factory=list)  # what to say of the report
    notes: list[str] = field(default_factory=list)  # what a person should know of how this was found
    _known_revision: Revision | None = field(default=None, init=False)
    problems: list[str] = field(default_factory=list)  # what could not be done, a line each
    journals: Journals | None = None  # of an update that may be killed
    own: OwnResults = field(init=False)
    own_unused: dict[File, set[PointKey]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.own = OwnResults(self.sweep)

    def take(self, points: Sequence[PointResult], failed: bool, environment: Environment | None = None) -> None:
        """Keep what one test found, in what `environment` it was timed; a test that failed did so on its last point."""
        if environment:
            self.environments[str(environment.host), str(environment.gpu)] = environment
        for point in points:
            if environment:
                self._taken_on[point.key] = environment
            self.points[point.key] = point
        if failed and not points[-1].verdict.failed:
            self.points[points[-1].key] = replace(points[-1], verdict=Verdict.FAIL)
        if self.journals and environment:
            for point in points:
                if point.vendor:
                    self.journals.append(self.points[point.key], environment)

    def finish(self, rootdir: Path, write: Callable[[Report], list[str]] | None = None) -> None:
        """Record what the options ask for, and `write` the report, which gives the lines to say of it.

        A step that fails is a line in `problems`, and the others are done all the same: counted numbers come first.
        """
        barred: dict[str, list[str]] = defaultdict(list)  # files, by why and what to do
        steps: dict[str, Callable[[], None]] = {"finding unused points": self._find_unused}
        if self.sweep.options.prune:
            steps["removing unused points"] = lambda: self._record(self._unused(), barred)
        if self.sweep.options.update:
            steps["looking at the speed of hosts"] = self._refuse_slow
            revision = cache(lambda: self.revision(rootdir).name)
            steps["recording counted numbers"] = lambda: self._record(self._counted(), barred)
            steps["recording times"] = lambda: self._record(self._times(rootdir), barred)
            steps["recording times of your own code"] = lambda: self._record(self.own.times(revision), barred)
            steps["naming the files that were not recorded"] = lambda: self._say_barred(barred)
            steps["removing the journal"] = self._end_journals
        if write:
            steps["writing the report"] = lambda: self.reported.extend(write(self.report(rootdir)))
        for name, step in steps.items():
            self.attempt(name, step)
        self.problems = list(dict.fromkeys([*self.problems, *self.own.clashes.values()]))

    def attempt(self, name: str, step: Callable[[], object]) -> None:
        """Do a step of the end; what fails is a line."""
        try:
            step()
        except (OcrsweepError, OSError) as error:
            self.problems.append(str(error))
        except KeyboardInterrupt:
            self.problems.append(f"{name} was interrupted: what is there may be of two runs; run again")
        except Exception as error:  # a bug must not take the other steps with it
            self.problems.append(f"{name} failed: {type(error).__name__}: {error}")

    def _refuse_slow(self) -> None:
        """A time that was taken before its host showed how fast it can be is not recorded."""
        left = {each.point.key: each.point for each in self._taken_up}
        self._slow = slow({**left, **self.points}.values())
        for key in self._slow.keys() & self.points.keys():
            self.points[key] = replace(self.points[key], verdict=Verdict.NO_SAMPLE)
        self.problems += self._slow.values()

    def _end_journals(self) -> None:
        """The journals go once all that they hold is recorded."""
        if self.journals and self.problems:
            self.notes += [f"{path} keeps what was timed for the next update" for path in self.journals.paths]
        elif self.journals:
            self.journals.remove()

    def _find_unused(self) -> None:
        if not self.filtered and not self.sweep.options.read_only:
            for stage, points in self._by_stage(self.points.values()).items():
                if unused := self.sweep.of_workload(stage) - points.keys():
                    self.unused[stage] = unused
            if self.of_all_paths:
                self.own_unused = self.own.unused()

    @property
    def _good(self) -> list[PointResult]:
        return [point for point in self.points.values() if not point.verdict.failed]

    @property
    def _taken_up(self) -> list[TakenUp]:
        """What an earlier run timed, less what failed in this one; a time that this one took comes later and wins."""
        failed = {*self._slow, *(point.key for point in self.points.values() if point.verdict.failed)}
        return [each for each in self.journals.taken_up if each.point.key not in failed] if self.journals else []

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

    def _unused(self) -> dict[Path, Write]:
        """What removes the points that no test used, by file: their numbers, and their times on every GPU."""
        if self.sweep.options.read_only:
            raise BaselineError(
                "--ocrsweep-prune removed nothing: these are the package's baselines, which are only read;",
                f"begin your own: {self.sweep.options.accepting_all}",
            )
        if self.filtered:
            raise BaselineError(
                f"--ocrsweep-prune removed nothing: {self.filtered};",
                "run every test that could use a point: pytest --ocrsweep-prune, without -k, -m, -c, names or grids",
            )
        if not self.unused and not self.own_unused:
            self.notes.append("--ocrsweep-prune removed nothing: no recorded point is unused")
        name, writes = self.sweep.model.recorded_as, dict[Path, Write]()
        for stage, keys in self.unused.items():
            seen = {key: self.sweep.recorded[stage][key] for key in keys}
            writes[self.sweep.file_of(stage)] = partial(counted.remove, model=name, stage=stage, unused=seen)
            for gpu in timed.gpu_folders(self.sweep.options.baselines, name):
                file = timed.file_of(self.sweep.options.baselines, name, gpu, stage)
                if keys & self.sweep.recorded_times.get((gpu, stage), {}).keys():
                    writes[file] = partial(timed.remove, model=name, gpu=gpu, stage=stage, keys=keys)
        writes |= self.own.removals(self.own_unused)
        self.unused, self.own_unused = {}, {}
        return writes

    def _counted(self) -> dict[Path, Write]:
        """What records the counted numbers of every point that did not fail, by file."""
        name, left = self.sweep.model.recorded_as, [each.point for each in self._taken_up]
        return {
            self.sweep.file_of(stage): partial(counted.record, model=name, stage=stage, found=points)
            for stage, points in self._by_stage([*left, *self._good]).items()
        }

    def _times(self, rootdir: Path) -> dict[Path, Write]:
        """What records the times, each GPU's in a folder of its own, each time with what it was taken on."""
        git_revision = self.revision(rootdir).name
        found: dict[tuple[str, str], dict[PointKey, tuple[TimedProcess, bool | None]]] = defaultdict(dict)
        for left in self._taken_up:
            vendor, stage, key = left.point.vendor, left.point.stage, self.key(left.point)
            assert vendor is not None
            time = TimedProcess.of(vendor, left.environment, left.point.floor.attained if left.point.floor else None)
            stored = self.sweep.timed_of(stage, str(time.environment.gpu)).get(key)
            if stored is None or not stored.holds(time):
                found[str(vendor.gpu), stage][key] = time, None
        for point in sorted(self._good, key=order):
            vendor = point.vendor
            if vendor is not None:
                gpu = str(vendor.gpu)
                environment = replace(self._taken_on[point.key], git_revision=git_revision)
                time = TimedProcess.of(vendor, environment, point.floor.attained if point.floor else None)
                found[gpu, point.stage][self.key(point)] = time, AGREES.get(str(vendor.gate.outcome))
        name, date = self.sweep.model.recorded_as, history.now()
        return {
            self.sweep.timed_file_of(stage, gpu): partial(
                timed.record, model=name, gpu=timed.gpu_folder(gpu), stage=stage, found=points, date=date
            )
            for (gpu, stage), points in found.items()
        }

    def revision(self, rootdir: Path) -> Revision:
        """The git revision of the project; git is asked once."""
        if self._known_revision is None:
            self._known_revision = revision(rootdir, self.sweep.options.baselines)
            if self._known_revision.unknown:
                self.notes.append(self._known_revision.unknown)
        return self._known_revision

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
        own = {(str(each.host), str(each.gpu)): each for each in self.own.environments}
        every = own | self.environments
        return [every[name] for name in sorted(every)]

    def report(self, rootdir: Path) -> Report:
        """The points with their components, and what they were found on."""
        settings = self.sweep.settings
        environment = SweepEnvironment.of(settings.model, self.revision(rootdir).name, *self.measured)
        workload = SweepWorkload.of(settings.workload.on(CropGrid(1, 1)))
        points = map(partial(expected.taken_apart, self.sweep), self.points.values())
        return Report.of(self.sweep.recorded_as, workload, environment, points).with_own(self.own.results)

    def expected(self, point: PointResult) -> PointResult:
        """The point with an estimate, where there is one."""
        return expected.with_estimate(self.sweep, point)
