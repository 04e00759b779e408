"""Checks a release before it is one: `python dev/release/check.py` builds DIST, looks into it and runs the wheel.

The wheel must hold each file of the package that git tracks, and nothing else; it must run in an environment that has
nothing but what it asks for.
"""

from __future__ import annotations

import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
DIST = ROOT / "dist"
PACKAGE = "pytest_ocrsweep/"
LARGEST_BYTES = 20_000_000
PAGES = ("README.md", "LICENSE", "pyproject.toml")  # of an sdist, beside the package

USER_TEST = """\
def test_a_page_costs_something(ocrsweep_model):
    from pytest_ocrsweep import CropGrid, Workload
    assert ocrsweep_model.ledger("decode", Workload(CropGrid(2, 3))).total().tensor_flops > 10**11
"""


def run(*words: object, folder: Path = ROOT) -> str:
    print("$", *words, flush=True)
    done = subprocess.run([str(word) for word in words], cwd=folder, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        sys.exit(f"{done.stdout}\nrelease check: `{' '.join(map(str, words))}` failed with {done.returncode}")
    return done.stdout


def built() -> tuple[Path, Path]:
    """A new sdist, and the wheel that is built from it."""
    for old in DIST.glob("*"):
        old.unlink()
    run(sys.executable, "-m", "build", "--outdir", DIST)
    (wheel,), (sdist,) = DIST.glob("*.whl"), DIST.glob("*.tar.gz")
    return wheel, sdist


def problems(wheel: Path, sdist: Path) -> list[str]:
    """What is missing in them, or too much."""
    tracked = set(run("git", "ls-files", PACKAGE).splitlines())
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if not name.endswith("/")}
    with tarfile.open(sdist) as archive:
        source = {name.partition("/")[2] for name in archive.getnames()}
    metadata = {name for name in packed if name.partition("/")[0].endswith(".dist-info")}
    return [
        *(f"not in the wheel: {name}" for name in sorted(tracked - packed)),
        *(f"in the wheel, but not tracked: {name}" for name in sorted(packed - metadata - tracked)),
        *(f"not in the sdist: {name}" for name in sorted((tracked | set(PAGES)) - source)),
        *(f"larger than {LARGEST_BYTES:,} bytes: {file.name}" for file in (wheel, sdist) if _large(file)),
    ]


def _large(file: Path) -> bool:
    return file.stat().st_size > LARGEST_BYTES


def used(wheel: Path, folder: Path) -> None:
    """Installs the wheel into an empty environment and runs both of its commands in an empty folder."""
    run(sys.executable, "-m", "venv", folder / "venv")
    binaries = folder / "venv/bin"
    run(binaries / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", wheel)
    project = folder / "project"
    project.mkdir()
    print(run(binaries / "ocrsweep", "cost", "2x3", "--stage", "decode", "--depth", "0", folder=project))
    (project / "test_page.py").write_text(USER_TEST, encoding="utf-8")
    print(run(binaries / "pytest", "-q", folder=project))


def main() -> int:
    wheel, sdist = built()
    run(sys.executable, "-m", "twine", "check", "--strict", wheel, sdist)
    if wrong := problems(wheel, sdist):
        sys.exit("\n".join(["release check:", *wrong]))
    with tempfile.TemporaryDirectory() as folder:
        used(wheel, Path(folder))
    print(f"release check: {wheel.name} ({wheel.stat().st_size:,} bytes) and {sdist.name} are whole, and run")
    return 0


if __name__ == "__main__":
    sys.exit(main())
