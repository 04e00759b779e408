"""The git revision and user of a project: asked for in a limited time, never fetching, never at the cost of a run."""

from __future__ import annotations

import getpass
import os
import platform
import re
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from ..files.text import quoted

TIMEOUT_S = 10
MOST_BYTES = 100
COMMIT = re.compile("[0-9a-f]{40}|[0-9a-f]{64}")
# A clone without all objects would fetch them for a comparison: no protocol is allowed, and no program of a
# configuration runs.
GIT = ("git", "--no-pager", "-c", "protocol.allow=never", "-c", "core.fsmonitor=false")
QUIET = {"GIT_NO_LAZY_FETCH": "1", "GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}
DIFF = ("diff", "--quiet", "--no-ext-diff", "--no-textconv", "--no-renames", "HEAD", "--", ":/")
NONE_YET = ("not a git repository", "unknown revision", "ambiguous argument", "Needed a single revision")


class Revision(NamedTuple):
    """A commit, "-dirty" after it if tracked files differ from it; or None, and why if git should have known."""

    name: str | None
    unknown: str | None = None


def revision(rootdir: Path, ours: Path) -> Revision:
    """The commit of `rootdir`; changes below `ours` do not count, as an update makes them itself."""
    try:
        head = _git(rootdir, "rev-parse", "--verify", "HEAD")
        if head.returncode:
            known = any(text in _first(head) for text in NONE_YET)
            return Revision(None, None if known else _refused(rootdir, _first(head)))
        but = [f":(exclude){ours}"] if ours.is_relative_to(rootdir) else []
        changed = _git(rootdir, *DIFF, *but)
    except subprocess.TimeoutExpired:
        return Revision(None, _refused(rootdir, f"it did not answer within {TIMEOUT_S} s"))
    except OSError:
        return Revision(None)  # there is no git
    if changed.returncode not in (0, 1):
        return Revision(None, _refused(rootdir, _first(changed)))
    name = head.stdout[:MOST_BYTES].decode("ascii", "replace").strip()
    if not COMMIT.fullmatch(name):  # a wrapper in git's place may print anything
        return Revision(None, _refused(rootdir, f"{quoted(name)} is no commit"))
    return Revision(name + "-dirty" * changed.returncode)


def user(folder: Path) -> str:
    """Who works there: git's name, or the login and host."""
    with suppress(OSError, subprocess.TimeoutExpired):
        asked = _git(folder, "config", "user.name")
        if name := asked.stdout[:MOST_BYTES].decode("utf-8", "replace").strip():
            return name
    try:
        login = getpass.getuser()
    except (KeyError, ImportError, OSError):  # a container's user may have no name
        login = "unknown"
    return f"{login}@{platform.node()}"


def _git(folder: Path, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    command = [*GIT, *arguments]
    return subprocess.run(
        command, cwd=folder, env={**os.environ, **QUIET}, stdin=subprocess.DEVNULL, capture_output=True,
        timeout=TIMEOUT_S,
    )  # fmt: skip


def _first(done: subprocess.CompletedProcess[bytes]) -> str:
    """The first line of what git complains of; its bytes need not be UTF-8."""
    return next(iter(done.stderr.decode("utf-8", "replace").splitlines()), f"exit code {done.returncode}")


def _refused(rootdir: Path, why: str) -> str:
    return f"git gives no revision of {rootdir}, so null is recorded: {why}"
