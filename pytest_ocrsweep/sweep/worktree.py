"""Another revision of the project in a temporary worktree of git's; the user's own tree is never touched."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from ..errors import ArgumentError
from ..files.text import printable, quoted
from .marks import left, marked
from .revision import GIT, QUIET
from .stopping import undisturbed

ASK_S, CHECKOUT_S = 30, 600
OPTION = "--against"
# No hook of the user's runs.
ADD = ("-c", "core.hooksPath=/dev/null", "-c", "advice.detachedHead=false", "worktree", "add", "--detach", "--quiet")


@dataclass(frozen=True, slots=True)
class Project:
    """Where a command runs: `here` is a folder of the working tree `top`, which is at the commit `head`."""

    here: Path
    top: Path
    head: str
    dirty: bool

    @classmethod
    def at(cls, here: Path) -> Project:
        """Raises ArgumentError where there is no repository with a commit."""
        here = Path(os.path.realpath(here))
        top = _answer(here, "rev-parse", "--show-toplevel")
        if not top:
            raise ArgumentError(f"{OPTION}: {here} is in no working tree of git:", "run it in your project's checkout")
        head = _answer(here, "rev-parse", "--verify", "HEAD")
        if not head:
            raise ArgumentError(f"{OPTION}: {top} has no commit yet:", "commit first")
        return cls(here, Path(os.path.realpath(top)), head, bool(_answer(here, "status", "--porcelain")))

    def commit(self, revision: str) -> str:
        """The commit that a revision names. Raises ArgumentError."""
        name = _answer(self.top, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
        if name:
            return name
        raise ArgumentError(f"{OPTION}: this clone has no commit {quoted(revision)};", self._fetching(revision))

    def _fetching(self, revision: str) -> str:
        """How to get what a revision names, in words; git fetches no `HEAD~1` and no `origin/main` by that name."""
        remotes = _answer(self.top, "remote").split()
        if not remotes:
            return "`git branch --all` and `git tag` list what there is"
        remote, _, name = revision.partition("/")
        remote, name = (remote, name) if name and remote in remotes else (remotes[0], revision)
        if not re.search(r"[~^@:\s]", revision):
            return f"fetch it first: git fetch {remote} {printable(name, 60)}"
        is_shallow = _answer(self.top, "rev-parse", "--is-shallow-repository") == "true"
        return (
            f"the clone is shallow: git fetch --unshallow {remote}" if is_shallow else "`git log` lists what there is"
        )

    @contextmanager
    def checked_out(self, commit: str, folder: Path) -> Iterator[Path]:
        """The folder `here` of that commit, in a worktree at `folder`, which goes at the end. Raises ArgumentError."""
        with marked(self._common, folder):
            try:
                done = _git(self.top, *ADD, str(folder), commit, timeout_s=CHECKOUT_S)
                if done.returncode:
                    raise self._refused(commit, done)
                root = folder / self.here.relative_to(self.top)
                if not root.is_dir():
                    raise ArgumentError(f"{OPTION}: {commit[:12]} has no folder {self.here.relative_to(self.top)}")
                yield root
            finally:
                with undisturbed():
                    self._remove(folder)

    def remove_leftovers(self) -> list[Path]:
        """Remove the worktrees, and the temporary folders around them, of gates that were killed; gives the folders."""
        with left(self._common) as worktrees:
            for worktree in worktrees:
                self._remove(worktree)
                shutil.rmtree(worktree.parent, ignore_errors=True)
            return [worktree.parent for worktree in worktrees]

    @property
    def _common(self) -> Path:
        """Git's folder, which all worktrees of the repository share."""
        return self.top / _answer(self.top, "rev-parse", "--git-common-dir")

    def _refused(self, commit: str, done: subprocess.CompletedProcess[str]) -> ArgumentError:
        complaints = [line for line in done.stderr.splitlines() if line.startswith(("fatal: ", "error: "))]
        why = printable((complaints or done.stderr.splitlines() or [f"exit code {done.returncode}"])[0])
        what = f"{OPTION}: {commit[:12]} cannot be checked out ({why})"
        if _answer(self.top, "config", "--get-regexp", r"^remote\..*\.(promisor|partialclonefilter)$"):
            return ArgumentError(f"{what}: the clone is partial;", "fetch the rest: git fetch --refetch --no-filter")
        return ArgumentError(f"{what};", "see that there is space, and that `git fsck` finds nothing")

    def _remove(self, folder: Path) -> None:
        """By hand, as a killed `git worktree add` leaves what `git worktree remove` does not know; `git worktree prune`
        would remove other people's.
        """
        shutil.rmtree(folder, ignore_errors=True)
        worktrees = self._common / "worktrees"
        shutil.rmtree(worktrees / folder.name, ignore_errors=True)
        with suppress(OSError):  # others are in it, or it is gone already
            worktrees.rmdir()


def _answer(folder: Path, *words: str) -> str:
    """What git prints; empty if it fails. Raises ArgumentError without git."""
    done = _git(folder, *words)
    return "" if done.returncode else done.stdout.strip()


def _git(folder: Path, *words: str, timeout_s: float = ASK_S) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            [*GIT, *words],
            cwd=folder,
            env={**os.environ, **QUIET},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=timeout_s,
        )
    except subprocess.TimeoutExpired:
        raise ArgumentError(f"{OPTION}: git {words[0]} did not answer within {timeout_s:g} s") from None
    except OSError as error:
        raise ArgumentError(f"{OPTION}: git cannot be started ({error.strerror});", "install it") from None
