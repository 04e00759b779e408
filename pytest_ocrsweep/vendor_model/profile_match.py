"""Which line of a ledger each operation of the reference model is: by order and by cost, never by name alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ..errors import NoLine
from ..model.run_order import Numbers, Run


class Operation(NamedTuple):
    """One call at torch's dispatcher, and the kernels that it launched."""

    name: str
    numbers: Numbers
    kernels: tuple[tuple[str, float], ...]  # name, ns


# Fused attention that reads its bias as it lies, where PyTorch's memory-efficient kernel has it padded first.
UNPADDED = ("cudnn", "for_cpu")


class Matched(NamedTuple):
    """One run of a line, and the operations that it consists of."""

    run: Run
    operations: tuple[Operation, ...]


def matched(operations: Sequence[Operation], lines: Sequence[Run]) -> list[Matched]:
    """Every run of a line with its operations. Raises NoLine, which names the first that has no partner."""
    found, place = [], 0
    left = iter(enumerate(lines))
    for i, line in left:
        fused = lines[i + 1] if line.path.endswith("/pad_bias") else line
        if took := _unpadded(operations, place, fused, lines[i + 1] if fused is line and i + 1 < len(lines) else None):
            if fused is not line:
                next(left)
            line = fused
        else:
            took = _equal(operations, place, line.numbers)
        if not took:
            raise _no_partner(operations, place, line)
        found.append(Matched(line, tuple(operations[place : place + took])))
        place += took
    if place < len(operations):
        raise _no_partner(operations, place, None)
    return found


def _unpadded(operations: Sequence[Operation], place: int, fused: Run, after: Run | None) -> int:
    """How many operations are the line `fused`, if it reads its bias unpadded; 0 if it does not.

    Its output may be copied to another layout: so a pad and an attention become an attention and a copy. A copy that is
    the line `after` is not the attention's.
    """
    if place >= len(operations) or not any(name in operations[place].name for name in UNPADDED):
        return 0
    if operations[place].numbers[0] != fused.numbers[0]:
        return 0
    follows = operations[place + 1] if place + 1 < len(operations) else None
    copied = follows is not None and follows.name == "clone" and (after is None or follows.numbers != after.numbers)
    return 1 + copied


def _equal(operations: Sequence[Operation], place: int, numbers: Numbers) -> int:
    """How many operations from `place` on sum to these numbers; 0 if none do."""
    total = (0, 0, 0, 0)
    for taken, operation in enumerate(operations[place:], start=1):
        total = tuple(map(sum, zip(total, operation.numbers, strict=True)))  # type: ignore[assignment]
        if total == numbers:
            return taken
        if any(part > whole for part, whole in zip(total, numbers, strict=True)):
            return 0
    return 0


def _no_partner(operations: Sequence[Operation], place: int, line: Run | None) -> NoLine:
    operation = operations[place] if place < len(operations) else None
    what = f"{operation.name} {operation.numbers}" if operation else "no operation"
    where = f"line {line.path} {line.numbers}" if line else "no line"
    return NoLine(f"operation {place} of {len(operations)} is {what}, where the ledger has {where};", hint="report it")
