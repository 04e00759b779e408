"""The git revision of a project: a commit, or null and why, whatever stands in git's place."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from pytest_ocrsweep.sweep import revision as module
from pytest_ocrsweep.sweep.revision import Revision, revision

pytestmark = pytest.mark.skipif(os.name != "posix", reason="git's stand-in is a shell script")


@pytest.fixture
def git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Puts a shell script in git's place."""
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")

    def put(script: str) -> None:
        (tmp_path / "bin").mkdir()
        (tmp_path / "bin" / "git").write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / "bin" / "git").chmod(0o755)

    return put


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("echo main", "'main' is no commit"),
        ("printf 'a\\033[31mb\\n::error::x'", r"'a\x1b[31mb\n::error::x' is no commit"),
        ("yes | head -c 5000000", " is no commit"),
        ("printf 'fatal: caf\\351\\nmore' >&2; exit 128", "fatal: caf\ufffd"),
        ("exit 7", "exit code 7"),
        ("kill -9 $$", "exit code -9"),
    ],
    ids=["a word", "escapes", "megabytes", "bytes that are not UTF-8", "silence", "killed"],
)
def test_what_is_no_commit_is_null_and_a_line(git, tmp_path: Path, script: str, why: str) -> None:
    git(script)
    found = revision(tmp_path, tmp_path / "baselines")
    assert found.name is None
    assert found.unknown is not None
    assert found.unknown.startswith(f"git gives no revision of {tmp_path}, so null is recorded: ")
    assert found.unknown.endswith(why)
    assert len(found.unknown) < len(str(tmp_path)) + 200


def test_a_git_that_does_not_answer_is_waited_for_no_longer_than_the_limit(git, tmp_path: Path, monkeypatch) -> None:
    git("exec sleep 60")
    monkeypatch.setattr(module, "TIMEOUT_S", 0.2)
    assert revision(tmp_path, tmp_path).unknown.endswith("it did not answer within 0.2 s")


@pytest.mark.skipif(not shutil.which("git"), reason="there is no git")
def test_a_project_without_a_commit_is_null_without_a_line(tmp_path: Path) -> None:
    assert revision(tmp_path, tmp_path) == Revision(None)
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    assert revision(tmp_path, tmp_path) == Revision(None)
