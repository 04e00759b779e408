"""A test's folder is its tier: what stands in tests/unit starts no pytest and no process, and needs no torch."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

UNIT = Path(__file__).parents[1] / "unit"
MODULES = {"torch", "transformers", "subprocess", "multiprocessing", "_pytest"}
FIXTURES = {"pytester", "project", "recorded", "way", "checkout", "serve"}  # those of tests/conftest.py start pytest
MODULES_OF_OURS = ("pytest_ocrsweep.vendor_model", "pytest_ocrsweep.plugin")


def impurities(text: str) -> Iterator[tuple[int, str]]:
    """The line and name of each import and fixture that a pure test does not have."""
    for node in ast.walk(ast.parse(text)):
        for name in _imported(node):
            if name.split(".")[0] in MODULES or name.startswith(MODULES_OF_OURS):
                yield node.lineno, name
        if isinstance(node, ast.FunctionDef):
            yield from ((node.lineno, argument.arg) for argument in node.args.args if argument.arg in FIXTURES)


def _imported(node: ast.AST) -> list[str]:
    match node:
        case ast.Import(names=names):
            return [alias.name for alias in names]
        case ast.ImportFrom(module=str(module), names=names):
            return [f"{module}.{alias.name}" for alias in names]
        case ast.Call(func=function, args=[ast.Constant(value=str(name)), *_]):
            return [name] if ast.unparse(function).endswith(("importorskip", "import_module", "usefixtures")) else []
    return []


@pytest.mark.parametrize("path", sorted(UNIT.rglob("*.py")), ids=lambda path: path.name)
def test_a_unit_test_is_pure(path: Path) -> None:
    found = [f"{path.name}:{line}: {name}" for line, name in impurities(path.read_text(encoding="utf-8"))]
    assert found == [], "move it to tests/plugin, tests/vendor, tests/cli or tests/project"


@pytest.mark.parametrize(
    "text",
    [
        "import subprocess",
        "def test_it():\n    import torch.nn",
        "def test_it():\n    pytest.importorskip('transformers')",
        "def test_it(pytester): ...",
        "def test_it(recorded): ...",
        "from pytest_ocrsweep.vendor_model import timing",
    ],
)
def test_an_impure_test_is_found(text: str) -> None:
    assert len(list(impurities(text))) == 1
