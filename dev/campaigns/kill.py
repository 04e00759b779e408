"""Kills pytest at random moments of an update and of a report, and looks at what it leaves: old or new, never both.

Half of the moments are spread over the whole run. The other half are within the writing: from when the first file
beside another appears in the folder, for as long as an undisturbed run writes from there. Each time the folder starts
as it was before, and after the kill a later run must find it usable, finish it, and clean up.

    python dev/campaigns/kill.py --moments 200 --reports 100

`--in-place` has the files written where they stand, as a careless program would: the campaign must then fail.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tqdm import tqdm

from pytest_ocrsweep.errors import ReportError
from pytest_ocrsweep.files.atomic import DRAFT, LOCK
from pytest_ocrsweep.report import files, sqlite
from pytest_ocrsweep.report.load import JSON, SQLITE, load

ROOT = Path(__file__).parents[2]
SUITES = [ROOT / "suites" / f"test_{stage}.py" for stage in ("vision", "prefill", "decode")]
BEFORE, AFTER = "--ocrsweep-grids=1x1,1x2,2x1", "--ocrsweep-grids=vendor"
LOOK_S = 0.0002  # between two looks into the folder
IN_PLACE = """
from contextlib import contextmanager
from pytest_ocrsweep.files import atomic

@contextmanager
def in_place(path):
    with open(path, "wb") as file:
        yield file

atomic._draft = in_place
"""
Contents = dict[str, bytes]


@dataclass
class Campaign:
    """Runs with `options` that change `folder`, which is killed, looked at, and finished by `again`."""

    project: Path
    folder: Path
    options: tuple[str, ...]
    again: Callable[[Campaign], None]
    old: Contents = field(default_factory=dict)
    new: Contents = field(default_factory=dict)
    finished: Contents = field(default_factory=dict)  # `new`, as `again` writes it
    wrong: list[str] = field(default_factory=list)
    told: Counter[str] = field(default_factory=Counter)

    def start(self, *more: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "pytest", "suites", "-p", "no:cacheprovider", "-p", "no:benchmark", "-q"]
        command += ["--ocrsweep-analytic-only", *self.options, *more]
        return subprocess.Popen(command, cwd=self.project, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def run(self, *more: str) -> None:
        """Undisturbed."""
        if self.start(*more).wait():
            raise SystemExit(f"pytest failed without being killed: {self.options}")

    def reset(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        shutil.copytree(self.project / "before", self.folder)

    def prepare(self) -> tuple[float, float]:
        """Learn what is old and what is new; gives the seconds that a run takes, and that it writes for."""
        self.run(BEFORE)
        shutil.copytree(self.folder, self.project / "before", dirs_exist_ok=True)
        self.old = contents(self.folder)
        begun = time.perf_counter()
        process = self.start(AFTER)
        self.until_it_writes(process)
        writes = written = time.perf_counter()
        while process.poll() is None:
            if left_in(self.folder):
                written = time.perf_counter()
            time.sleep(LOOK_S)
        ended = time.perf_counter()
        self.new = contents(self.folder)
        self.again(self)
        self.finished = contents(self.folder)
        differ = [name for name in self.old.keys() | self.new.keys() if self.old.get(name) != self.new.get(name)]
        if not differ or process.returncode:
            raise SystemExit("the run changes nothing: nothing could be found wrong")
        return ended - begun, written - writes

    def until_it_writes(self, process: subprocess.Popen[bytes]) -> None:
        while process.poll() is None and not left_in(self.folder):
            time.sleep(LOOK_S)

    def moment(self, wait_s: float, of_writing: bool) -> None:
        """One kill, and all that is looked at after it."""
        self.reset()
        process = self.start(AFTER)
        if of_writing:
            self.until_it_writes(process)
        time.sleep(wait_s)
        process.kill()
        self.told["ended before the kill"] += process.wait() == 0
        self.look()
        left = left_in(self.folder)
        self.told["moments that left files"] += bool(left)
        self.told["files left"] += len(left)
        try:
            self.again(self)
        except (SystemExit, ReportError) as error:
            self.wrong.append(f"the next run: {error}")
        if contents(self.folder) != self.finished:
            self.wrong.append("after the next run: not what an undisturbed run writes")
        self.told["files left after the next run"] += len(left_in(self.folder))

    def look(self) -> None:
        """Every file is the old or the new one; the database can be read, and holds whole runs."""
        kinds = set()
        now = contents(self.folder)
        for name in self.old.keys() | self.new.keys():
            is_old, is_new = (now.get(name) == known.get(name) for known in (self.old, self.new))
            if is_old != is_new:
                kinds.add("old" if is_old else "new")
                self.told["files old" if is_old else "files new"] += 1
            elif not is_old:
                self.wrong.append(f"{name}: neither old nor new ({len(now.get(name, b''))} bytes)")
        if extra := now.keys() - self.old.keys() - self.new.keys():
            self.wrong.append(f"files that no run writes: {sorted(extra)}")
        self.told[
            "moments all old" if kinds == {"old"} else "moments all new" if kinds == {"new"} else "moments between"
        ] += 1
        database = self.folder / SQLITE
        if database.exists():
            try:
                runs = [sqlite.read(database, run) for run in sqlite.runs(database)]
                self.told[f"databases of {len(runs)} whole runs"] += 1
            except ReportError as error:
                self.wrong.append(str(error))


def contents(folder: Path) -> Contents:
    """All files but the database, which a date and SQLite's own pages make another each time."""
    paths = [path for path in folder.rglob("*") if path.is_file() and not path.name.startswith((SQLITE, "."))]
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def left_in(folder: Path) -> list[str]:
    """What writers keep beside their files."""
    return [name for _, _, names in os.walk(folder) for name in names if name.endswith((DRAFT, LOCK))]


