"""A run that merely has our plugin installed, against the same run without it: its time and its imports."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

from claim import Claim, conclude, in_turns, spread

PAIRS = 25
# Left out on both sides, or they would hide what is sought: they import Hydra and NumPy, start processes, take long.
OTHERS = ("hydra_pytest", "benchmark", "hypothesispytest", "anyio", "randomly")
WITH = [word for name in OTHERS for word in ("-p", f"no:{name}")]
WITHOUT = [*WITH, "-p", "no:ocrsweep"]
HEAVY = ("hydra", "omegaconf", "numpy", "torch", "yaml")
RUN = f"""import sys, pytest
code = pytest.main(["-q", *sys.argv[1:]])
print("loaded:", *(name for name in {HEAVY!r} if name in sys.modules))
sys.exit(code)
"""


def loaded(options: list[str], folder: Path) -> set[str]:
    """Which of the heavy modules a run with `options` imports."""
    command = [sys.executable, "-c", RUN, *options]
    out = subprocess.check_output(command, cwd=folder, text=True)
    return set(out.rpartition("loaded:")[2].split())


def main() -> None:
    pytest = [sys.executable, "-m", "pytest", "-q"]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "test_trivial.py").write_text("def test_trivial():\n    pass\n", encoding="utf-8")
        through_us = loaded(WITH, folder) - loaded(WITHOUT, folder)
        times = in_turns([*pytest, *WITH], folder, [*pytest, *WITHOUT], folder, PAIRS)
    a, b = zip(*times, strict=True)
    print(f"One trivial test with our plugin unused, and without it, in turns, {PAIRS} pairs:")
    print(f"  with {spread(a, 1e3)} ms, without {spread(b, 1e3)} ms")
    print(f"  of {', '.join(HEAVY)} imported through us: {', '.join(sorted(through_us)) or 'none'}")
    conclude(
        Claim("difference", 1e3 * median(x - y for x, y in times), 5, "ms"),
        Claim("heavy imports", len(through_us), 0, "modules"),
    )


if __name__ == "__main__":
    main()
