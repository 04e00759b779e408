"""Another revision in a temporary worktree: what git is asked, what it may not do, and what is left."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from pytest_ocrsweep.errors import ArgumentError
from pytest_ocrsweep.sweep import worktree
from pytest_ocrsweep.sweep.worktree import Project

pytestmark = pytest.mark.skipif(not shutil.which("git"), reason="needs git")


def git(folder: Path, *words: str) -> str:
    command = ["git", "-c", "user.name=a", "-c", "user.email=a@b", *words]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def top(tmp_path: Path) -> Path:
    """A repository of two commits; only the second one has the folder `part`."""
    folder = (tmp_path / "repo").resolve()
    folder.mkdir()
    git(folder, "init", "-q", "-b", "main")
    (folder / "file").write_text("first")
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "first")
    (folder / "part").mkdir()
    (folder / "part" / "file").write_text("second")
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "second")
    return folder


def worktrees(top: Path) -> list[str]:
    return git(top, "worktree", "list").splitlines()


def refused(error: pytest.ExceptionInfo[ArgumentError]) -> str:
    assert str(error.value).isprintable()
    return str(error.value)


def test_a_project_is_a_folder_of_a_working_tree_at_a_commit(top, tmp_path):
    (tmp_path / "link").symlink_to(top)
    found = Project.at(tmp_path / "link" / "part")
    assert found == Project(top / "part", top, git(top, "rev-parse", "HEAD"), dirty=False)
    (top / "new").touch()
    assert Project.at(top).dirty


def test_outside_of_a_repository_and_without_a_commit_it_is_a_line(tmp_path, monkeypatch):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.resolve().parent))
    with pytest.raises(ArgumentError) as error:
        Project.at(tmp_path)
    here = tmp_path.resolve()
    assert refused(error) == f"--against: {here} is in no working tree of git: run it in your project's checkout"
    git(tmp_path, "init", "-q")
    with pytest.raises(ArgumentError) as error:
        Project.at(tmp_path)
    assert refused(error) == f"--against: {here} has no commit yet: commit first"


def test_a_revision_is_any_name_of_a_commit(top):
    project, first = Project.at(top), git(top, "rev-parse", "HEAD~1")
    git(top, "tag", "-a", "-m", "it", "v1", first)
    assert [project.commit(name) for name in ("HEAD~1", "v1", first[:10])] == [first] * 3


@pytest.mark.parametrize("name", ["nothing", "HEAD:file", "--help", "a\x1b[31m" + "b" * 99])
def test_what_names_no_commit_is_a_line_with_what_to_do(top, name):
    with pytest.raises(ArgumentError) as error:
        Project.at(top).commit(name)
    line = refused(error)
    assert line.startswith("--against: this clone has no commit ")
    assert line.endswith("; `git branch --all` and `git tag` list what there is")
    assert len(line) < 250


def test_a_commit_is_checked_out_beside_the_users_tree_and_goes_at_the_end(top, tmp_path):
    (top / "file").write_text("changed")
    hook = top / ".git" / "hooks" / "post-checkout"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f"#!/bin/sh\ntouch {tmp_path / 'hooked'}\n")
    hook.chmod(0o755)
    project = Project.at(top / "part")
    with project.checked_out(project.head, tmp_path / "tree") as root:
        assert root == tmp_path / "tree" / "part"
        assert (root / "file").read_text() == "second"
        assert (tmp_path / "tree" / "file").read_text() == "first"
        assert len(worktrees(top)) == 2
        (root / "untracked").touch()
    assert not (tmp_path / "tree").exists()
    assert len(worktrees(top)) == 1
    assert not (top / ".git" / "worktrees").exists()
    assert not (tmp_path / "hooked").exists()
    assert (top / "file").read_text() == "changed"


def test_a_block_that_fails_leaves_no_tree_and_one_of_somebody_else_stays(top, tmp_path):
    git(top, "worktree", "add", "-q", "--detach", str(tmp_path / "theirs"))
    shutil.rmtree(tmp_path / "theirs")  # for a moment, as on a disk that is not mounted
    project = Project.at(top)
    with pytest.raises(RuntimeError), project.checked_out(project.head, tmp_path / "tree"):
        raise RuntimeError
    assert not (tmp_path / "tree").exists()
    assert [path.name for path in (top / ".git" / "worktrees").iterdir()] == ["theirs"]


def test_a_tree_that_was_locked_goes_too(top, tmp_path):
    project = Project.at(top)
    with project.checked_out(project.head, tmp_path / "tree"):
        git(top, "worktree", "lock", str(tmp_path / "tree"))
    assert len(worktrees(top)) == 1


def test_what_git_forgot_half_way_goes_too(top, tmp_path):
    project = Project.at(top)
    with project.checked_out(project.head, tmp_path / "tree"):
        (tmp_path / "tree" / ".git").unlink()  # as a killed `git worktree add` may leave it
    assert not (tmp_path / "tree").exists()
    assert not (top / ".git" / "worktrees").exists()


def test_a_commit_without_the_folder_is_a_line_and_leaves_no_tree(top, tmp_path):
    project, first = Project.at(top / "part"), git(top, "rev-parse", "HEAD~1")
    with pytest.raises(ArgumentError) as error, project.checked_out(first, tmp_path / "tree"):
        pass
    assert refused(error) == f"--against: {first[:12]} has no folder part"
    assert not (tmp_path / "tree").exists()


def test_a_commit_that_cannot_be_checked_out_is_a_line_with_gits_reason(top, tmp_path):
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "file").touch()
    project = Project.at(top)
    with pytest.raises(ArgumentError) as error, project.checked_out(project.head, tmp_path / "tree"):
        pass
    line = refused(error)
    assert line.startswith(f"--against: {project.head[:12]} cannot be checked out (fatal: '")
    assert line.endswith("already exists); see that there is space, and that `git fsck` finds nothing")


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("hint: no\nerror: it\x1b is full\nfatal: later", r"error: it\x1b is full"),
        ("hint: only\nmore", "hint: only"),
        ("", "exit code 7"),
    ],
)
def test_gits_reason_is_its_first_complaint(top, said, why):
    project = Project.at(top)
    done = subprocess.CompletedProcess([], 7, "", said)
    assert str(project._refused("0123456789abcdef", done)).startswith(
        f"--against: 0123456789ab cannot be checked out ({why}); see that"
    )
    git(top, "config", "remote.origin.promisor", "true")
    assert str(project._refused("0123456789abcdef", done)) == (
        f"--against: 0123456789ab cannot be checked out ({why}): the clone is partial; "
        "fetch the rest: git fetch --refetch --no-filter"
    )


def test_git_that_does_not_answer_or_is_not_there_is_a_line(top, monkeypatch):
    limits = []

    def run(command: list[str], *, timeout: float, **_: object) -> subprocess.CompletedProcess[str]:
        limits.append(timeout)
        raise subprocess.TimeoutExpired(command, timeout)

    project = Project.at(top)
    with monkeypatch.context() as patch:
        patch.setattr("subprocess.run", run)
        with pytest.raises(ArgumentError) as error:
            project.commit("main")
        assert refused(error) == "--against: git rev-parse did not answer within 30 s"
    assert limits == [worktree.ASK_S]
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(ArgumentError) as error:
        project.commit("main")
    assert refused(error) == "--against: git cannot be started (No such file or directory); install it"


def test_git_asks_nobody_and_reads_no_input(top, monkeypatch):
    given: dict[str, object] = {}
    real = subprocess.run

    def run(command: list[str], **named: object) -> subprocess.CompletedProcess[str]:
        given.update(named, command=command)
        return real(command, **named)

    monkeypatch.setattr("subprocess.run", run)
    assert worktree._answer(top, "rev-parse", "--show-toplevel") == str(top)
    assert (given["cwd"], given["stdin"], given["errors"], given["timeout"]) == (top, subprocess.DEVNULL, "replace", 30)
    assert given["command"] == [*worktree.GIT, "rev-parse", "--show-toplevel"]
    assert worktree.QUIET.items() <= given["env"].items()
    assert worktree._answer(top, "no-such-command") == ""
