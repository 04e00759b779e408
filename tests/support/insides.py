"""Where the package touches what other packages keep to themselves: names with an underscore, and some modules."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec

from layers import Import, Module

# Packages that are public at their top alone: `from xdist import is_xdist_worker` is for others, `xdist.remote` is not.
FLAT = ("xdist", "execnet", "pytest_benchmark")
PUBLIC_MODULES = ("xdist.scheduler",)  # documented: a scheduler implements its Protocol
TORCH = ("torch", "transformers")
OF_NAMED_TUPLES = {"_replace", "_asdict", "_fields", "_make"}
OF_ENUMS = {"_name_", "_value_"}  # documented: what `_missing_` sets on a new member
OF_STANDARD_LIBRARY = {"os._exit", "sys._getframe", "sys._current_frames"}


@dataclass(frozen=True)
class Touch:
    """One use of another package's private name."""

    module: Module
    line: int
    name: str

    def __str__(self) -> str:
        return f"{self.module.where}:{self.line}: {self.name}"


def touches(modules: Sequence[Module], imports: Sequence[Import]) -> list[Touch]:
    """Every private import and every private attribute that is not the module's own, a named tuple's or `self`'s."""
    found = [Touch(each.module, each.line, each.name) for each in imports if not each.target and private(each.name)]
    return found + [touch for module in modules for touch in _attributes(module)]


def private(name: str) -> bool:
    """Whether a dotted name of an import is not for others."""
    if any(map(_is_private, name.split("."))):
        return True
    first, *rest = name.split(".")
    if first not in FLAT or not rest or name.startswith(PUBLIC_MODULES):
        return False
    return len(rest) > 1 or find_spec(name) is not None


def _is_private(name: str) -> bool:
    return name.startswith("_") and not name.endswith("__")


def _attributes(module: Module) -> Iterator[Touch]:
    tree = ast.parse(module.file.read_text(encoding="utf-8"))
    own = {*_defined(tree), *OF_NAMED_TUPLES, *OF_ENUMS}
    for line, name in _dotted(tree):
        foreign = name.rpartition(".")[2] not in own or name.startswith("super().")
        if foreign and name not in OF_STANDARD_LIBRARY:
            yield Touch(module, line, name)


def _dotted(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Every private attribute as its line and dotted name: `torch._C._f` once, and `getattr(a, "_b")` too."""
    attributes = [node for node in ast.walk(tree) if isinstance(node, ast.Attribute) and _is_private(node.attr)]
    within = {id(node.value) for node in attributes}
    yield from ((node.lineno, ast.unparse(node)) for node in attributes if id(node) not in within)
    for node in ast.walk(tree):
        match node:
            case ast.Call(
                func=ast.Name(id="getattr" | "setattr" | "hasattr"), args=[of, ast.Constant(value=str(name)), *_]
            ):
                if _is_private(name):
                    yield node.lineno, f"{ast.unparse(of)}.{name}"


def _defined(tree: ast.Module) -> Iterator[str]:
    """Private names that the module itself gives: functions, classes, variables, fields and attributes of `self`."""
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                yield name
            case ast.Name(id=name, ctx=ast.Store()):
                yield name
            case ast.Attribute(value=ast.Name(id="self" | "cls"), attr=name, ctx=ast.Store()):
                yield name
