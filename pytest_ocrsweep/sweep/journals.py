"""Every time of an update is on the disk before the next is taken: a run that dies leaves them to the next one."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from ..baselines import journal
from ..baselines.journal import Header, Writer
from ..baselines.measurement import Environment
from ..baselines.metrics import analytic, exact_numbers
from ..baselines.result import PointResult
from ..errors import OcrsweepError
from ..files import atomic
from ..files.text import command
from ..model.geometry import CropGrid
from .alike import program
from .session import Sweep, describe


class TakenUp(NamedTuple):
    """A point that an earlier run timed and did not record."""

    point: PointResult
    environment: Environment


@dataclass
class _Held:
    """A journal that this process has locked."""

    writer: Writer
    lock: ExitStack


@dataclass
class Journals:
    """The journals of one update, one for each environment that points are timed in; usually that is one.

    Nothing here fails the run: without a journal it goes on as before, after a line that says so.
    """

    sweep: Sweep
    revision: Callable[[], str | None]
    taken_up: list[TakenUp] = field(default_factory=list)
    _held: dict[Header, _Held | None] = field(
        default_factory=dict, init=False
    )  # None for one that this run does without

    def append(self, point: PointResult, environment: Environment) -> None:
        """Journal a timed point; the first of an environment takes up what an earlier run left of it."""
        try:
            header = self._header(environment)
            if header not in self._held:
                self._held[header] = None
                self._say_others(header)
                self._held[header] = self._begin(header)
            if held := self._held[header]:
                held.writer.append(point)
        except OcrsweepError as error:
            self._say_without(str(error))
        except OSError as error:
            self._say_without(f"{error.strerror or error}: {atomic.remedy(error)}")
        except Exception as error:  # a bug here must not end a run
            self._say_without(f"{type(error).__name__}: {error}")

    def remove(self) -> None:
        """All that they hold is recorded. Raises OSError."""
        for held in filter(None, self._held.values()):
            held.writer.close()
            atomic.remove(held.writer.path)
        self.close()

    def close(self) -> None:
        """Leaves the files to the next run."""
        for held in filter(None, self._held.values()):
            held.writer.close()
            held.lock.close()
        self._held.clear()

    @property
    def paths(self) -> list[str]:
        """The files, as a person finds them."""
        return [self.sweep.options.shown(held.writer.path) for held in self._held.values() if held]

    def _begin(self, header: Header) -> _Held | None:
        path = self._folder(header) / header.name
        with ExitStack() as lock:
            try:
                lock.enter_context(atomic.locked(path, wait_s=0))
            except TimeoutError:
                self._say_without(f"another run like this one writes {self.sweep.options.shown(path)}")
                return None
            if not os.path.lexists(path):
                journal.begin(path, header)
            found = journal.read(path, self._check)
            if found.header != header:
                raise OcrsweepError(
                    f"{path}: its first line is of another run;", f"delete it ({command('rm', str(path))})"
                )
            self._take_up(path, found)
            return _Held(Writer(path, found.whole_bytes), lock.pop_all())

    def _take_up(self, path: Path, found: journal.Journal) -> None:
        shown, good = self.sweep.options.shown(path), [each for each in found.points if not each.verdict.failed]
        if found.torn:
            self.sweep.say(f"{shown}: its last line is torn and left out: that point must be timed again")
        if good:
            self.sweep.say(
                f"took up {len(good)} timed points of a run that began {found.header.begun} and did not record them; "
                f"this run records those that it does not time itself ({shown})"
            )
        for point in good:
            host = point.vendor.host if point.vendor else None
            self.taken_up.append(TakenUp(point, found.header.environment(host)))

    def _say_others(self, header: Header) -> None:
        """What runs left that were not like this one; a living run holds its journal's lock."""
        for path in sorted(self._folder(header).glob(f".*{journal.SUFFIX}")):
            if path.name != header.name:
                with suppress(OSError), atomic.locked(path, wait_s=0):
                    self._say_other(path, header)

    def _say_other(self, path: Path, header: Header) -> None:
        try:
            found = journal.read(path, check=lambda _: None)
        except OcrsweepError as error:
            self.sweep.say(str(error))
            return
        self.sweep.say(
            f"{self.sweep.options.shown(path)} holds {len(found.points)} timed points of a run that began "
            f"{found.header.begun} and did not record them; this run leaves them, because it differs "
            f"({found.header.differences(header)}): update again as that run was, or delete the file"
        )

    def _say_without(self, why: str) -> None:
        self.sweep.say(f"times are not journalled from here on, and would be lost if this run were killed: {why}")

    def _folder(self, header: Header) -> Path:
        """The folder of the GPU's recorded times."""
        return self.sweep.timed_file_of("decode", header.gpu).parent

    def _check(self, point: PointResult) -> None:
        """Raises ValueError for a point that is not of this run's workload."""
        work = self.sweep.settings.workload.on(point.grid)
        tokens = (work.image_tokens, work.context_tokens, work.new_tokens, work.batch)
        if tokens != (point.image_tokens, point.context_tokens, point.new_tokens, point.batch):
            raise ValueError(f"its tokens are not those of {describe(work)}")
        counted = analytic(self.sweep.model.ledger(point.stage, work, point.attention))
        for name, number in exact_numbers(work, counted).items():
            if (found := exact_numbers(point, point.analytic)[name]) != number:
                raise ValueError(f"its {name} is {found:,}, but {number:,} is counted")

    def _header(self, on: Environment) -> Header:
        architecture, workload, program = self._same
        return Header(
            journal.SCHEMA,
            self.sweep.model.recorded_as,
            architecture,
            workload,
            program,
            self.sweep.options.slowdown.percent,
            str(on.gpu),
            on.driver,
            on.torch,
            on.transformers,
            on.dtype,
            on.weights,
            self.revision(),
            datetime.now(UTC).isoformat(" ", "seconds"),
            on.engine_start,
        )

    @cached_property
    def _same(self) -> tuple[str, str, str]:
        """What is the same for every point of the run."""
        settings = self.sweep.settings
        architecture = sha256(repr(settings.model).encode()).hexdigest()[:12]
        return architecture, describe(settings.workload.on(CropGrid(1, 1))), program()[:12]
