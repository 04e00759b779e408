"""Files that were skipped whole, as for want of a package: pytest sees no test of them, so their text is read."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

FIXTURE = "ocrsweep"
BY_NAME = ("usefixtures", "getfixturevalue")  # calls that ask for a fixture by its name as a text
Wanted = dict[str, set[str]]  # the fixtures that each function asks for, by the function's name


def checks_points(path: Path, root: Path) -> bool:
    """Whether a test in a file, or below a folder, asks for the fixture `ocrsweep`.

    It may do so through another fixture: of its own file, or of a conftest.py from there up to `root`.
    """
    files = [path] if path.is_file() else sorted(path.rglob("*.py"))
    above = [folder / "conftest.py" for folder in path.parents if folder.is_relative_to(root)]
    there = [_wanted(file) for file in files]
    leading = _leading([*there, *map(_wanted, above)])
    return any(names & leading for functions in there for names in functions.values())


def _leading(several: Iterable[Wanted]) -> set[str]:
    """The fixture, and the functions that ask for it, directly or through one another."""
    leading, known = {FIXTURE}, 0
    functions = [item for each in several for item in each.items()]
    while known < len(leading):
        known = len(leading)
        leading |= {function for function, names in functions if names & leading}
    return leading


def _wanted(file: Path) -> Wanted:
    wanted: Wanted = {}
    with suppress(OSError, ValueError, SyntaxError, RecursionError):  # no tests can be in it then
        for node in ast.walk(ast.parse(file.read_bytes())):
            for function, name in _asks(node):
                wanted.setdefault(function, set()).add(name)
    return wanted


def _asks(node: ast.AST) -> Iterator[tuple[str, str]]:
    """Pairs of a function and a fixture that it asks for; of a mark, which has no function, "" and the fixture."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        arguments = node.args
        for each in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs):
            yield node.name, each.arg
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in BY_NAME:
        for value in node.args:
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                yield "", value.value
