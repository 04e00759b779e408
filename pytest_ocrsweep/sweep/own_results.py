"""What a whole run found of the user's own code, gathered in one process, which alone records it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from ..baselines import history, timed
from ..baselines.gate import Outcome
from ..baselines.measurement import Environment
from ..baselines.own import CALL, OwnKey, OwnResult, own_order
from ..baselines.point_key import PointKey, call_key
from ..baselines.recorded_file import Recorded
from ..baselines.recorded_time import CPU_TIME, TimedProcess
from ..baselines.verdict import Verdict
from ..model.geometry import CropGrid
from .own import OwnSweep
from .session import Sweep

Write = Callable[[Path], Recorded]  # to a file
File = tuple[str, str, str]  # name, GPU, stage


AGREES = {Outcome.PASS.value: True, Outcome.FAIL.value: False, Outcome.IMPROVED.value: False}  # with what is recorded


@dataclass
class OwnResults:
    """By name and point, wherever their tests ran."""

    sweep: Sweep
    found: dict[OwnKey, OwnResult] = field(default_factory=dict)
    _tests: dict[OwnKey, str] = field(default_factory=dict, init=False)
    clashes: dict[OwnKey, str] = field(default_factory=dict)  # names that two tests share, a line each

    def take(self, results: Sequence[OwnResult], test: str, *, failed: bool = False) -> None:
        """Keep what one test found; a test that runs again takes the place of its earlier run.

        A test that `failed` for no verdict did so on its last result.
        """
        keys = [result.key for result in results]
        for result in results:
            key, other = result.key, self._tests.get(result.key, test)
            if other != test or keys.count(key) > 1:
                tests = f"{other} and {test}" if other != test else f"{test}, twice"
                self.clashes[key] = f"two times under one name, {key}: {tests}; give each its own name"
            self.found[key], self._tests[key] = result, test
        if failed:
            self.found[keys[-1]] = replace(results[-1], verdict=Verdict.FAIL)

    @property
    def results(self) -> list[OwnResult]:
        """In order."""
        return [self.found[key] for key in sorted(self.found, key=own_order)]

    @property
    def environments(self) -> list[Environment]:
        """What they were timed on, without what is known of the code alone."""
        taken = [result.environment for result in self.results if result.environment]
        return [replace(each, dtype=None, weights=None) for each in taken]

    def times(self, revision: Callable[[], str | None]) -> dict[Path, Write]:
        """What records the times of all that did not fail, by file."""
        found: dict[File, dict[PointKey, tuple[TimedProcess, bool | None]]] = defaultdict(dict)
        for result in self.results:
            if result.measured is None or result.verdict.failed or result.key in self.clashes:
                continue
            assert result.environment is not None
            environment = replace(result.environment, git_revision=revision())
            attained = result.floor.attained if result.floor else None
            time = TimedProcess.of(result.measured, environment, attained)
            file = result.name, str(result.measured.gpu), result.stage
            found[file][self.key(result.key)] = time, AGREES.get(str(result.measured.gate.outcome))
        date, writes = history.now(), dict[Path, Write]()
        for (name, gpu, stage), points in found.items():
            own, folder = OwnSweep.of(self.sweep, name), timed.gpu_folder(gpu)
            writes[own.timed_file_of(stage, gpu)] = partial(
                timed.record, model=own.recorded_as, gpu=folder, stage=stage, found=points, date=date
            )
        return writes

    def key(self, key: OwnKey) -> PointKey:
        """What its times are found by."""
        work = self.sweep.settings.workload.on(key.grid or CropGrid(1, 1))
        return call_key(work) if key.stage == CALL else PointKey(work, str(key.attention))

    def unused(self) -> dict[File, set[PointKey]]:
        """The recorded times of this workload that no test of the run used, by file; `gpu` is a folder.

        Those of the host's CPU are never among them: their suites are files that a run names, or leaves out.
        """
        used: dict[tuple[str, str], set[PointKey]] = defaultdict(set)
        for key in self.found:
            used[key.name, key.stage].add(self.key(key))
        left: dict[File, set[PointKey]] = {}
        held = self.sweep.settings.workload.holds
        for name in timed.own_names(self.sweep.options.baselines, self.sweep.recorded_as):
            for (gpu, stage), times in OwnSweep.of(self.sweep, name).recorded_times.items():
                keys = {key for key, time in times.items() if held(key.work) and time.clock != CPU_TIME}
                if keys := keys - used[name, stage]:
                    left[name, gpu, stage] = keys
        return left

    def removals(self, unused: dict[File, set[PointKey]]) -> dict[Path, Write]:
        """What removes them, by file."""
        writes = dict[Path, Write]()
        for (name, gpu, stage), keys in unused.items():
            own = OwnSweep.of(self.sweep, name)
            file = timed.file_of(self.sweep.options.baselines, own.recorded_as, gpu, stage)
            writes[file] = partial(timed.remove, model=own.recorded_as, gpu=gpu, stage=stage, keys=keys)
        return writes
