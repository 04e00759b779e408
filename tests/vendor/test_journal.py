"""An update that is killed leaves what it timed to the next one, on a CPU with the tiny model."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal

import pytest

pytest.importorskip("torch", reason="the reference model needs the extra [vendor]")
pytest.importorskip("transformers", reason="the reference model needs the extra [vendor]")

import briefly
import forked
from measured import ONE_THREAD, SUITE

from pytest_ocrsweep.baselines import timed
from pytest_ocrsweep.baselines.metrics import analytic_names
from pytest_ocrsweep.files import atomic
from pytest_ocrsweep.sweep.journals import Journals
from pytest_ocrsweep.vendor_model import build

ON_CPU = [
    f"--ocrsweep-set={each}" for each in ("model=deepseek-ocr-tiny", "vendor.device=cpu", "workload.new_tokens=1")
]
ARGUMENTS = ["-p", "no:cacheprovider", "suites/test_decode.py", "-k", "flash", *ON_CPU]
assert build  # with all of torch that a run loads: pytester forgets what it imports, and torch cannot come twice
GRIDS = ["1x1", "1x2", "2x3"]
COUNTED = dict.fromkeys(analytic_names(), 7)
# The process that sees every report is killed when so many tests are done.
CONFTEST = """
import os, signal

left = int(os.environ.get("KILL_AFTER", 0))  # none in the test's own process

class Kill:
    def pytest_runtest_logfinish(self):
        global left
        left -= 1
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)

def pytest_configure(config):
    if left and not hasattr(config, "workerinput"):
        config.pluginmanager.register(Kill())
