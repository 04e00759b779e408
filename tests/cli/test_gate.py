"""`ocrsweep gate --against`: base and head in turns, in repositories whose pytest is a script that makes up times."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from documents import clocked, document, own, point, vendor

from pytest_ocrsweep.cli import main

pytestmark = pytest.mark.skipif(os.name != "posix" or not shutil.which("git"), reason="needs git and POSIX signals")

# `python -m pytest` takes what lies in the folder that it runs in.
PYTEST = """
import json, os, pathlib, sys, time

option = dict(word.split("=", 1) for word in sys.argv if word.startswith("--ocrsweep-"))
here, told = pathlib.Path.cwd(), pathlib.Path(os.environ["TOLD"])
number = len(told.read_text().splitlines()) if told.exists() else 0
with told.open("a") as file:
    print(json.dumps([str(here), sys.argv[1:], os.environ.get("PYTHONPATH", "")]), file=file)
exec((here / "behave.py").read_text())
report = json.loads((here / "made.json").read_text())
for at, each in enumerate(report["points"]):
    clock = each["vendor"] and each["vendor"]["device_ns"]
    for name in clock or ():
        if name != "samples":
            clock[name] = round(clock[name] * (1 + 0.0005 * ((at + number) * 7 % 5 - 2)))
out = pathlib.Path(option["--ocrsweep-report"])
out.mkdir(parents=True)
(out / "sweep.json").write_text(json.dumps(report))
print("8 points")
"""
GRIDS = ("1x1", "1x2", "2x2", "2x3")


def timed(scale: Callable[[str, str], float] = lambda stage, grid: 1.0, **changed) -> list[dict[str, object]]:
    """Points of two stages; `scale` gets a stage and a grid."""
    return [
        point(stage, grid, vendor=vendor() | {"device_ns": clocked(round(2e7 * scale(stage, grid)))} | changed)
        for stage in ("prefill", "decode")
        for grid in GRIDS
    ]


class Repository:
    """A project at base, whose working tree a test changes."""

    def __init__(self, folder: Path) -> None:
        self.path, self.told = folder / "repo", folder / "told.txt"
        self.path.mkdir()
        self.git("init", "-q", "-b", "main")
        self.write("pytest.py", PYTEST)
        self.write("behave.py", "")
        self.make(timed())
        self.commit()

    def write(self, name: str, text: str) -> None:
        (self.path / name).write_text(text)

    def make(self, points: list[dict[str, object]]) -> None:
        self.write("made.json", json.dumps(document(*points)))

    def git(self, *words: str) -> str:
        command = ["git", "-c", "user.name=a", "-c", "user.email=a@b", *words]
        return subprocess.run(command, cwd=self.path, check=True, capture_output=True, text=True).stdout

    def commit(self) -> None:
        self.git("add", "-A")
        self.git("commit", "-qm", "it")

    @property
    def starts(self) -> list[tuple[str, list[str], str]]:
        return [tuple(json.loads(line)) for line in self.told.read_text().splitlines()]


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repository:
    made = Repository(tmp_path)
    monkeypatch.chdir(made.path)
    monkeypatch.setenv("TOLD", str(made.told))
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    yield made
    assert list((tmp_path / "tmp").iterdir()) == []
    assert len(made.git("worktree", "list").splitlines()) == 1
    assert not (made.path / ".git" / "worktrees").exists()
    assert not (made.path / ".git" / "ocrsweep-gates").exists()


def test_a_tree_like_the_revision_is_green_and_runs_in_balanced_turns(repository, capsys):
    assert main(["gate", "--against", "main"]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[-2].startswith("GREEN: none of 8 points is slower than main: changes ")
    assert max(map(len, out)) <= 80
    sides = ["head" if here == str(repository.path) else "base" for here, *_ in repository.starts]
    assert sides == ["base", "head", "head", "base", "base", "head"]


def test_a_slower_point_is_red_and_named_with_what_changed_beside_its_time(repository, capsys, tmp_path):
    points = timed(lambda stage, grid: 1.02 if (stage, grid) == ("decode", "2x2") else 1.0)
    points[6]["vendor"]["kernels"] += 9
    repository.make(points)
    files = ["--json", str(tmp_path / "all.json"), "--markdown", str(tmp_path / "short.md")]
    assert main(["gate", "--against", "main", *files]) == 1
    out = capsys.readouterr().out
    (row,) = [line for line in out.splitlines() if line.startswith("+")]
    assert row.endswith("decode 2x2 flash; kernels 2300 -> 2309")
    assert "RED: 1 of 8 points slower than main; 3 + 3 processes" in out
    assert ", with changes" in out
    judged = json.loads((tmp_path / "all.json").read_text())
    assert [p["grid"] for p in judged["points"] if p["outcome"] == "slower"] == ["2x2"]
    assert "| decode 2x2 flash | +" in (tmp_path / "short.md").read_text()


def test_a_stage_that_is_slower_as_a_whole_is_said_once_and_a_point_beyond_it_is_named(repository, capsys):
    repository.make(timed(lambda stage, grid: (1.02 if stage == "decode" else 1) * (1.03 if grid == "1x2" else 1)))
    assert main(["gate", "--against", "main", "--processes", "2"]) == 1
    out = capsys.readouterr().out
    assert "decode flash as a whole is +2" in out
    assert [line.split(None, 6)[-1] for line in out.splitlines() if line.startswith("+")] == [
        "decode 1x2 flash",
        "prefill 1x2 flash",
    ]


def test_each_side_runs_in_its_own_tree_with_its_own_package_and_no_recorded_numbers(repository, monkeypatch):
    for name in ("pytest_ocrsweep", "src", "suites"):
        (repository.path / name).mkdir()
        (repository.path / name / "__init__.py").touch()
    repository.commit()
    monkeypatch.setenv("PYTHONPATH", f"{repository.path / 'src'}:/elsewhere")
    words = ["--set", "workload.batch=2", "-k", "decode", "--processes", "2", "--", "--ocrsweep-grids=1x1"]
    assert main(["gate", "--against", "HEAD", *words]) == 0
    for here, given, path in repository.starts:
        assert path == f"{here}:{here}/src:/elsewhere"
        assert given[-5:] == ["suites", "--ocrsweep-grids=1x1", "--ocrsweep-set=workload.batch=2", "-k", "decode"]
        (baselines,) = [word for word in given if word.startswith("ocrsweep_baselines=")]
        assert not Path(baselines.partition("=")[2]).exists()


def test_the_users_tree_is_as_it_was(repository):
    repository.write("made.json", json.dumps(document(*timed())) + "\n")
    repository.write("untracked.txt", "mine")
    before = repository.git("status", "--porcelain")
    main(["gate", "--against", "main", "--processes", "2"])
    assert repository.git("status", "--porcelain") == before


def test_a_pair_whose_samples_were_refused_is_repeated(repository, capsys):
    refuse = "if number == 2:\n    report['points'][0]['vendor']['gate']['outcome'] = 'no acceptable sample'\n"
    repository.write("pytest.py", PYTEST.replace("out = ", f"{refuse}out = "))
    repository.commit()
    assert main(["gate", "--against", "HEAD", "--processes", "2"]) == 0
    assert len(repository.starts) == 6
    assert "1 without an acceptable sample" in capsys.readouterr().err


def test_a_budget_ends_the_pairs_after_two_and_is_said(repository, capsys):
    assert main(["gate", "--against", "main", "--budget", "0s", "--processes", "5"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert len(repository.starts) == 4
    assert "the budget was enough for 2 of 5 processes a side: margins are wider than with all" in out


def test_points_that_one_side_lacks_are_said_and_one_that_head_cannot_time_is_red(repository, capsys):
    points = timed()
    points[0]["vendor"] = None
    repository.make([*points[:3], *points[4:]])
    assert main(["gate", "--against", "main", "--processes", "2"]) == 1
    out = capsys.readouterr().out
    assert "1 point: base takes a time and head does not: prefill 1x1 flash" in out
    assert "1 point: only base has it: prefill 2x3 flash" in out
    assert "RED: 1 point without a time; 2 + 2 processes" in out


@pytest.mark.parametrize(
    ("behave", "why"),
    [
        ("sys.exit('no such thing')", "pytest wrote no report"),
        ("print('a', 'b', sep='\\n'); sys.exit(3)", "pytest ended with 3"),
        ("os.kill(os.getpid(), 9)", "pytest ended with -9"),
    ],
    ids=["no report", "internal error", "killed"],
)
def test_a_side_that_measures_nothing_is_a_line_and_the_end_of_its_output(repository, capsys, behave, why):
    repository.write("behave.py", behave)
    assert main(["gate", "--against", "main"]) == 4
    last = capsys.readouterr().err.splitlines()
    assert f"ocrsweep: head measures nothing: {why}; the end of its output:" in last
    assert "Traceback" not in "".join(last)


def test_a_machine_without_a_gpu_is_a_side_that_measures_nothing(repository, capsys):
    repository.make([point(stage, vendor=None) for stage in ("prefill", "decode")])
    repository.commit()
    assert main(["gate", "--against", "HEAD"]) == 4
    assert "base measures nothing: no point has a time; the end of its output:" in capsys.readouterr().err
    assert len(repository.starts) == 1


@pytest.mark.parametrize(
    ("points", "line"), [(timed(), "8 points in 0 s, 1 of"), ([point(vendor=None)], "no point has a time, 1 of")]
)
def test_times_of_the_users_own_code_are_said_to_be_left_out(repository, capsys, points, line):
    repository.write("made.json", json.dumps(document(*points) | {"own": [own()]}))
    repository.commit()
    assert main(["gate", "--against", "HEAD"]) == (0 if "8" in line else 4)
    assert f"{line} your own code left out" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (
            ["--against", "no-such"],
            "--against: this clone has no commit 'no-such'; `git branch --all` and `git tag` list what there is",
        ),
        (["--against", "main", "--processes", "1"], "--processes must be at least 2, got 1"),
        (
            ["--against", "main", "--", "--ocrsweep-update"],
            "gate: --ocrsweep-update does not go with --against: leave it out",
        ),
    ],
)
def test_what_cannot_be_compared_is_one_line(repository, capsys, words, line):
    assert main(["gate", *words]) == 4
    assert capsys.readouterr().err == f"ocrsweep: {line}\n"


@pytest.mark.parametrize(
    ("revision", "hint"),
    [
        ("topic", "fetch it first: git fetch origin topic"),
        ("origin/topic", "fetch it first: git fetch origin topic"),
        ("team/topic", "fetch it first: git fetch origin team/topic"),
        ("HEAD~1", "the clone is shallow: git fetch --unshallow origin"),
        ("HEAD~9", "the clone is shallow: git fetch --unshallow origin"),
    ],
)
def test_a_revision_that_a_shallow_clone_lacks_comes_with_a_command_that_fetches_it(
    repository, tmp_path, monkeypatch, capsys, revision, hint
):
    repository.write("more.txt", "only in the second commit")
    repository.commit()
    for branch in ("topic", "team/topic"):
        repository.git("branch", branch, "HEAD~1")
    clone = tmp_path / "clone"
    subprocess.run(
        ["git", "clone", "-q", "--depth=1", "--no-single-branch", f"file://{repository.path}", clone], check=True
    )
    subprocess.run(["git", "update-ref", "-d", "refs/remotes/origin/topic"], cwd=clone, check=True)
    monkeypatch.chdir(clone)
    assert main(["gate", "--against", revision]) == 4
    (line,) = capsys.readouterr().err.splitlines()
    assert line == f"ocrsweep: --against: this clone has no commit '{revision}'; {hint}"
    done = subprocess.run(hint.rpartition(": ")[2].split(), cwd=clone, capture_output=True)
    assert done.returncode == 0


def test_a_revision_before_the_first_commit_is_one_line(repository, tmp_path, monkeypatch, capsys):
    subprocess.run(["git", "clone", "-q", repository.path, tmp_path / "clone"], check=True)
    monkeypatch.chdir(tmp_path / "clone")
    assert main(["gate", "--against", "HEAD~9"]) == 4
    assert capsys.readouterr().err.endswith("no commit 'HEAD~9'; `git log` lists what there is\n")


@pytest.mark.parametrize(
    ("option", "file", "why"),
    [
        ("--json", "made.json/all.json", "nothing can be written in"),
        ("--markdown", ".", "it is not a regular file: name another one"),
        ("--json", "/dev/full", "it is not a regular file: name another one"),
    ],
)
def test_a_file_that_cannot_be_written_is_one_line_before_anything_is_timed(repository, capsys, option, file, why):
    assert main(["gate", "--against", "main", option, file]) == 4
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"ocrsweep: {file}: {why}")
    assert not repository.told.exists()


def test_a_wrong_argument_ends_with_pytests_code_for_usage(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["gate", "--against", "main", "--budget", "15"])
    assert stop.value.code == 4
    assert "must be a time such as 90s, 15m or 1h, got '15'" in capsys.readouterr().err


def test_outside_of_a_repository_it_is_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    monkeypatch.chdir(tmp_path)
    assert main(["gate", "--against", "main"]) == 4
    assert "is in no working tree of git: run it in your project's checkout" in capsys.readouterr().err


def test_another_workload_on_one_side_is_one_line(repository, capsys):
    other = document(*timed())
    other["workload"]["batch"] = 7
    repository.write("made.json", json.dumps(other))
    assert main(["gate", "--against", "main"]) == 4
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("ocrsweep")]
    assert line.endswith("give both the same with --set")


def test_a_partial_clone_without_the_revisions_files_is_one_line(repository, tmp_path, monkeypatch, capsys):
    repository.write("more.txt", "only in the second commit")
    repository.commit()
    repository.git("config", "uploadpack.allowFilter", "true")
    clone = tmp_path / "clone"
    subprocess.run(
        ["git", "clone", "-q", "--filter=blob:none", "--no-checkout", f"file://{repository.path}", clone], check=True
    )
    monkeypatch.chdir(clone)
    assert main(["gate", "--against", "HEAD"]) == 4
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith("the clone is partial; fetch the rest: git fetch --refetch --no-filter")
    assert not (clone / ".git" / "worktrees").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP], ids=lambda number: number.name)
def test_a_stopped_gate_leaves_no_worktree_and_no_process(repository, tmp_path, number):
    gate, pytests = started(repository, tmp_path)
    gate.send_signal(number)
    assert gate.wait(20) == 128 + number
    assert not runs(pytests)


@pytest.mark.skipif(sys.platform != "linux", reason="other kernels let the processes of a killed one live on")
def test_a_killed_gate_leaves_no_process_and_the_next_one_removes_its_worktree_and_says_so(
    repository, tmp_path, capsys
):
    gate, pytests = started(repository, tmp_path)
    gate.kill()
    gate.wait(20)
    wait_for(lambda: not runs(pytests))
    (folder,) = (tmp_path / "tmp").iterdir()
    repository.write("behave.py", "")
    assert main(["gate", "--against", "HEAD~1", "--processes", "2"]) == 0
    assert f"removed {folder}, which a killed `ocrsweep gate` left" in capsys.readouterr().err.splitlines()
    assert main(["gate", "--against", "HEAD~1", "--processes", "2"]) == 0
    assert "removed" not in capsys.readouterr().err


def test_a_gate_leaves_alone_what_another_one_that_runs_has(repository, tmp_path, capsys):
    gate, _ = started(repository, tmp_path)
    (folder,) = (tmp_path / "tmp").iterdir()
    repository.write("behave.py", "")
    assert main(["gate", "--against", "HEAD~1", "--processes", "2"]) == 0
    assert "removed" not in capsys.readouterr().err
    assert (folder / folder.name / "made.json").exists()
    gate.terminate()
    assert gate.wait(20) == 128 + signal.SIGTERM


def test_a_mark_that_is_none_of_ours_removes_nothing(repository, tmp_path, capsys):
    kept = tmp_path / "kept" / "ocrsweep-gate-x"
    kept.mkdir(parents=True)
    marks = repository.path / ".git" / "ocrsweep-gates"
    marks.mkdir()
    for name, content in (("ocrsweep-gate-x", str(kept)), ("kept", str(kept.parent)), ("ocrsweep-gate-y", "")):
        (marks / name).write_text(content)
    assert main(["gate", "--against", "HEAD", "--processes", "2"]) == 0
    assert "removed" not in capsys.readouterr().err
    assert kept.exists()


def started(repository: Repository, folder: Path) -> tuple[subprocess.Popen[bytes], int]:
    """A gate whose first pytest sleeps, and that pytest."""
    pid = folder / "pid"
    repository.write("behave.py", f"pathlib.Path({str(pid)!r}).write_text(str(os.getpid())); time.sleep(60)")
    repository.commit()
    code = "import sys; from pytest_ocrsweep.cli import main; sys.exit(main(sys.argv[1:]))"
    environment = {**os.environ, "TMPDIR": str(folder / "tmp"), "PYTHONPATH": str(Path(__file__).parents[2])}
    gate = subprocess.Popen(
        [sys.executable, "-c", code, "gate", "--against", "HEAD"], cwd=repository.path, env=environment
    )
    wait_for(lambda: pid.exists() and pid.read_text())
    return gate, int(pid.read_text())


def runs(pid: int) -> bool:
    """Whether a process runs; one that nobody waits for is dead all the same."""
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except ProcessLookupError:
        return False
    except FileNotFoundError:
        return sys.platform != "linux"


def wait_for(what: Callable[[], object]) -> None:
    end = time.monotonic() + 30
    while not what():
        assert time.monotonic() < end
        time.sleep(0.02)
