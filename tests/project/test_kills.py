"""A short campaign of kills; `make kill` has a longer one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

KILL = Path(__file__).parents[2] / "dev" / "campaigns" / "kill.py"
pytestmark = pytest.mark.slow


def campaign(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, str(KILL), *arguments], capture_output=True, text=True, timeout=600)


@pytest.mark.parametrize(
    "kills", [("--moments=5", "--reports=0"), ("--moments=0", "--reports=3")], ids=["update", "report"]
)
def test_a_run_that_is_killed_leaves_old_files_or_new_and_the_next_run_is_undisturbed(kills: tuple[str, ...]) -> None:
    done = campaign(*kills)
    assert "WRONG" not in done.stdout
    assert done.stdout.endswith("verdict: holds: old or new at every moment, and the next run is as undisturbed\n"), (
        done.stderr
    )
    assert done.returncode == 0
