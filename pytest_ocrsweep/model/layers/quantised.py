"""Products of 8-bit floats, and the activations that are quantised for them as they come (W8A8).

Source: vLLM 0.26, model_executor/layers/quantization/online/fp8.py, input_quant_fp8.py; for experts fused_moe/utils.py,
experts/triton_moe.py, csrc/quantization/w8a8/fp8/common.cu. A linear layer has a scale for each token, which torch
compiles: into the norm or the activation before it, but for attention's result and for the shared experts, which are in
an operation of their own. The routed experts have one scale for all tokens, which two kernels of vLLM make and apply.
The largest magnitude is found by comparisons, which count nothing.
"""

from __future__ import annotations

from ..engine import Engine
from ..kernels import BYTE, FLOAT, HALF, VECTOR_FLOPS, Kernel, Kernels, Pattern, Sizes, allocated, kernel, together
from ..operations import linear
from ..symbolic import Size

PER_SCALE = 2 * VECTOR_FLOPS["div"]  # the largest magnitude by the format's largest number, and the reciprocal
SCALES = 2 * VECTOR_FLOPS["mul"]  # by which an element of a product is multiplied: of activations and of weights


def quantise(path: str, rows: Size, width: int, *, frees: Sizes = 0) -> Kernel:
    """[rows, width] in two bytes to 8 bits, and a float32 scale for each row."""
    return kernel(
        path,
        vector=rows * width * VECTOR_FLOPS["mul"] + rows * PER_SCALE,
        reads=rows * width * HALF,
        writes=quantised_bytes(rows, width),
        frees=frees,
        pattern=Pattern.NORM,
        work=rows * width,
    )


def quantised_bytes(rows: Size, width: int) -> tuple[Size, Size]:
    """Bytes of [rows, width] in 8 bits, and of a scale for each row."""
    return rows * width * BYTE, rows * FLOAT


def quantising(one: Kernel, rows: Size, width: int) -> Kernel:
    """The kernel with its first result [rows, width] in 8 bits, and a scale for each row."""
    results = (*quantised_bytes(rows, width), *one.results[1:])
    return one._replace(
        vector_flops=one.vector_flops + rows * width * VECTOR_FLOPS["mul"] + rows * PER_SCALE,
        write_bytes=together(results),
        allocates=allocated(results),
        results=results,
    )


def quantise_all(name: str, rows: Size, width: int) -> Kernels:
    """[rows, width] to 8 bits with one scale: each row's largest magnitude, then the product.

    A fill of the scale goes before them.
    """
    x = rows * width
    yield kernel(
        f"{name}_scale",
        vector=rows * VECTOR_FLOPS["div"],
        reads=x * HALF,
        writes=FLOAT,
        pattern=Pattern.REDUCTION,
        launches=2,
    )
    yield kernel(
        f"quantise_{name}",
        vector=x * VECTOR_FLOPS["mul"] + VECTOR_FLOPS["div"],
        reads=(x * HALF, FLOAT),
        writes=x * BYTE,
    )


def in_fp8(product: Kernel, elements: Size, scales: Size, out: Size) -> Kernel:
    """A product of `elements` activations, its first operand, in 8 bits with `scales`, to `out` elements."""
    activations = (elements * BYTE, scales * FLOAT)
    return product._replace(
        vector_flops=product.vector_flops + out * SCALES,
        read_bytes=product.read_bytes - product.operands[0] + together(activations),
        operands=(*activations, *product.operands[1:]),
        fp8=True,
    )


def matrix(
    path: str, rows: Size, width: int, out: int, engine: Engine, *, bias: bool = False, frees: Sizes = 0
) -> Kernel:
    """[rows, width] @ [width, out]; of 8-bit floats, which it frees, and without a bias, if the engine quantises."""
    if not engine.fp8_products:
        return linear(path, rows, width, out, bias=bias, frees=frees)
    product = linear(path, rows, width, out, bias=False, frees=quantised_bytes(rows, width))
    return in_fp8(product, rows * width, rows, rows * out)
