"""What the plugin adds to a run of pytest that does not use it: at most 5 ms to import it, and 5 ms in all.

python dev/bench/startup.py

Two whole processes differ by more than that from run to run. So each part is timed where it can be seen: the import in
fresh processes, the load inside of pytest, which reads modules through its assertion rewriting, in others, and what the
hooks do in one process, by runs with and without the plugin in turns. A whole run adds the last two.
"""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
import tempfile
import time
from statistics import median

from claim import Claim, conclude

PROCESSES, PAIRS = 40, 60
IMPORTED = """
import pytest, time
start = time.process_time()
import pytest_ocrsweep.plugin
print(time.process_time() - start)
"""
OTHERS = [f"-pno:{name}" for name in ("cacheprovider", "randomly", "hydra_pytest", "anyio", "benchmark", "xdist")]
LOADED = f"""
import importlib.metadata, pytest, sys, time
load = importlib.metadata.EntryPoint.load
def timed(self):
    start = time.process_time()
    found = load(self)
    if self.name == "ocrsweep":
        print(time.process_time() - start, file=sys.stderr)
    return found
importlib.metadata.EntryPoint.load = timed
pytest.main(["-q", *{OTHERS!r}, "test_trivial.py"])
"""


def main() -> None:
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # without bytecode each run would compile the plugin
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        for name, text in (("pytest.ini", ""), ("test_trivial.py", "def test_it():\n    assert 1 + 1 == 2\n")):
            with open(name, "w") as file:
                file.write(text)
        imported, loaded = ([_printed(code) for _ in range(PROCESSES)] for code in (IMPORTED, LOADED))
        hooks = _pairs()
    print(f"the load {1e3 * median(loaded):.2f} ms, the hooks {1e3 * median(hooks):+.2f} ms")
    conclude(
        Claim("import pytest_ocrsweep.plugin, beyond pytest's own", 1e3 * median(imported), 5, "ms"),
        Claim("a run that does not use it", 1e3 * (median(loaded) + median(hooks)), 5, "ms"),
    )


def _printed(code: str) -> float:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return float((done.stderr if "stderr" in code else done.stdout).split()[0])


def _pairs() -> list[float]:
    for words in ([], ["-pno:ocrsweep"]):
        _run(words)  # what comes after has it all imported
    return [_run([]) - _run(["-pno:ocrsweep"]) for _ in range(PAIRS)]


def _run(words: list[str]) -> float:
    """CPU seconds of a run in this process."""
    import pytest

    sys.modules.pop("test_trivial", None)
    start = time.process_time()
    with contextlib.redirect_stdout(io.StringIO()):
        pytest.main(["-q", *OTHERS, *words, "test_trivial.py"])
    return time.process_time() - start


if __name__ == "__main__":
    main()
