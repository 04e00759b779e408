"""A short campaign of failing system calls and of power cuts; `make faults` has a longer one."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

FAULTS = Path(__file__).parents[2] / "dev" / "campaigns" / "faults.py"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux" or shutil.which("gcc") is None, reason="needs Linux and gcc"),
]


def campaign(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(FAULTS), "--every", "50", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=600)


@pytest.mark.parametrize("name", ["update", "first-report", "shapes", "first-parquet"])
def test_a_system_call_that_fails_and_a_power_cut_leave_old_files_or_new_and_one_line(name: str) -> None:
    done = campaign("--only", name)
    assert "WRONG" not in done.stdout
    assert done.stdout.endswith("verdict: holds: old or new, one line, and the next run is undisturbed\n"), done.stderr
    assert done.returncode == 0


def test_a_writer_that_does_not_sync_is_found_out() -> None:
    done = campaign("--only", "shapes", "--careless")
    assert "WRONG" in done.stdout
    assert "names without content: below/shapes.sqlite is neither old nor new" in done.stdout
    assert done.returncode == 1
