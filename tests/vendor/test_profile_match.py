"""Operations are matched to lines by order and cost; what has no partner is named."""

from __future__ import annotations

import pytest

from pytest_ocrsweep.errors import NoLine
from pytest_ocrsweep.model.run_order import Numbers, Run
from pytest_ocrsweep.vendor_model.profile_match import Operation, matched

LINES = [Run(0, "a", (1, 2, 3, 4)), Run(1, "b", (0, 0, 8, 8)), Run(0, "a", (1, 2, 3, 4))]
PAD, FUSED, NEXT = (0, 0, 10, 12), (90, 5, 40, 7), (0, 0, 7, 7)
ATTENTION = [Run(0, "attn/pad_bias", PAD), Run(1, "attn/fused", FUSED), Run(2, "attn/proj", NEXT)]


def op(name: str, numbers: Numbers) -> Operation:
    return Operation(name, numbers, ((f"{name}_kernel", 1.0),))


def taken(operations: list[Operation], lines: list[Run]) -> list[tuple[int, list[str]]]:
    return [(entry.run.line, [o.name for o in entry.operations]) for entry in matched(operations, lines)]


def test_each_line_gets_its_operation_in_order() -> None:
    operations = [op(name, run.numbers) for name, run in zip("xyz", LINES, strict=True)]
    assert taken(operations, LINES) == [(0, ["x"]), (1, ["y"]), (0, ["z"])]


def test_equal_operations_of_several_pages_are_one_line() -> None:
    operations = [op("x", (1, 2, 3, 4)), op("y1", (0, 0, 4, 4)), op("y2", (0, 0, 4, 4)), op("z", (1, 2, 3, 4))]
    assert taken(operations, LINES) == [(0, ["x"]), (1, ["y1", "y2"]), (0, ["z"])]


def test_the_memory_efficient_attention_pads_its_bias() -> None:
    operations = [op("pad", PAD), op("efficient_attention", FUSED), op("mm", NEXT)]
    assert taken(operations, ATTENTION) == [(0, ["pad"]), (1, ["efficient_attention"]), (2, ["mm"])]


def test_cudnns_attention_reads_its_bias_unpadded_and_has_its_output_copied() -> None:
    operations = [op("cudnn_attention", (90, 5, 39, 7)), op("clone", (0, 0, 5, 5)), op("mm", NEXT)]
    assert taken(operations, ATTENTION) == [(1, ["cudnn_attention", "clone"]), (2, ["mm"])]


@pytest.mark.parametrize(
    ("operations", "named"),
    [
        ([op("x", (1, 2, 3, 4)), op("stranger", (5, 5, 5, 5)), op("z", (1, 2, 3, 4))], "operation 1 of 3 is stranger"),
        ([op("x", (1, 2, 3, 4))], "operation 1 of 1 is no operation, where the ledger has line b"),
        ([op(str(i), run.numbers) for i, run in enumerate([*LINES, LINES[0]])], "operation 3 of 4 is 3"),
    ],
)
def test_what_has_no_partner_is_named(operations: list[Operation], named: str) -> None:
    with pytest.raises(NoLine, match=named):
        matched(operations, LINES)
