"""What a process loads when it uses a part of the package, seen from outside."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


def python(code: str, cwd: Path) -> str:
    command = [sys.executable, "-c", code]
    return subprocess.run(command, cwd=cwd, check=True, capture_output=True, text=True).stdout


@pytest.mark.parametrize("module", ["pytest_ocrsweep", "pytest_ocrsweep.sweep.config"])
def test_importing_loads_no_hydra(module: str, tmp_path: Path) -> None:
    code = f"import sys, {module}; print({{'hydra', 'omegaconf', 'yaml'}} & sys.modules.keys())"
    assert python(code, tmp_path).strip() == "set()"


def test_choosing_files_loads_no_hydra_and_any_other_override_does(tmp_path: Path) -> None:
    code = (
        "import sys; from pytest_ocrsweep.sweep.config import compose; compose([{!r}]); print('hydra' in sys.modules)"
    )
    assert python(code.format("device=h100"), tmp_path) == "False\n"
    assert python(code.format("workload.batch=2"), tmp_path) == "True\n"


def test_the_package_and_a_ledger_need_no_numpy() -> None:
    code = (
        "import sys; sys.modules['numpy'] = None\n"
        "import pytest_ocrsweep as p; m = p.load_model(); m.ledger('decode', p.Workload(p.CropGrid(2, 3)))\n"
        "m.sweep('decode', rows=1, cols=1)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    last = done.stderr.splitlines()[-1]
    assert last == "ModuleNotFoundError: numpy is not installed: pip install 'pytest-ocrsweep[columns]'"


def test_yaml_and_sqlite_are_loaded_only_for_a_file(tmp_path: Path) -> None:
    code = "import sys; from pytest_ocrsweep.sweep.grid_sources import entries; "
    code += "from pytest_ocrsweep.sweep.made_for import SweptFor; entries('1x2', SweptFor('m', 'gundam', 10)); "
    code += "print({'yaml', 'sqlite3'} & sys.modules.keys())"
    assert python(code, tmp_path).strip() == "set()"
