"""SAM's relative positions: a bias for each query and key, from tables of the trained distances.

Source: transformers 5.23, modeling_unlimited_ocr.py, UnlimitedOcrSam*; DeepSeek's own code, as vLLM 0.26 has it:
model_executor/models/deepencoder.py.
"""

from __future__ import annotations

from ..architecture import Sam
from ..engine import REFERENCE, Engine
from ..kernels import FLOAT, HALF, INDEX, VECTOR_FLOPS, Kernels, Pattern, kernel, released, repeated, under
from ..operations import cast, copy, elementwise, matmul
from ..parameters import Parameter, Parameters
from ..symbolic import Size


def resize(width: int, trained: int, grid: int, *, gathered: bool = False) -> Kernels:
    """Resizes a [trained², width] table to [grid², width] in float32; only the result stays allocated.

    If it is `gathered`, it is a copy of the parameters that the cast frees, and its float32 stays allocated too.
    A bicubic antialiased kernel spans 2·⌈2·max(scale, 1)⌉ + 1 taps each way (PyTorch, UpSample.h).
    """
    taps = 2 * -(-2 * max(trained, grid) // grid) + 1
    table, resized = trained * trained * width, grid * grid * width
    ours = () if gathered else (Parameter("table", trained * trained, width),)
    yield cast("to_float", table, HALF, FLOAT, parameters=ours, frees=table * HALF * gathered)
    yield kernel(
        "resize",
        vector=resized * 2 * taps * taps,
        reads=table * FLOAT,
        writes=resized * FLOAT,
        frees=table * FLOAT * (not gathered),
        pattern=Pattern.SERIAL,
        work=table * FLOAT + resized * FLOAT,
        launches=3,
    )
    yield cast("to_half", resized, FLOAT, HALF, frees=resized * FLOAT)


def relative_positions(
    sam: Sam, maps: Size, side: int, trained: int, many: Size, engine: Engine = REFERENCE
) -> Kernels:
    """rel_h[b,y,x,k] = Σ_c q·R_h[y,k,c], and rel_w alike; their sum is a tensor [side², side²] in both attentions.

    The query is copied for the product with rows; for the product with columns only if it is not contiguous yet.
    DeepSeek's own code reorders both parts, not their sum, and holds them until attention is done.
    """
    dim, original = sam.width // sam.heads, engine.original_sam
    query = maps * side * side * sam.width * HALF
    lines = maps * sam.heads * side**3  # elements of rel_h, and of rel_w
    bias = lines * side
    apart = 1 if sam.heads > 1 else many  # 1 if there are several maps of several heads
    columns = query * (1 - many) if sam.heads > 1 else 0
    table = side * side * dim * HALF
    yield from under("table", repeated(position_table(side, trained, dim, engine), 2))
    yield copy("copy_rows", maps * side * side * sam.width * apart)
    yield matmul("rows", side, maps * sam.heads * side, dim, side, frees=query * apart)
    yield copy("copy_columns", maps * side * side * sam.width * (1 - many) * (sam.heads > 1))
    yield matmul("columns", side, maps * sam.heads * side, dim, side, frees=columns)
    if original:
        yield copy("order_rows", lines * apart, frees=lines * apart * HALF)
        yield copy("order_columns", lines, frees=lines * HALF)
        yield released(table, table)
    yield kernel(
        "sum",
        vector=bias * VECTOR_FLOPS["add"],
        reads=(lines * HALF, lines * HALF),
        writes=bias * HALF,
        frees=() if original else (lines * HALF, lines * HALF, table, table),
        pattern=Pattern.STRIDED,
        work=bias,
    )
    if not original:
        yield copy("merge", bias * apart, frees=bias * apart * HALF)


def parts_of_bias(sam: Sam, maps: Size, side: int, engine: Engine) -> tuple[Size, ...]:
    """Bytes of what `relative_positions` leaves allocated beside the bias."""
    return (maps * sam.heads * side**3 * HALF,) * 2 if engine.original_sam else ()


def position_table(side: int, trained: int, dim: int, engine: Engine = REFERENCE) -> Kernels:
    """[2·trained − 1, dim] parameters → [side, side, dim], by the distance of query and key; the table stays."""
    square, resized, weights = side * side, (2 * side - 1) * dim, (2 * trained - 1) * dim
    ours = (Parameter("table", 2 * trained - 1, dim),)
    fits = engine.original_sam and side == trained
    if engine.original_sam and not fits:
        yield from _resized_in_float(ours, weights, resized)
    elif not fits:
        yield kernel(
            "resize",
            vector=resized * VECTOR_FLOPS["interpolate_linear"],
            weights=weights * HALF,
            writes=resized * HALF,
            pattern=Pattern.REDUCTION,
            launches=2,
            parameters=ours,
        )
    temporary = engine.original_sam  # what it needs once has no name there
    ranges, scaled = side * INDEX * temporary, side * FLOAT
    for coordinate in ("query", "key"):
        yield kernel(f"{coordinate}_range", writes=side * INDEX)
        yield kernel(f"{coordinate}_scale", vector=side, reads=side * INDEX, writes=scaled, frees=ranges)
    yield kernel("distance", vector=square, reads=(scaled, scaled), writes=square * FLOAT)
    yield elementwise("shift", "add", square, itemsize=FLOAT, frees=square * FLOAT * temporary)
    yield kernel("index", reads=square * FLOAT, writes=square * INDEX)
    picked = square * dim * HALF
    yield kernel(
        "gather",
        reads=(square * INDEX,) if fits else (picked, square * INDEX),
        weights=picked if fits else 0,
        resident=weights * HALF if fits else 0,
        used=weights * HALF if fits else 0,
        writes=picked,
        frees=square * INDEX * temporary,
        pattern=Pattern.REDUCTION,
        parameters=ours if fits else (),
    )
    if not temporary:
        held = (side * INDEX, scaled) * 2
        yield released(resized * HALF, *held, square * FLOAT, square * FLOAT, square * INDEX)
    elif fits:
        yield released(scaled, scaled, square * FLOAT)
    else:
        yield released(weights * FLOAT, resized * HALF, scaled, scaled, square * FLOAT)


def _resized_in_float(ours: Parameters, weights: int, resized: int) -> Kernels:
    """As DeepSeek's own code resizes a table: in float32, which it holds until the table is made."""
    yield cast("to_float", weights, HALF, FLOAT, parameters=ours)
    yield kernel(
        "resize",
        vector=resized * VECTOR_FLOPS["interpolate_linear"],
        reads=weights * FLOAT,
        writes=resized * FLOAT,
        pattern=Pattern.REDUCTION,
    )
    yield cast("to_half", resized, FLOAT, HALF, frees=resized * FLOAT)