"""


def kill(project, *arguments: str, after: int) -> None:
    """A run in `project` that is killed when so many tests are done."""
    environment = {**ONE_THREAD, "KILL_AFTER": str(after)}
    code = forked.run(project, "-p", "no:benchmark", "-p", "briefly", *ARGUMENTS, *arguments, environment=environment)
    assert code == -signal.SIGKILL, (project / "printed.txt").read_text()


class Killed:
    """A project in which an update of three timed points is killed after some."""

    def __init__(self, project, pytester, once) -> None:
        self.path, self._pytester, self._once = project.path, pytester, once
        project.write("conftest.py", CONFTEST)
        self.folder = self.path / "baselines" / "deepseek-ocr-tiny" / "timed" / "cpu"
        self.recorded = self.folder / "decode.json"

    def kill(self, *arguments: str, after: int = 2) -> None:
        kill(self.path, "--ocrsweep-update", *arguments, after=after)

    def was_killed(self) -> None:
        """As after `kill()`, without its time."""
        shutil.copytree(self._once / "baselines", self.path / "baselines")

    def update(self, *arguments: str) -> pytest.RunResult:
        """The next update, in this process; it passes."""
        result = self._pytester.runpytest("-p", "no:benchmark", *ARGUMENTS, "--ocrsweep-update", *arguments)
        assert result.ret == 0
        return result

    @property
    def journals(self) -> list:
        return sorted(self.path.rglob(".*.ocrsweep-journal"))

    @property
    def journal(self):
        (path,) = self.journals
        return path

    @property
    def rows(self) -> dict[str, int]:
        """The journalled medians by grid."""
        rows = [json.loads(line) for line in self.journal.read_text().splitlines()[1:]]
        return {row["grid"]: row["vendor"]["device_ns"]["median"] for row in rows}

    @property
    def times(self) -> dict[str, list[int]]:
        """The recorded medians by grid."""
        points = json.loads(self.recorded.read_text())["points"]
        return {point["grid"]: [each["median_ns"] for each in point["processes"]] for point in points}

    @property
    def left(self) -> list[str]:
        """What no baseline is."""
        return [path.name for path in self.folder.iterdir() if path.suffix not in (".json", ".jsonl")]

    def change(self, **fields) -> None:
        """The first journalled point."""
        header, first, *rest = self.journal.read_text().splitlines()
        self.journal.write_text("\n".join([header, json.dumps({**json.loads(first), **fields}), *rest, ""]))


@pytest.fixture(scope="module")
def once(tmp_path_factory):
    """A project whose update was killed after two of three points."""
    folder = tmp_path_factory.mktemp("killed")
    (folder / "suites").mkdir()
    (folder / "suites" / "test_decode.py").write_text(SUITE.format(stage="decode"))
    (folder / "pytest.ini").write_text("[pytest]\naddopts = -p no:randomly\nocrsweep_grids = 1x1,1x2,2x3\n")
    (folder / "conftest.py").write_text(CONFTEST)
    kill(folder, "--ocrsweep-update", after=2)
    return folder


@pytest.fixture
def killed(project, pytester, once, alone, monkeypatch) -> Killed:
    briefly.shorten(monkeypatch.setattr)
    return Killed(project, pytester, once)


def lines(result: pytest.RunResult, part: str) -> list[str]:
    return [line for line in result.outlines if part in line]


TOOK_UP = "took up 2 timed points of a run that began 20"
WITHOUT = "times are not journalled from here on, and would be lost if this run were killed: "


@pytest.mark.parametrize(
    ("killed_way", "way"),
    [([], []), *(pytest.param(["-n2"], way, marks=pytest.mark.slow) for way in ([], ["-n2"]))],  # torch twice: 8 s
    ids=["plain", "killed with workers", "n2"],
)
def test_what_a_killed_update_timed_is_recorded_by_the_next_one(killed, killed_way, way):
    killed.kill(*killed_way)
    assert not killed.recorded.exists()
    journalled = killed.rows
    (missing,) = set(GRIDS) - journalled.keys()
    result = killed.update(f"--ocrsweep-grids={missing}", *way)
    (line,) = [*lines(result, TOOK_UP), *(line for line in result.errlines if TOOK_UP in line)]
    assert ".ocrsweep-journal" in line
    assert sorted(killed.times) == GRIDS
    assert {grid: killed.times[grid] for grid in journalled} == {grid: [ns] for grid, ns in journalled.items()}
    counted = json.loads((killed.folder.parents[1] / "decode.json").read_text())["points"]
    assert [point["grid"] for point in counted] == GRIDS
    assert killed.left == []


def test_what_a_run_times_itself_wins(killed):
    killed.was_killed()
    journalled = killed.rows
    killed.update()
    assert [len(each) for each in killed.times.values()] == [1, 1, 1]
    assert all(killed.times[grid] != [ns] for grid, ns in journalled.items())
    assert killed.left == []


def test_several_killed_updates_leave_all_that_they_timed(killed):
    for grid in ("1x1", "1x2"):
        killed.kill(f"--ocrsweep-grids={grid}", after=1)
    journalled = killed.rows
    assert sorted(journalled) == ["1x1", "1x2"]
    assert lines(killed.update("--ocrsweep-grids=2x3"), TOOK_UP)
    assert {grid: killed.times[grid] for grid in journalled} == {grid: [ns] for grid, ns in journalled.items()}


def test_times_of_a_run_that_was_another_are_left_to_it_in_a_line(killed):
    killed.was_killed()
    journal, before = killed.journal, killed.journal.read_bytes()
    result = killed.update("--ocrsweep-set=vendor.seed=1")
    (line,) = lines(result, "did not record them")
    assert line.startswith(f"{journal.relative_to(killed.path)} holds 2 timed points of a run that began 20")
    assert "it differs (weights random, seed 0 -> random, seed 1): update again as that run was, or delete" in line
    assert (killed.journal, killed.journal.read_bytes()) == (journal, before)
    assert killed.times.keys() == set(GRIDS)
    assert lines(killed.update("--ocrsweep-grids=2x3"), TOOK_UP)
    assert killed.left == []


def test_what_a_journal_says_of_itself_is_one_line(killed):
    killed.was_killed()
    header, *rows = killed.journal.read_text().splitlines()
    text = "x\n::error::forged \x1b[31m"
    killed.journal.write_text("\n".join([json.dumps({**json.loads(header), "begun": text}), *rows, ""]))
    result = killed.update()
    assert len(lines(result, "x\\n::error::forged \\x1b[31m")) == 1
    assert not [line for line in result.outlines if line.startswith("::error::forged")]


def test_a_torn_last_line_is_left_out_in_a_line(killed):
    killed.was_killed()
    journalled = killed.rows
    with killed.journal.open("a") as file:
        file.write('{"stage": "dec')
    (missing,) = set(GRIDS) - journalled.keys()
    result = killed.update(f"--ocrsweep-grids={missing}")
    assert len(lines(result, "its last line is torn and left out: that point must be timed again")) == 1
    assert len(lines(result, TOOK_UP)) == 1
    assert {grid: killed.times[grid] for grid in journalled} == {grid: [ns] for grid, ns in journalled.items()}


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"verdict": 7}, "verdict *"),
        ({"grid": "1x3"}, "its tokens are not those of *"),
        ({"analytic": COUNTED}, "its tensor_flops is 7, but * is counted"),
    ],
    ids=["garbage", "another workload's", "other numbers"],
)
def test_a_damaged_journal_is_left_as_it_is_in_a_line(killed, fields, why):
    killed.was_killed()
    killed.change(**fields)
    before = killed.journal.read_bytes()
    result = killed.update()
    result.stdout.fnmatch_lines([f"{WITHOUT}damaged journal *.ocrsweep-journal:2: {why}; delete it (rm *"])
    assert len(lines(result, WITHOUT)) == 1
    assert killed.journal.read_bytes() == before
    assert [len(each) for each in killed.times.values()] == [1, 1, 1]


def test_a_point_that_failed_is_not_taken_up(killed):
    killed.was_killed()
    first = next(iter(killed.rows))
    (missing,) = set(GRIDS) - killed.rows.keys()
    killed.change(verdict="FAIL")
    assert lines(killed.update(f"--ocrsweep-grids={missing}"), "took up 1 timed points")
    assert killed.times.keys() == set(GRIDS) - {first}


def test_a_second_run_goes_on_without_the_journal_that_another_one_writes(killed):
    killed.was_killed()
    before = killed.journal.read_bytes()
    with atomic.locked(killed.journal):
        result = killed.update()
    (line,) = lines(result, WITHOUT)
    assert "another run like this one writes baselines/deepseek-ocr-tiny/timed/cpu/." in line
    assert not lines(result, "took up")
    assert killed.journal.read_bytes() == before
    assert killed.times.keys() == set(GRIDS)


def test_a_living_run_that_is_another_is_not_spoken_of(killed):
    killed.was_killed()
    with atomic.locked(killed.journal):
        result = killed.update("--ocrsweep-set=vendor.seed=1")
    assert not lines(result, "did not record them")


def test_a_full_disk_is_one_line_and_the_run_goes_on(killed, monkeypatch):
    real = os.write

    def full(descriptor, content):
        if bytes(content).startswith(b'{"stage"'):
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(descriptor, content)

    monkeypatch.setattr(os, "write", full)
    result = killed.update()
    (line,) = lines(result, WITHOUT)
    assert line.endswith("No space left on device: free some space there")
    assert killed.times.keys() == set(GRIDS)
    assert killed.left == []


def test_what_could_not_be_recorded_stays_journalled(killed, monkeypatch):
    def refuse(path, **_):
        raise OSError(errno.EROFS, "Read-only file system", str(path))

    with monkeypatch.context() as patched:
        patched.setattr(timed, "record", refuse)
        result = killed._pytester.runpytest("-p", "no:benchmark", *ARGUMENTS, "--ocrsweep-update")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert lines(result, ".ocrsweep-journal keeps what was timed for the next update")
    journalled = killed.rows
    killed.update("--ocrsweep-grids=2x3")
    assert sorted(killed.times) == GRIDS
    assert all(killed.times[grid] == [journalled[grid]] for grid in ("1x1", "1x2"))


def test_what_was_recorded_before_the_journal_could_be_removed_is_not_recorded_twice(killed, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(Journals, "remove", Journals.close)
        killed.update()
    before = killed.times
    assert killed.rows == {grid: ns for grid, (ns,) in before.items()}
    killed.update("--ocrsweep-grids=2x3")
    assert {grid: killed.times[grid] for grid in ("1x1", "1x2")} == {grid: before[grid] for grid in ("1x1", "1x2")}
    assert killed.left == []


def test_a_time_that_agrees_with_what_another_run_recorded_meanwhile_joins_it(killed):
    killed.update("--ocrsweep-grids=1x1")
    (recorded,) = killed.times["1x1"]
    document = killed.recorded.read_text()
    killed.recorded.unlink()
    killed.kill("--ocrsweep-grids=1x1,1x2", after=1)
    row = json.loads(killed.journal.read_text().splitlines()[1])["vendor"]
    row["device_ns"] |= {"min": recorded, "q1": recorded, "median": recorded + 1, "q3": recorded + 1}
    killed.change(vendor=row)
    killed.recorded.write_text(document)
    killed.update("--ocrsweep-grids=2x3")
    assert killed.times["1x1"] == [recorded, recorded + 1]


@pytest.mark.parametrize(
    "arguments", [["--ocrsweep-update", "--ocrsweep-analytic-only"], []], ids=["counts only", "records nothing"]
)
def test_a_run_that_times_or_records_nothing_has_no_journal(killed, arguments):
    kill(killed.path, *arguments, after=2)
    assert killed.journals == []
