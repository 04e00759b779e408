"""The package's layers as one table, every import of its modules, and which of them break a rule of the table."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise
from pathlib import Path

PACKAGE = "pytest_ocrsweep"
ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Layer:
    """A package, or modules whose paths begin alike, and its number.

    `at_once` are the heavy libraries that importing it may load, `late` those that only a call may load.
    """

    number: int
    at_once: frozenset[str] = frozenset()
    late: frozenset[str] = frozenset()


def layer(number: int, at_once: str = "", late: str = "") -> Layer:
    return Layer(number, frozenset(at_once.split()), frozenset(late.split()))


LAYERS = {
    "errors": layer(0),  # everybody may raise them, files too
    "files": layer(0, late="PIL"),
    "model": layer(1),
    "model/line_work": layer(1, at_once="numpy"),
    "model/bulk": layer(1, at_once="numpy", late="pandas pyarrow"),
    "hardware": layer(2, late="numpy"),
    "hardware/line_time": layer(2, at_once="numpy"),
    "hardware/fit": layer(2, at_once="numpy"),
    "hardware/host_fit": layer(2, at_once="numpy"),
    "hardware/estimate_columns": layer(2, at_once="numpy"),
    "hardware/validation": layer(2, at_once="numpy"),
    "baselines": layer(3),
    "vendor_model": layer(4, at_once="torch transformers", late="numpy PIL"),
    "engines": layer(4, late="numpy PIL"),
    "engines/runner_vllm": layer(4, late="PIL torch"),  # of another interpreter, which alone runs it
    "sweep": layer(5, at_once="yaml", late="hydra omegaconf"),
    "report": layer(6, late="jinja2"),
    "plugin": layer(7, at_once="pytest"),
    "cli": layer(7, late="numpy pyarrow"),
    "__init__": layer(8),
    "__main__": layer(8),
}
HEAVY = ("hydra", "jinja2", "numpy", "omegaconf", "pandas", "PIL", "pyarrow", "pytest", "torch")
HEAVY += ("transformers", "yaml")


@dataclass(frozen=True)
class Module:
    """A file of the package; `path` is within the package, without its ending: `model/ledger`, `cli/__init__`."""

    file: Path
    path: str
    where: str

    @property
    def dotted(self) -> str:
        """The name under which it is imported."""
        return ".".join([PACKAGE, *(part for part in self.path.split("/") if part != "__init__")])

    @property
    def package(self) -> str:
        """Its row's name, if it has no row of its own."""
        return self.path.split("/")[0]


@dataclass(frozen=True)
class Import:
    """One imported name. `target` is the module that a name of our own comes from; `typing` is under TYPE_CHECKING."""

    module: Module
    line: int
    name: str
    target: Module | None
    typing: bool

    def __str__(self) -> str:
        return f"{self.module.where}:{self.line}: imports {self.name}"


def modules(root: Path = ROOT) -> list[Module]:
    """Every module of the package below `root`."""
    folder = root / PACKAGE
    files = sorted(folder.rglob("*.py"))
    return [
        Module(file, file.relative_to(folder).with_suffix("").as_posix(), file.relative_to(root).as_posix())
        for file in files
    ]


def imports(found: Sequence[Module]) -> list[Import]:
    """Every import of these modules, wherever in a module it stands."""
    ours = {module.dotted: module for module in found}
    return [each for module in found for each in _of_module(module, ours)]


def _of_module(module: Module, ours: Mapping[str, Module]) -> Iterator[Import]:
    for node, typing in _nodes(ast.parse(module.file.read_text(encoding="utf-8")), False):
        for name in _names(node, module):
            target = ours.get(name) or ours.get(name.rpartition(".")[0])
            yield Import(module, node.lineno, name, target, typing)


def _nodes(node: ast.AST, typing: bool) -> Iterator[tuple[ast.Import | ast.ImportFrom, bool]]:
    """The import statements below a node, and whether only a type checker runs them."""
    if isinstance(node, ast.Import | ast.ImportFrom):
        yield node, typing
    if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
        for child in node.body:
            yield from _nodes(child, True)
        below: Sequence[ast.AST] = node.orelse
    else:
        below = list(ast.iter_child_nodes(node))
    for child in below:
        yield from _nodes(child, typing)


def _names(node: ast.Import | ast.ImportFrom, module: Module) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
        return
    start = node.module or ""
    if node.level:  # `from .x` of a/b.py and of a/__init__.py is a.x
        base = f"{PACKAGE}/{module.path}".split("/")[: -node.level]
        start = ".".join([*base, *filter(None, [node.module])])
    yield from (f"{start}.{alias.name}" for alias in node.names)


# The rules


def upward(found: Sequence[Import]) -> list[str]:
    """Imports that neither stay in their package nor go to a smaller number or to errors; also for types."""
    return [
        f"{each}: {each.module.package} is layer {_number(each.module)} and {each.target.package} is "
        f"{_number(each.target)}, but an import goes to a smaller number or stays in its package"
        for each in found
        if each.target and each.target.package not in (each.module.package, "errors")
        if _number(each.target) >= _number(each.module)
    ]


def circles(found: Sequence[Import]) -> list[str]:
    """Modules that import each other in a circle, each circle by its imports; those for types run nothing."""
    edges = {(each.module.path, each.target.path): each for each in found if each.target and not each.typing}
    edges = {ends: each for ends, each in edges.items() if ends[0] != ends[1]}
    said = []
    while circle := _circle(edges):
        steps = [edges[ends] for ends in pairwise(circle)]
        said.append(f"{' -> '.join(circle)} is a circle:" + "".join(f"\n    {step}" for step in steps))
        del edges[steps[-1].module.path, circle[-1]]
    return said


def _circle(edges: Mapping[tuple[str, str], Import]) -> list[str]:
    """One circle, from a module to itself; empty if there is no other."""
    graph: dict[str, set[str]] = {}
    for importer, imported in edges:
        graph.setdefault(importer, set()).add(imported)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(reversed(error.args[1]))
    return []


def heavy(found: Sequence[Import]) -> list[str]:
    """Imports of a heavy library by a module whose row has it neither at once nor late."""
    return [
        f"{each}: {row} may not load {library}, see LAYERS in tests/support/layers.py"
        for each in found
        if not each.typing and (library := each.name.split(".")[0]) in HEAVY
        for row in [_row(each.module)]
        if library not in LAYERS[row].at_once | LAYERS[row].late
    ]


def without_a_row(found: Sequence[Module]) -> list[str]:
    return [
        f"{module.where}: {module.package} has no row in LAYERS" for module in found if module.package not in LAYERS
    ]


def at_once(module: Module) -> frozenset[str]:
    """The heavy libraries that importing it may load."""
    return LAYERS[_row(module)].at_once


def _number(module: Module) -> int:
    return LAYERS[module.package].number


def _row(module: Module) -> str:
    """The row with the longest name that the module's path begins with."""
    return max((name for name in LAYERS if module.path.startswith(name)), key=len)
