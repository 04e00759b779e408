"""Every mutant of a module: its text with one small change, by mutmut's operators.

Left out are annotations, type variables, texts for people (those with a space) and `__all__`, which linters read.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import libcst as cst
import libcst.matchers as m
from libcst.metadata import ByteSpanPositionProvider, MetadataWrapper
from mutmut.mutation.mutators import mutation_operators

LONG, AROUND = 120, 30  # characters of a change that is shown in part, and of those around what differs


class Mutant(NamedTuple):
    """One change of a module's text."""

    line: int
    old: str
    new: str
    source: str

    def __str__(self) -> str:
        old, new = (" ".join(code.split()) for code in (self.old, self.new))
        if len(old) > LONG:
            before = max(0, _alike(old, new) - AROUND)
            after = max(0, _alike(old[before:][::-1], new[before:][::-1]) - AROUND)
            old, new = (f"… {code[before : len(code) - after]} …" for code in (old, new))
        return f"{self.line}: {old}  ->  {new}"


def _alike(old: str, new: str) -> int:
    """With how many characters both begin."""
    return next((at for at, (a, b) in enumerate(zip(old, new, strict=False)) if a != b), min(len(old), len(new)))


class Finder(cst.CSTVisitor):
    """Every mutant of a module."""

    METADATA_DEPENDENCIES = (ByteSpanPositionProvider,)

    def __init__(self, module: cst.Module) -> None:
        self.module, self.text = module, module.bytes
        self.found: list[Mutant] = []

    def on_visit(self, node: cst.CSTNode) -> bool:
        if _not_run(node):
            return False
        for kind, operator in mutation_operators:
            if isinstance(node, kind):
                for changed in operator(node):
                    self._add(node, changed)
                    if isinstance(node, cst.BaseString):
                        break  # one other text is as good as three
        return True

    def _add(self, node: cst.CSTNode, changed: cst.CSTNode) -> None:
        if isinstance(node, cst.Call) and isinstance(changed, cst.Call) and len(changed.args) == len(node.args):
            pairs = zip(node.args, changed.args, strict=True)
            if any(_is_none(new.value) and not _is_none(old.value) for old, new in pairs):
                return  # None for an argument: most only raise, what flatters the score
        span = self.get_metadata(ByteSpanPositionProvider, node)
        start, end = span.start, span.start + span.length
        new = self.module.code_for_node(changed).strip()
        source = self.text[:start] + new.encode() + self.text[end:]
        line = self.text.count(b"\n", 0, start) + 1
        with suppress(SyntaxError):  # a break out of no loop
            compile(source, "mutant", "exec", dont_inherit=True)
            self.found.append(Mutant(line, self.text[start:end].decode(), new, source.decode()))


def _is_none(node: cst.BaseExpression) -> bool:
    return isinstance(node, cst.Name) and node.value == "None"


def _not_run(node: cst.CSTNode) -> bool:
    """Texts that only people read, and types."""
    if isinstance(node, cst.SimpleString):
        return " " in node.value
    if isinstance(node, cst.Assign):  # Size = int | Poly, N = TypeVar("N")
        return m.matches(node.targets[0].target, m.Name(value=m.MatchRegex("[A-Z]([a-z].*)?|__all__")))
    return isinstance(node, cst.Annotation | cst.Import | cst.ImportFrom)


def mutants(path: Path) -> list[Mutant]:
    """The mutants of a file, in its order, each text once."""
    module = cst.parse_module(path.read_bytes())
    finder = Finder(module)
    MetadataWrapper(module, unsafe_skip_copy=True).visit(finder)
    unique = {mutant.source: mutant for mutant in finder.found if mutant.source != module.code}
    return sorted(unique.values(), key=lambda mutant: mutant.line)
