"""Whether the sizes that a profiler gives of a kernel are those of its line in the ledger."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from engine_kernels import Kernel

    from pytest_ocrsweep.model.run_order import Run

HALF = 2
ITEMS = (2, 4, 8)  # bytes of an element
PRODUCTS = {"aten::addmm": 1, "aten::mm": 0, "aten::bmm": 0}  # where the first factor is among the operands
ELEMENTWISE = ("add", "sub", "mul", "div", "gelu", "sigmoid", "pow", "sqrt", "copy_")


def wrong_size(run: Run, kernels: Sequence[Kernel]) -> str | None:
    """How a line's numbers differ from those of its kernels; None if they are equal, or nothing is known of them."""
    tensor_flops, _, read_bytes, write_bytes = run.numbers
    main = kernels[-1] if kernels[-1].operation is not None or len(kernels) == 1 else kernels[0]
    if main.copied_bytes is not None:
        return _differs("writes", write_bytes, main.copied_bytes)
    name, sizes = main.operation, main.sizes
    if name in PRODUCTS:
        first, second = sizes[PRODUCTS[name] :][:2]
        return _differs("has tensor FLOPs", tensor_flops, 2 * prod(first) * second[-1])
    if name == "aten::cudnn_convolution":
        return _differs("has tensor FLOPs for a pixel of", tensor_flops % (2 * prod(sizes[1])), 0)
    if name == "aten::_efficient_attention_forward":
        (batch, queries, heads, dim), keys = sizes[0], sizes[1][1]
        return _differs("has tensor FLOPs", tensor_flops, 4 * batch * heads * queries * keys * dim)
    if name is not None and name.startswith("triton_red_fused") and "rms_norm" in name:
        in_place = run.path == "decoder/final_norm"  # its result takes the place of an operand
        return _differs("moves", read_bytes + (not in_place) * write_bytes, HALF * sum(map(_elements, sizes)))
    if name is not None and name.removeprefix("aten::") in ELEMENTWISE and len(kernels) == 1:
        elements = _broadcast(sizes)
        if elements and write_bytes not in [elements * size for size in ITEMS]:
            return f"writes {write_bytes:,} bytes, and the kernel {elements:,} elements"
    return None


def _differs(what: str, ours: int, theirs: int) -> str | None:
    return None if ours == theirs else f"{what} {ours:,}, and the kernel {theirs:,}"


def _elements(size: Any) -> int:
    return prod(size) if size else 0


def _broadcast(sizes: Any) -> int:
    """Elements of the result of operands of these sizes."""
    known = [size for size in sizes if size]
    width = max(map(len, known), default=0)
    padded = [[1] * (width - len(size)) + list(size) for size in known]
    return prod(max(column) for column in zip(*padded, strict=True)) if known else 0