def report_again(campaign: Campaign) -> None:
    """The report that an undisturbed run wrote, by its own code without pytest's start."""
    document = campaign.project / JSON
    if not document.exists():
        shutil.copy(campaign.folder / JSON, document)
    files.write(load(document), campaign.folder)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--moments", type=int, default=200, help="kills of --ocrsweep-update")
    parser.add_argument("--reports", type=int, default=100, help="kills of --ocrsweep-report")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--in-place", action="store_true", help="write files where they stand: must fail")
    options = parser.parse_args()
    chance, failed = random.Random(options.seed), False
    kinds = [
        ("update", options.moments, "baselines/deepseek-ocr", ("--ocrsweep-update",), lambda c: c.run(AFTER)),
        ("report", options.reports, "out", ("--ocrsweep-report=out",), report_again),
    ]
    for kind, moments, folder, given, again in kinds:
        if not moments:
            continue
        with tempfile.TemporaryDirectory() as made:
            project = Path(made)
            (project / "suites").mkdir()
            for suite in SUITES:
                shutil.copy(suite, project / "suites")
            (project / "pytest.ini").write_text("[pytest]\n")
            campaign = Campaign(project, project / folder, given, again)
            takes_s, writes_s = campaign.prepare()
            if options.in_place:
                (project / "conftest.py").write_text(IN_PLACE)
            for number in tqdm(range(moments), desc=kind, unit="kill"):
                of_writing = bool(number % 2)
                campaign.moment(chance.uniform(0, writes_s if of_writing else takes_s), of_writing)
            print(
                f"{kind}: {moments} kills, half of them within {takes_s:.2f} s, half within {writes_s:.3f} s of writing"
            )
            for name in sorted(campaign.told):
                print(f"  {name}: {campaign.told[name]}")
            for wrong, times in Counter(campaign.wrong).most_common():
                print(f"  WRONG, {times} times: {wrong}")
            failed |= bool(campaign.wrong or campaign.told["files left after the next run"])
    print("verdict:", "FAILS" if failed else "holds: old or new at every moment, and the next run is as undisturbed")
    return failed


if __name__ == "__main__":
    sys.exit(main())
