"""The wheel is whole: what it holds, and what a user has of it in an empty folder."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
import venv
import zipfile
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MAPPED = {"pytest_ocrsweep.recorded": "baselines", "pytest_ocrsweep.suites": "suites"}
NEEDED = ("pytest", "hydra", "xdist", "numpy", "pytest_benchmark")


def test_every_package_is_in_the_list_of_what_is_installed() -> None:
    setuptools = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
    folders = [path.parent.relative_to(ROOT) for path in (ROOT / "pytest_ocrsweep").rglob("__init__.py")]
    assert sorted(setuptools["packages"]) == sorted([*(".".join(each.parts) for each in folders), *MAPPED])
    assert setuptools["package-dir"] == {"pytest_ocrsweep": "pytest_ocrsweep", **MAPPED}


def tried(command: list[str], folder: Path) -> str:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST_", "PYTHONPATH", "CI", "GITHUB_"))}
    done = subprocess.run(command, cwd=folder, env=kept, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    words = ["-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder)]
    if find_spec("setuptools") and int(version("setuptools").split(".")[0]) >= 77:
        words.append("--no-build-isolation")
    tried([sys.executable, *words, str(ROOT)], folder)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of an environment with the wheel, which borrows its dependencies from this one."""
    folder = tmp_path_factory.mktemp("installed")
    venv.create(folder, with_pip=True)
    (site,) = folder.glob("lib/python*/site-packages")
    specs = [spec for name in NEEDED if (spec := find_spec(name)) and spec.origin]
    borrowed = {str(Path(str(spec.origin)).parents[1]) for spec in specs}
    (site / "borrowed.pth").write_text("\n".join(borrowed))
    tried([str(folder / "bin/python"), "-m", "pip", "install", "--quiet", "--no-deps", str(wheel)], folder)
    return folder / "bin"


@pytest.mark.slow
def test_the_wheel_holds_each_suite_and_each_baseline(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    for package, folder in MAPPED.items():
        tracked = tried(["git", "ls-files", folder], ROOT).splitlines()
        assert tracked
        assert {f"{package.replace('.', '/')}{name.removeprefix(folder)}" for name in tracked} <= names


@pytest.mark.slow
def test_three_commands_lead_from_an_empty_folder_to_a_green_gate(installed: Path, tmp_path: Path) -> None:
    """`pip install` is the first, in the fixture; no file is edited."""
    assert "8 files written; next: pytest" in tried([str(installed / "ocrsweep"), "init"], tmp_path)
    said = tried([str(installed / "python"), "-m", "pytest", "-p", "no:randomly"], tmp_path)
    assert "138 passed" in said
    assert "\nbaselines: baselines\n" in said


@pytest.mark.slow
def test_the_packages_suites_pass_in_an_empty_folder(installed: Path, tmp_path: Path) -> None:
    words = ["-m", "pytest", "-p", "no:randomly", "--pyargs", "pytest_ocrsweep.suites", "-k", "decode"]
    said = tried([str(installed / "python"), *words], tmp_path)
    assert "46 passed" in said
    assert "\nbaselines: those of pytest-ocrsweep, which are only read; to begin your own in baselines: " in said
    assert not (tmp_path / "baselines").exists()
    where = tried([str(installed / "python"), "-c", "import pytest_ocrsweep as it; print(it.__file__)"], tmp_path)
    assert Path(where).is_relative_to(installed.parent)
