"""What a whole run found, gathered in one process, which alone writes files and sums up."""

from __future__ import annotations

import os
import subprocess
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path

from ..baselines import counted, gate, result, timed
from ..baselines.counted import BaselineError, Key, Points, Recorded
from ..baselines.metrics import counted_numbers
from ..baselines.result import Row
from ..files import atomic
from ..model.geometry import CropGrid
from ..model.stages import STAGES
from ..report import terminal
from ..report.schema import ReportError
from .session import Sweep, SweepError, describe

FEW = 8  # grids that a sentence names


@dataclass
class Results:
    """Rows by stage, grid and attention, wherever their tests ran."""

    sweep: Sweep
    rows: dict[tuple[str, str, str], Row] = field(default_factory=dict)
    environments: dict[tuple[str, str], dict[str, str | None]] = field(default_factory=dict)  # by host and GPU
    filtered: bool = False  # tests were left out, or did not come to a row: no telling what is unused
    unused: dict[str, set[Key]] = field(default_factory=dict)
    recorded: list[Recorded] = field(default_factory=list)
    reported: list[str] = field(default_factory=list)  # what to say of the report
    problems: list[str] = field(default_factory=list)  # what could not be written, a line each

    def take(self, rows: list[Row], failed: bool, environment: dict[str, str | None] | None = None) -> None:
        """Keep what one test found, in what `environment` it was timed; a test that failed did so on its last point."""
        if environment:
            self.environments[str(environment["host"]), str(environment["gpu"])] = environment
        if failed and rows[-1]["verdict"] not in terminal.FAILED:
            rows = [*rows[:-1], {**rows[-1], "verdict": "FAIL"}]
        for row in rows:
            self.rows[row["stage"], row["grid"], row["attention"]] = row

    def finish(self, rootdir: Path) -> None:
        """Write what the options ask for; what cannot be written is one of the `problems`, after all else was done."""
        for step in (self._find_unused, self._record, self._report):
            try:
                step(rootdir)
            except (SweepError, BaselineError, ReportError, OSError) as error:
                self.problems.append(str(error))
        self.problems = list(dict.fromkeys(self.problems))

    def _find_unused(self, _: Path) -> None:
        if not (self.filtered or self.sweep.options.grids):
            for stage, points in self._points(self.rows.values()).items():
                if unused := self.sweep.of_workload(stage) - points.keys():
                    self.unused[stage] = unused

    def _record(self, rootdir: Path) -> None:
        """Every point that did not fail, each file whatever becomes of the others."""
        if not self.sweep.options.update:
            return
        good = [row for row in self.rows.values() if row["verdict"] not in terminal.FAILED]
        barred: dict[str, list[str]] = defaultdict(list)  # files, by why and what to do
        for file, record in {**self._counted(good), **self._times(good, rootdir)}.items():
            atomic.remove_leftovers(file.parent)
            try:
                self.recorded.append(record(file))
            except BaselineError as error:
                self.problems.append(str(error))
            except OSError as error:
                barred[f"({error.strerror}): {atomic.remedy(error)}"].append(self.sweep.options.shown(file))
        for why, names in barred.items():
            self.problems.append(f"{', '.join(names)}: not recorded, left as before {why} and update again")

    def _counted(self, rows: Iterable[Row]) -> dict[Path, Callable[[Path], Recorded]]:
        """What records the counted numbers, by file."""

        def record(stage: str, points: Points, file: Path) -> Recorded:
            unused = {key: self.sweep.recorded[stage][key] for key in self.unused.get(stage, ())}
            done = counted.record(file, self.sweep.model.name, stage, points, unused)
            self.unused.pop(stage, None)
            return done

        found = self._points(rows).items()
        return {self.sweep.file_of(stage): partial(record, stage, points) for stage, points in found}

    def _report(self, rootdir: Path) -> None:
        """The report's files; its page is shown below the job too, where GitHub runs one."""
        options, job = self.sweep.options, os.environ.get("GITHUB_STEP_SUMMARY")
        if options.report:
            from ..report import files  # loads sqlite3

            self.reported = files.write(self._document(rootdir), options.report, Path(job) if job else None)

    def _times(self, rows: Iterable[Row], rootdir: Path) -> dict[Path, Callable[[Path], Recorded]]:
        """What records the times, each GPU's in a folder of its own, each time with what it was taken on."""
        revision = _revision(rootdir, self.sweep.options.baselines)
        found: dict[tuple[str, str], dict[Key, tuple[timed.Timed, bool]]] = defaultdict(dict)
        for row in sorted(rows, key=result.order):
            vendor = row["vendor"]
            if vendor is not None:
                environment = {**self.environments[vendor["host"], vendor["gpu"]], "git_revision": revision}
                agrees = vendor["gate"]["outcome"] == gate.Outcome.PASS
                found[vendor["gpu"], row["stage"]][self._key(row)] = (_timed(row, environment), agrees)
        name = self.sweep.model.name
        return {
            self.sweep.timed_file_of(stage, gpu): partial(
                timed.record, model=name, gpu=timed.gpu_folder(gpu), stage=stage, found=points
            )
            for (gpu, stage), points in found.items()
        }

    def _points(self, rows: Iterable[Row]) -> dict[str, Points]:
        """Rows as baselines hold them, by stage."""
        found: dict[str, Points] = defaultdict(dict)
        for row in sorted(rows, key=result.order):
            found[row["stage"]][self._key(row)] = counted_numbers(row)
        return found

    def _key(self, row: Row) -> Key:
        """What a row's baselines are found by."""
        return Key(self.sweep.settings.workload.on(CropGrid.parse(row["grid"])), row["attention"])

    def _document(self, rootdir: Path) -> dict[str, object]:
        settings = self.sweep.settings
        revision = _revision(rootdir, self.sweep.options.baselines)
        environment = result.environment(settings.model, revision, *self._measured)
        rows = [{**row, "components": self._components(row)} for row in self.rows.values()]
        return result.document(settings.model.name, asdict(settings.workload), environment, rows)

    @property
    def _measured(self) -> list[dict[str, str | None]]:
        """What each host's GPU was measured with, in the order of their names."""
        return [environment for _, environment in sorted(self.environments.items())]

    def _components(self, row: Row) -> dict[str, dict[str, int]]:
        work = self.sweep.settings.workload.on(CropGrid.parse(row["grid"]))
        return result.components(self.sweep.model.ledger(row["stage"], work, row["attention"]))

    def summary(self) -> list[str]:
        """The table, and each thing to know said once."""
        if not self.rows:
            return []
        labels = {str(grid): point.label for grid, point in self.sweep.points.items() if point.label}
        work = describe(self.sweep.settings.workload.on(CropGrid(1, 1)))
        lines = [
            f"{self.sweep.model.name}, {work}",
            *terminal.table(list(self.rows.values()), labels),
            *(f"{name} is cut into {grid}" for name, grid in self.sweep.pages),
            *self._about_hosts(),
            *self._about_baselines(work),
        ]
        if self.sweep.unmeasured:
            lines.append(f"nothing was measured: {self.sweep.unmeasured}")
        lines += self.reported
        return lines

    def _about_hosts(self) -> list[str]:
        """Where the times are from, if not all from one place, and what the hosts do not share."""
        if len(self._measured) < 2:
            return []
        lines = [f"measured on {result.host(environment)}" for environment in self._measured]
        for name in ("driver", "torch", "transformers", "weights"):
            if len({environment[name] for environment in self._measured}) > 1:
                told = ", ".join(f"{environment[name]} on {environment['host']}" for environment in self._measured)
                lines.append(f"hosts differ in {name}: {told}")
        return lines

    def _about_baselines(self, work: str) -> list[str]:
        shown = self.sweep.options.shown
        lines = [
            f"{shown(done.path)}: {done.added} points added, {done.changed} changed, {done.same} as before, "
            f"{done.removed} unused removed"
            for done in self.recorded
        ]
        accept = self.sweep.options.accepting_all
        unjudged = [row for row in self.rows.values() if row["verdict"] == "NO BASELINE"]
        missing = [row for row in unjudged if self._key(row) not in self.sweep.recorded[row["stage"]]]
        if missing:
            known = any(self.sweep.known[row["stage"]] for row in missing)
            grids = f"{_grids(missing)} of " if known else ""
            lines.append(
                f"no baseline is recorded for {grids}workload {work}: "
                f"{len(missing)} points were counted, not judged; to record them: {accept}"
            )
        if len(unjudged) > len(missing):
            lines.append(
                f"no time to compare with is recorded for {_grids(row for row in unjudged if row not in missing)}: "
                f"{len(unjudged) - len(missing)} points were timed, not judged; to record them: {accept}"
            )
        if untimed := [row for row in self.rows.values() if row["verdict"] == "NO SAMPLE" and row["vendor"] is None]:
            lines.append(f"a device failed: {len(untimed)} points after that were counted, not timed; run them again")
        if faster := [row for row in self.rows.values() if row["verdict"] == "IMPROVED"]:
            lines.append(f"faster than recorded: {len(faster)} points ({_grids(faster)}); to accept them: {accept}")
        for environment in self._measured:
            gpu = str(environment["gpu"])
            then = [stored for stage in STAGES for stored in self.sweep.timed_of(stage, gpu).values()]
            now = {**environment, "git_revision": None}
            if told := dict.fromkeys(line for stored in then for line in timed.differences(stored, now)):
                on = f"{gpu} of {environment['host']}" if len(self._measured) > 1 else gpu
                lines.append(f"the times on {on} were recorded with another environment: {', '.join(told)}")
        for stage, keys in self.unused.items():
            lines.append(
                f"unused: {shown(self.sweep.file_of(stage))} records {len(keys)} points that no test used "
                f"({_some({key.work.grid for key in keys})}); to remove them: {accept}"
            )
        return lines


def _timed(row: Row, environment: timed.Environment) -> timed.Timed:
    """A row's measurement as baselines hold it."""
    vendor = row["vendor"]
    assert vendor is not None
    device, floor = vendor["device_ns"], row["floor"]
    process = gate.Process(device["median"], device["q1"], device["q3"], len(device["samples"]))
    observed = gate.Observed(**{name: vendor[name] for name in timed.SEEN})
    attained = round(floor["attained"], 6) if floor else None
    wall = vendor["wall_ns"]["median"]
    return timed.Timed(vendor["clock"], vendor["experts"], observed, wall, process, environment, attained)


def _grids(rows: Iterable[Row]) -> str:
    return _some({CropGrid.parse(row["grid"]) for row in rows})


def _some(grids: set[CropGrid]) -> str:
    names = [str(grid) for grid in sorted(grids)]
    more = f" and {len(names) - FEW} more" if len(names) > FEW else ""
    return f"{'grid' if len(names) == 1 else 'grids'} {', '.join(names[:FEW])}{more}"


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
