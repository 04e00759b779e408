"""What is true of the project as a whole: who imports what, how its files look, that its pages tell the truth."""

from __future__ import annotations

import ast
import doctest
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import dram_table as dram
import pytest

from pytest_ocrsweep.plugin import options

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "pytest_ocrsweep"
PAGES = ["README.md", "CONTRIBUTING.md"]
FOLDERS = ["pytest_ocrsweep", "suites", "tests", "dev", "docs", ".ci"]
LINES = 300

HEAVY = ["hydra", "omegaconf", "numpy", "torch", "transformers", "yaml"]
IMPURE = {  # each may import at once what its purpose needs; every other module is pure
    "arguments": "pytest",
    "benchmarks": "pytest",
    "columns": "numpy",
    "hosts": "pytest",
    "lost": "pytest",
    "options": "pytest",
    "plugin": "pytest",
    "schedule": "pytest",
    "sweep_file": "yaml",
    "vectors": "numpy",
    "vendor": "torch",
}
LOADED_BY_EACH = """
import importlib, json, sys
found = {}
for name in sys.argv[1].split():
    before = set(sys.modules)
    importlib.import_module(name)
    found[name] = sorted(set(sys.argv[2].split()) & (set(sys.modules) - before))
print(json.dumps(found))
"""


def loaded_by_each(modules: list[str], watched: list[str]) -> dict[str, list[str]]:
    """Which of the watched modules each import loads, in one fresh process; modules that load none are left out."""
    command = [sys.executable, "-c", LOADED_BY_EACH, " ".join(modules), " ".join(watched)]
    found = json.loads(subprocess.check_output(command, text=True, cwd=ROOT))
    return {name: loaded for name, loaded in found.items() if loaded}


def pure_modules() -> Iterator[str]:
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        if parts[0] not in IMPURE:
            yield ".".join(["pytest_ocrsweep", *(part for part in parts if part != "__init__")])


def files(pattern: str) -> list[Path]:
    return sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob(pattern) if path.is_file())


def test_the_pure_modules_load_nothing_heavy_and_no_pytest() -> None:
    assert loaded_by_each(list(pure_modules()), [*HEAVY, "pytest"]) == {}


def test_every_exception_to_purity_is_a_module() -> None:
    assert {name for name in IMPURE if not list(PACKAGE.glob(f"{name}*"))} == set()


def test_importing_the_plugin_loads_nothing_heavy() -> None:
    """Every pytest run in the environment does it."""
    assert loaded_by_each(["pytest_ocrsweep.plugin"], [*HEAVY, "PIL"]) == {}


def test_importing_the_plugin_lays_out_no_layer() -> None:
    assert (
        loaded_by_each(["pytest_ocrsweep.plugin"], ["pytest_ocrsweep.model.stages", "pytest_ocrsweep.model.ledger"])
        == {}
    )


@pytest.mark.parametrize("path", files("*.py"), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_says_what_is_true_in_it_and_is_not_long(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert ast.get_docstring(ast.parse(text)), "a module docstring is missing"
    assert path.parent.name == "tests" or len(text.splitlines()) <= LINES


def test_no_file_names_somebodys_home() -> None:
    home = re.compile(r"/(home|root|Users)/\w")
    paths = [*files("*"), *(path for path in ROOT.iterdir() if path.is_file())]
    texts = [path for path in paths if path.suffix in {"", ".md", ".py", ".toml", ".yaml", ".json"}]
    assert [path for path in texts if home.search(path.read_text(encoding="utf-8"))] == []


@pytest.mark.parametrize("page", [*PAGES, ".ci/run"])
def test_every_make_command_named_is_a_target(page: str) -> None:
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M))
    named = set(re.findall(r"(?:^|`)make (\w+)", (ROOT / page).read_text(encoding="utf-8"), re.M))
    assert named
    assert named <= targets


@pytest.mark.parametrize("page", PAGES)
def test_every_file_named_in_code_quotes_exists(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    named = set(re.findall(r"`((?:[\w.-]+/)*[\w-]+\.(?:py|yaml|toml|md)|(?:[\w.-]+/)+)`", text))
    assert {name for name in named if not (ROOT / name).exists()} == set()


def test_the_map_of_modules_has_every_module_once_and_no_other() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").partition("## Where things are")[2]
    package, report = re.findall(r"^```\n(.*?)^```", text, re.M | re.S)[:2]
    for where, block in ((PACKAGE, package), (PACKAGE / "report", report)):
        named = [word for line in block.splitlines() for word in re.split(r" {2,}", line)[0].split()]
        folders = {
            f"{path.name}/" for path in where.iterdir() if path.is_dir() and path.name not in ("conf", "__pycache__")
        }
        modules = {path.stem for path in where.glob("*.py")} - {"__init__"}
        assert sorted(named) == sorted(folders | modules)


def test_the_readme_lists_every_option() -> None:
    listed = re.findall(r"^\| `(--ocrsweep-[\w-]+)", (ROOT / "README.md").read_text(encoding="utf-8"), re.M)
    assert listed == list(options.OPTIONS)


def test_the_readmes_python_prints_what_it_says() -> None:
    result = doctest.testfile(str(ROOT / "README.md"), module_relative=False, verbose=False)
    assert result.attempted > 0
    assert result.failed == 0


@pytest.mark.parametrize("page", ["bytes", "devices", "legacy"])
def test_a_page_of_docs_prints_what_it_says(page: str) -> None:
    result = doctest.testfile(str(ROOT / f"docs/{page}.md"), module_relative=False, verbose=False)
    assert result.attempted > 0
    assert result.failed == 0


def test_the_page_of_dram_bytes_is_what_its_command_prints() -> None:
    rows = list(dram.compared(ROOT / dram.COUNTED))
    assert dram.markdown(rows) in (ROOT / "docs/dram.md").read_text(encoding="utf-8")


def test_the_base_install_has_no_torch_and_the_extras_exist() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert {"vendor", "report", "dev"} <= project["optional-dependencies"].keys()
    assert [need for need in project["dependencies"] if need.startswith(("torch", "transformers"))] == []
