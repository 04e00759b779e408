"""A report of 6,000 points as a whole process, against the same points counted and not written."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from statistics import median

from claim import Claim, conclude, in_turns, spread

PAIRS = 3
COMMAND = (str(Path(sys.executable).parent / "ocrsweep"), "sweep", "--grids", "dense")


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        times = in_turns([*COMMAND, "--report", "report"], folder, [*COMMAND, "--json"], folder, PAIRS)
        page = (folder / "report" / "index.html").stat().st_size
    written, counted = zip(*times, strict=True)
    print(f"1,000 grids x 3 stages x 2 attentions, {PAIRS} pairs:")
    print(f"  with a report {spread(written)} s, as JSON {spread(counted)} s, ", end="")
    print(f"ratio {median(a / b for a, b in times):.2f}")
    conclude(Claim("writing the report", median(a - b for a, b in times), 10, "s"), Claim("page", page / 1e6, 5, "MB"))


if __name__ == "__main__":
    main()
