"""Every speed claim in turn; leaves with 1 if one is missed. One alone: `python dev/bench/sweep.py`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SCRIPTS = ("startup", "ledger", "sweep", "columns", "counters", "suites", "report", "unused")


def main() -> None:
    here = Path(__file__).parent
    codes = [subprocess.run([sys.executable, here / f"{name}.py"]).returncode for name in SCRIPTS]
    sys.exit(any(codes))


if __name__ == "__main__":
    main()
