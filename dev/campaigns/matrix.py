"""The tests on each supported Python with the oldest and the newest libraries that pyproject.toml admits.

    python dev/campaigns/matrix.py                    all tests and suites, in six environments
    python dev/campaigns/matrix.py --quick            those tests that lean on the libraries, and the sweeps
    python dev/campaigns/matrix.py --vendor 3.11 --torch torch==2.13.0    on that Python the vendor's model too

uv finds the Pythons and makes each environment anew. The oldest libraries are pyproject.toml's own bounds, or the first
release after them with a wheel for that Python. Tests run in random order. Prints a line an environment: what was
installed and the seed that repeats the order. What failed comes below it, and the exit code is 1 then.

Torch is gigabytes: without `--vendor` the tests that need it are skipped. Where uv shall look for a build without CUDA,
its own settings say (UV_INDEX, UV_FIND_LINKS). `make matrix` installs uv.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from subprocess import DEVNULL, PIPE, STDOUT
from tempfile import TemporaryDirectory

ROOT = Path(__file__).parents[2]
UV = (sys.executable, "-m", "uv")
PYTHONS = ("3.11", "3.12", "3.13")
RESOLUTIONS = {"oldest": "lowest-direct", "newest": "highest"}
# Wheels, as users get them, so no compiler is asked for; Hydra's parser never had one.
WHEELS = ("--only-binary", ":all:", "--no-binary", "antlr4-python3-runtime")
ALL = ("tests", "suites")
QUICK = (
    *("tests/plugin/test_benchmark.py", "tests/plugin/test_gpu_lock.py", "tests/plugin/test_plugin.py"),
    *("tests/plugin/test_baselines.py", "tests/report/test_files.py", "tests/unit/test_bulk.py"),
    *("tests/unit/test_config.py", "tests/unit/test_image_size.py", "tests/unit/test_grid_sources.py"),
    *("tests/vendor/test_meter.py", "suites/test_vision.py", "suites/test_prefill.py", "suites/test_decode.py"),
    "--ocrsweep-analytic-only",
    *("-m", "not (slow or long)", "-k", "not n2 or update_records or printed_once"),
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", nargs="+", default=PYTHONS, metavar="VERSION", help="default: all that we support")
    parser.add_argument("--versions", nargs="+", choices=RESOLUTIONS, default=tuple(RESOLUTIONS), help="default: both")
    parser.add_argument("--vendor", nargs="+", default=(), metavar="VERSION", help="the Pythons that get torch too")
    parser.add_argument("--torch", default="torch", metavar="REQUIREMENT", help="default: as --versions says")
    parser.add_argument("--quick", action="store_true", help="only what leans on the libraries")
    parser.add_argument("--workers", default="auto", help="of pytest-xdist (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6), help="of the order (default: a new one)")
    options = parser.parse_args()

    print(_row("python", "versions", {name: name for name in _needs()}, f"tests, seed {options.seed}"), flush=True)
    passed = [_passes(python, versions, options) for python in options.python for versions in options.versions]
    return 0 if all(passed) else 1


def _needs() -> list[str]:
    """The libraries whose releases matter, by name."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    needs = [*project["dependencies"], *project["optional-dependencies"]["vendor"]]
    return [re.split(r"[^\w-]", need)[0] for need in needs]


def _passes(python: str, versions: str, options: argparse.Namespace) -> bool:
    """Whether all tests do in a new environment, whose line is printed."""
    wanted = [f"--resolution={RESOLUTIONS[versions]}", "--compile-bytecode", *WHEELS]
    wanted += ["--editable=.[columns,report,dev]"]
    if python in options.vendor:
        wanted += ["--editable=.[vendor]", options.torch]
    tests = ["-n", options.workers, f"--randomly-seed={options.seed}"]
    tests += QUICK if options.quick else ALL
    with TemporaryDirectory() as venv:
        for command in (["venv", "--clear", "--python", python, venv], ["pip", "install", "--python", venv, *wanted]):
            if (done := _run(*UV, *command)).returncode:
                print(_row(python, versions, {}, f"no environment\n{done.stdout}"), flush=True)
                return False
        listed = json.loads(_run(*UV, "pip", "list", "--quiet", "--python", venv, "--format", "json").stdout)
        done = _run(f"{venv}/bin/python", "-m", "pytest", "-q", *tests)
    installed = {package["name"]: package["version"] for package in listed}
    *above, last = done.stdout.splitlines() or [""]
    counts = re.findall(r"\d+ (?:passed|failed|skipped|errors?)", last)
    print(_row(python, versions, installed, ", ".join(counts) or last), flush=True)
    if done.returncode:
        print(*above, sep="\n", flush=True)
    return done.returncode == 0


def _row(python: str, versions: str, releases: Mapping[str, str], outcome: str) -> str:
    cells = [releases.get(name, "-").ljust(max(len(name), 8)) for name in _needs()]
    return "  ".join([python.ljust(6), versions.ljust(8), *cells, outcome])


def _run(*command: str) -> subprocess.CompletedProcess[str]:
    """With all that it says in one stream."""
    return subprocess.run(command, cwd=ROOT, stdout=PIPE, stderr=STDOUT, stdin=DEVNULL, text=True, check=False)


if __name__ == "__main__":
    sys.exit(main())
