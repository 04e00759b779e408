"""Imports go down the layers and never in a circle, and a heavy library loads only where its row of the table says so.

The table is LAYERS in tests/support/layers.py.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import layers
import pytest

MODULES = layers.modules()
LOADED_BY_EACH = """
import importlib, json, sys
loaded = {}
for name in sys.argv[1].split():
    before = set(sys.modules)
    importlib.import_module(name)
    loaded[name] = sorted(set(sys.argv[2].split()) & (set(sys.modules) - before))
print(json.dumps(loaded))
"""


def loaded_by_each(names: list[str], watched: list[str]) -> dict[str, list[str]]:
    """Which of the watched modules each import loads, in one fresh process; imports that load none are left out."""
    command = [sys.executable, "-c", LOADED_BY_EACH, " ".join(names), " ".join(watched)]
    found = json.loads(subprocess.check_output(command, text=True, cwd=layers.ROOT))
    return {name: loaded for name, loaded in found.items() if loaded}


def holds(broken: list[str]) -> None:
    if broken:
        pytest.fail("\n".join(broken), pytrace=False)


def test_every_module_has_a_row_in_the_table() -> None:
    holds(layers.without_a_row(MODULES))


def test_every_import_goes_to_a_smaller_layer_or_stays_in_its_package() -> None:
    holds(layers.upward(layers.imports(MODULES)))


def test_no_modules_import_each_other_in_a_circle() -> None:
    holds(layers.circles(layers.imports(MODULES)))


def test_a_heavy_library_is_imported_only_where_its_row_says_so() -> None:
    holds(layers.heavy(layers.imports(MODULES)))


ALLOWANCES = sorted({row.at_once for row in layers.LAYERS.values() if "torch" not in row.at_once}, key=sorted)


@pytest.mark.parametrize("allowed", ALLOWANCES, ids=lambda allowed: " ".join(sorted(allowed)) or "none")
def test_importing_a_module_loads_no_heavy_library_but_what_its_row_loads_at_once(allowed: frozenset[str]) -> None:
    """A process for the modules of one allowance: what another may load would count as loaded already."""
    names = [module.dotted for module in MODULES if layers.at_once(module) == allowed and module.path != "__main__"]
    assert loaded_by_each(names, sorted({*layers.HEAVY} - allowed)) == {}


def test_importing_the_plugin_loads_no_heavy_library_and_no_layer_of_the_model() -> None:
    """Every pytest run in the environment imports it."""
    watched = [*layers.HEAVY, f"{layers.PACKAGE}.model.stages", f"{layers.PACKAGE}.model.ledger"]
    watched.remove("pytest")
    assert loaded_by_each([f"{layers.PACKAGE}.plugin"], watched) == {}


# The rules find what they should


@pytest.fixture
def toy(tmp_path: Path):
    """Writes a package of these files and gives its imports."""

    def write(files: dict[str, str]) -> list[layers.Import]:
        for name, text in files.items():
            path = tmp_path / layers.PACKAGE / f"{name}.py"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return layers.imports(layers.modules(tmp_path))

    return write


@pytest.mark.parametrize(
    ("statement", "line"),
    [
        ("from ..sweep.check import x", 1),
        ("from ..sweep import check", 1),
        ("import pytest_ocrsweep.sweep.check", 1),
        ("from pytest_ocrsweep.sweep.check import x", 1),
        ("def late():\n    from ..sweep import check", 2),
        ("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from ..sweep import check", 3),
    ],
)
def test_an_import_upwards_is_found_wherever_it_stands(toy, statement: str, line: int) -> None:
    (said,) = layers.upward(toy({"model/ledger": statement, "sweep/check": "x = 1"}))
    assert said.startswith(f"pytest_ocrsweep/model/ledger.py:{line}: imports pytest_ocrsweep.sweep.check")
    assert "model is layer 1 and sweep is 5, but an import goes to a smaller number" in said


def test_packages_of_one_layer_do_not_import_each_other(toy) -> None:
    assert len(layers.upward(toy({"cli/a": "from ..plugin import b", "plugin/b": "from ..cli import a"}))) == 2


def test_an_import_down_or_within_a_package_is_none_of_them(toy) -> None:
    files = {"sweep/check": "from ..model import ledger\nfrom . import meter", "model/ledger": "", "sweep/meter": ""}
    assert layers.upward(toy(files)) == []


def test_a_circle_within_a_package_is_found_and_said_by_its_imports(toy) -> None:
    (said,) = layers.circles(
        toy({"sweep/a": "from .b import x", "sweep/b": "from . import c", "sweep/c": "def f():\n    from .a import y"})
    )
    assert "is a circle:" in said
    for each in ("sweep/a.py:1: imports", "sweep/b.py:1: imports", "sweep/c.py:2: imports"):
        assert f"    pytest_ocrsweep/{each}" in said


def test_a_package_and_its_module_can_be_a_circle_too(toy) -> None:
    assert (
        len(layers.circles(toy({"report/__init__": "from .html import page", "report/html": "from . import NAME"})))
        == 1
    )


def test_an_import_for_types_closes_no_circle(toy) -> None:
    typed = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from .b import B"
    assert layers.circles(toy({"sweep/a": typed, "sweep/b": "from .a import x"})) == []


def test_a_heavy_import_is_found_in_the_modules_that_may_not_have_it(toy) -> None:
    late = "def f():\n    import numpy.typing"
    found = layers.heavy(toy({"model/ledger": late, "model/bulk_plan": late, "hardware/plan": "from torch import nn"}))
    assert [said.partition(": ")[0] for said in found] == [
        "pytest_ocrsweep/hardware/plan.py:1",
        "pytest_ocrsweep/model/ledger.py:2",
    ]
