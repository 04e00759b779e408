"""Rotary positions: tables of cos and sin, and what turns queries and keys by them.

Source: transformers 5.23, modeling_unlimited_ocr.py UnlimitedOcrText*; of several axes: modeling_glm_ocr.py and
modeling_paddleocr_vl.py, their RotaryEmbedding and apply_rotary_pos_emb*; fused: vLLM 0.26, pos_encoding_kernels.cu.
"""

from __future__ import annotations

from ..kernels import FLOAT, HALF, INDEX, VECTOR_FLOPS, Kernel, Kernels, Pattern, kernel, released, under
from ..operations import cast, elementwise, matmul
from ..symbolic import Size


def rotary_tables(q: Size, dim: int) -> Kernels:
    """cos and sin of position × frequency, [q, dim], shared by every layer and page."""
    half = q * (dim // 2)
    yield cast("to_float", q, INDEX, FLOAT)
    yield kernel("angles", vector=half, reads=(q * FLOAT, dim // 2 * FLOAT), writes=half * FLOAT)
    yield kernel("repeat", reads=2 * half * FLOAT, writes=2 * half * FLOAT)
    for function in ("cos", "sin"):
        yield elementwise(function, function, 2 * half, itemsize=FLOAT)
        yield elementwise(f"{function}_scale", "mul", 2 * half, itemsize=FLOAT, frees=2 * half * FLOAT)
    yield cast("cos_to_half", 2 * half, FLOAT, HALF)
    yield cast("sin_to_half", 2 * half, FLOAT, HALF)
    yield released(q * FLOAT, half * FLOAT, *(2 * half * FLOAT,) * 3)


def product_tables(q: Size, dim: int) -> Kernels:
    """The same by a product in float32 of [dim / 2, 1] frequencies, which are cast first, and [1, q] positions."""
    half, whole = q * (dim // 2) * FLOAT, q * dim
    yield cast("frequencies", dim // 2, HALF, FLOAT)
    yield cast("to_float", q, INDEX, FLOAT)
    angles = matmul("angles", 1, dim // 2, 1, q, itemsize=FLOAT)
    yield angles._replace(unneeded=angles.tensor_flops)  # a table made before holds them
    yield kernel("repeat", reads=(half, half), writes=whole * FLOAT)
    for function in ("cos", "sin"):
        yield elementwise(function, function, whole, itemsize=FLOAT)
    for function in ("cos", "sin"):
        yield elementwise(f"{function}_scale", "mul", whole, itemsize=FLOAT, frees=whole * FLOAT)
    yield cast("cos_to_half", whole, FLOAT, HALF)
    yield cast("sin_to_half", whole, FLOAT, HALF)
    yield released(dim // 2 * FLOAT, q * FLOAT, half, *(whole * FLOAT,) * 3)


def rotate(vectors: Size, dim: int, table: Size, itemsize: int = HALF) -> Kernels:
    """x·cos + rotate_half(x)·sin over [vectors, dim]; its result and x stay allocated."""
    elements, x, half = vectors * dim, vectors * dim * itemsize, vectors * (dim // 2) * itemsize
    yield elementwise("cos", "mul", elements, also=table, itemsize=itemsize, pattern=Pattern.STRIDED)
    yield elementwise("negate", "neg", vectors * (dim // 2), itemsize=itemsize, pattern=Pattern.STRIDED)
    yield kernel("swap", reads=x, writes=x, frees=half, pattern=Pattern.STRIDED, work=elements)
    yield elementwise("sin", "mul", elements, also=table, itemsize=itemsize, frees=x, pattern=Pattern.STRIDED)
    yield elementwise("add", "add", elements, also=x, itemsize=itemsize, frees=(x, x))


def rotate_in_float(vectors: Size, dim: int, table: Size) -> Kernels:
    """Queries and keys, [vectors, dim] each, cast to float32, turned, and cast back; they themselves stay allocated."""
    x = vectors * dim
    for name in ("q", "k"):
        yield cast(f"{name}_to_float", x, HALF, FLOAT)
    for name in ("q", "k"):
        yield from under(name, rotate(vectors, dim, table, FLOAT))
    for name in ("q", "k"):
        yield cast(f"{name}_to_half", x, FLOAT, HALF, frees=x * FLOAT)
    yield released(x * FLOAT, x * FLOAT)


def axial_tables(rows: Size, dim: int) -> Kernels:
    """cos and sin in float32, [rows, dim], of each token's row and column: a quarter of a head's elements by each."""
    half = rows * (dim // 2) * FLOAT
    yield from _of_axes(rows, 2, rows * (dim // 2), dim // 4)
    for function in ("cos", "sin"):
        yield kernel(f"{function}_join", reads=half, writes=half)
        yield kernel(f"{function}_repeat", reads=2 * half, writes=2 * half, frees=(half, half))
    yield released(half)


def section_tables(rows: Size, axes: int, dim: int, pairs: bool) -> Kernels:
    """cos and sin, [rows, dim], of each token's positions on several axes, each of which has a section of a head.

    All angles are computed for each axis. Each stands twice: beside itself, for `pairs`, or in the other half.
    """
    elements = rows * (dim // 2)
    half = elements * FLOAT
    yield from _of_axes(rows, axes, axes * elements, dim // 2)
    for function in ("sin", "cos"):
        yield kernel(f"{function}_sections", reads=half, writes=half)
        twice = kernel(
            f"{function}_repeat", reads=half if pairs else 2 * half, writes=2 * half, frees=(half, axes * half)
        )
        yield twice._replace(pattern=Pattern.STRIDED, work=2 * elements) if pairs else twice
    for function in ("cos", "sin"):
        yield cast(f"{function}_to_half", 2 * elements, FLOAT, HALF)
    yield released(2 * half, 2 * half, axes * half)


def _of_axes(rows: Size, axes: int, angles: Size, frequencies: int) -> Kernels:
    """So many angles of [rows, axes] positions, which stay allocated, and their cos and sin."""
    positions, size = axes * rows, angles * FLOAT
    yield cast("to_float", positions, INDEX, FLOAT)
    yield kernel(
        "angles",
        vector=angles,
        reads=(positions * FLOAT, frequencies * FLOAT),
        writes=size,
        frees=positions * FLOAT,
        pattern=Pattern.STRIDED,
        work=angles,
    )
    for function in ("cos", "sin"):
        yield elementwise(function, function, angles, itemsize=FLOAT)
        yield elementwise(f"{function}_scale", "mul", angles, itemsize=FLOAT, frees=size)


def fused_rope(rows: Size, width: int, key_width: int, dim: int) -> Kernel:
    """Rotates queries and keys, `width` and `key_width` elements a row; cos and sin come from a row of a table.

    The two halves of a vector take two products and a sum each: the negation is a difference.
    """
    x = rows * (width + key_width)
    return kernel(
        "rope",
        vector=x * (2 * VECTOR_FLOPS["mul"] + VECTOR_FLOPS["add"]),
        reads=(x * HALF, rows * INDEX, rows * dim * HALF),
        writes=(rows * width * HALF, rows * key_width * HALF),
        pattern=Pattern.STRIDED,
        work=x,
    )
