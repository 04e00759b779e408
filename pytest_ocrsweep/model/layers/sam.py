"""SAM-B: patch embedding, windowed and global blocks with relative positions, neck, two strided convolutions.

Source: transformers 5.23, modeling_unlimited_ocr.py, UnlimitedOcrSam*.
"""

from __future__ import annotations

from math import ceil

from ..architecture import Sam
from ..attention import ATTENTION
from ..engine import REFERENCE, Engine
from ..kernels import (
    FLOAT,
    HALF,
    VECTOR_FLOPS,
    Kernels,
    Loop,
    Pattern,
    Turns,
    allocated,
    at_turns,
    kernel,
    released,
    under,
)
from ..operations import cast, convolution, copy, elementwise, fused_attention, layer_norm, linear, matmul, softmax
from ..parameters import Parameter, vectors
from ..symbolic import Size
from .attention import BIAS_ALIGNMENT
from .padding import without_padding
from .sam_positions import parts_of_bias, relative_positions, resize


def encoder(sam: Sam, images: Size, side: int, many: Size, attention: str, engine: Engine = REFERENCE) -> Kernels:
    """[images, channels, side, side] pixels → [images, downsample_widths[-1], side/patch/4, side/patch/4].

    `many` is 1 for several images, whose layouts need some copies, and 0 for one.
    """
    grid = side // sam.patch
    x = images * grid * grid * sam.width
    pixels = images * sam.channels * side * side * HALF
    shape = (images, sam.channels, sam.width, sam.patch, side, grid)
    embedded = convolution("patch_embed", *shape, bias=True, io=pixels, pattern=Pattern.SIMT)
    if engine.linear_patches:
        yield copy("patches", images * sam.channels * side * side)._replace(io_bytes=pixels)
        rows, width = images * grid * grid, sam.channels * sam.patch * sam.patch
        product = linear("patch_embed", rows, width, sam.width, frees=pixels)
        yield product._replace(parameters=embedded.parameters)
    else:
        yield embedded
    yield from under("positions", absolute_positions(sam, x, grid))
    blocks, whole = Loop("SAM's blocks"), tuple(sam.global_layers)
    windowed, others = (
        block(sam, images, grid, sam.window, many, attention, engine),
        Turns(blocks, range(sam.layers), whole),
    )
    yield from under("window", at_turns(windowed, others, sam.layers - len(whole)))
    alike = block(sam, images, grid, 0, many, attention, engine)
    yield from under("global", at_turns(alike, Turns(blocks, whole), len(whole)))
    yield from under("neck", neck(sam, images, grid, engine))
    yield from under("downsample", downsample(sam, images, grid, engine))


def absolute_positions(sam: Sam, x: Size, grid: int) -> Kernels:
    """Adds the trained position table, resized (bicubic, antialiased) if the view has another size."""
    trained = sam.image_side // sam.patch
    resized = grid * grid * sam.width
    if grid == trained:
        table = (Parameter("table", trained * trained, sam.width),)
        yield elementwise("add", "add", x, parameters=table, frees=x * HALF, pattern=Pattern.TRANSPOSED)
        return
    yield from resize(sam.width, trained, grid)
    frees = (x * HALF, resized * HALF)
    yield elementwise("add", "add", x, also=resized * HALF, frees=frees, pattern=Pattern.TRANSPOSED)


def block(
    sam: Sam, images: Size, grid: int, window: int, many: Size, attention: str, engine: Engine = REFERENCE
) -> Kernels:
    """A block over [images, grid², width]: attention inside each window, after padding to whole windows, or global.

    One window for the whole map needs no copy into windows and back, and a map of whole windows none that crops it.
    """
    x = images * grid * grid * sam.width
    yield layer_norm("norm1", images * grid * grid, sam.width, copied=True)
    if window:
        across = ceil(grid / window)
        padded = images * across * across * window * window * sam.width
        apart, cropped = padded * (across > 1), x * (grid % window > 0)
        yield copy("pad", x, into=padded)
        yield copy("partition", apart, frees=apart * HALF)
        yield released(x * HALF)
        maps, several = images * across * across, 1 if across > 1 else many
        attn = self_attention(sam, maps, window, window, several, attention, engine)
        yield from under("attn", without_padding(sam, images, grid, window, attn))
        yield released(padded * HALF)
        yield copy("unpartition", apart)
        yield copy("crop", cropped, frees=(apart * HALF, padded * (grid % window > 0) * HALF))
    else:
        trained = sam.image_side // sam.patch
        yield from under("attn", self_attention(sam, images, grid, trained, many, attention, engine))
        yield released(x * HALF)
    yield elementwise("residual1", "add", x, also=x * HALF, frees=x * HALF, pattern=Pattern.TRANSPOSED)
    yield layer_norm("norm2", images * grid * grid, sam.width, copied=True)
    yield from under("mlp", mlp(images * grid * grid, sam.width, sam.mlp_width))
    yield elementwise("residual2", "add", x, also=x * HALF, frees=(x * HALF,) * 4, pattern=Pattern.TRANSPOSED)
    if not ATTENTION[attention].fused:
        yield released(_scores(sam, images, grid, window) * HALF)


def _scores(sam: Sam, images: Size, grid: int, window: int) -> Size:
    across, side = (ceil(grid / window), window) if window else (1, grid)
    return images * across * across * sam.heads * side**4


def mlp(rows: Size, width: int, hidden: int) -> Kernels:
    """linear, GELU, linear."""
    yield linear("lin1", rows, width, hidden)
    yield elementwise("gelu", "gelu", rows * hidden, frees=rows * hidden * HALF)
    yield linear("lin2", rows, hidden, width, frees=rows * hidden * HALF)


def self_attention(
    sam: Sam, maps: Size, side: int, trained: int, many: Size, attention: str, engine: Engine = REFERENCE
) -> Kernels:
    """Attention inside each of [maps, side², width]; if it is not fused, its probabilities stay allocated.

    One head lies as the products take it, whatever `many` says of the maps.
    """
    dim, heads = sam.width // sam.heads, int(sam.heads > 1)
    tokens = maps * side * side
    out, scores = tokens * sam.width, maps * sam.heads * side**4
    yield linear("qkv", tokens, sam.width, 3 * sam.width)
    yield copy("split_heads", 3 * out * many * heads)
    qkv = (3 * out * HALF, 3 * out * many * heads * HALF)
    if not ATTENTION[attention].fused:
        yield elementwise("scale", "mul", out)
        yield matmul("scores", maps * sam.heads, side * side, dim, side * side, frees=out * HALF)
        yield from under("rel_pos", relative_positions(sam, maps, side, trained, many))
        yield elementwise("bias", "add", scores, also=scores * HALF, frees=scores * HALF)
        yield cast("to_float", scores, HALF, FLOAT)
        yield softmax("softmax", scores, frees=scores * FLOAT)
        yield cast("to_half", scores, FLOAT, HALF, frees=(scores * FLOAT, scores * HALF))
        yield matmul("values", maps * sam.heads, side * side, side * side, dim)
        yield copy("merge_heads", out * heads, frees=out * heads * HALF)
    else:
        yield from under("rel_pos", relative_positions(sam, maps, side, trained, many, engine))
        row = -(-side * side // BIAS_ALIGNMENT) * BIAS_ALIGNMENT
        padded = maps * sam.heads * side * side * row if row != side * side else 0
        if padded != 0:
            pattern = Pattern.STRIDED if engine.padded_bias else Pattern.ABSORBED
            yield copy("pad_bias", scores, into=padded)._replace(pattern=pattern, launches=2)  # it is filled first
        vector = out * VECTOR_FLOPS["mul"] + scores * (VECTOR_FLOPS["add"] + VECTOR_FLOPS["softmax"])
        yield fused_attention(
            "fused",
            maps,
            sam.heads,
            side * side,
            side * side,
            dim,
            vector=vector,
            bias=scores * HALF,
            frees=padded * HALF,
        )
    yield linear("proj", tokens, sam.width, sam.width, frees=out * HALF)
    yield released(*qkv, scores * HALF, *parts_of_bias(sam, maps, side, engine))


def neck(sam: Sam, images: Size, grid: int, engine: Engine = REFERENCE) -> Kernels:
    """A 1×1 and a 3×3 convolution, each followed by a norm over its channels."""
    if engine.original_sam:
        yield from _written_out_neck(sam, images, grid)
        return
    points = images * grid * grid
    narrow = points * sam.neck_width * HALF
    shape = (images, sam.width, sam.neck_width, 1, grid, grid)
    yield convolution("conv1", *shape, pattern=Pattern.PRODUCT, launches=1)
    yield layer_norm("norm1", points, sam.neck_width, frees=narrow, copied=True)
    conv = convolution("conv2", images, sam.neck_width, sam.neck_width, 3, grid, grid)
    norm = layer_norm("norm2", points, sam.neck_width, frees=(narrow, narrow, points * sam.width * HALF))
    # The convolution frees what it reads. The L2 rule would take the tensor for its result, of the same size.
    yield conv._replace(frees=allocated(narrow))
    yield norm._replace(frees=norm.frees - allocated(narrow))


def downsample(sam: Sam, images: Size, grid: int, engine: Engine = REFERENCE) -> Kernels:
    """Two 3×3 convolutions with stride 2."""
    first, second = sam.downsample_widths
    half, quarter = ceil(grid / 2), ceil(grid / 4)
    yield convolution("conv1", images, sam.neck_width, first, 3, grid, half)
    between = images * half * half * first * engine.original_tower
    if engine.original_tower:  # profiles have the places of lines: no other engine gets one more
        yield copy("clone", between)
    yield convolution("conv2", images, first, second, 3, half, quarter)
    yield released(between * HALF, images * grid * grid * sam.neck_width * HALF, images * half * half * first * HALF)


def _written_out_neck(sam: Sam, images: Size, grid: int) -> Kernels:
    """The same with norms in ten kernels each."""
    points = images * grid * grid
    shape = (images, sam.width, sam.neck_width, 1, grid, grid)
    yield convolution("conv1", *shape, pattern=Pattern.PRODUCT, launches=1)
    yield from under("norm1", channel_norm(points, sam.neck_width))
    yield convolution("conv2", images, sam.neck_width, sam.neck_width, 3, grid, grid)
    yield released(points * sam.neck_width * HALF, points * sam.width * HALF)
    yield from under("norm2", channel_norm(points, sam.neck_width))


def channel_norm(points: Size, channels: int) -> Kernels:
    """(x - mean) / √(variance + ε) over the channels of each point, times a weight, plus a bias; frees x."""
    x, row = points * channels, points * HALF
    yield kernel("mean", vector=x * VECTOR_FLOPS["mean"], reads=x * HALF, writes=row, pattern=Pattern.REDUCTION)
    yield elementwise("centre", "add", x, also=row, pattern=Pattern.STRIDED)
    yield elementwise("square", "square", x, frees=x * HALF)
    yield kernel(
        "variance",
        vector=x * VECTOR_FLOPS["mean"],
        reads=x * HALF,
        writes=row,
        frees=x * HALF,
        pattern=Pattern.REDUCTION,
    )
    yield elementwise("centre_again", "add", x, also=row, pattern=Pattern.STRIDED)
    yield elementwise("epsilon", "add", points)
    yield elementwise("root", "sqrt", points, frees=row)
    yield elementwise("divide", "div", x, also=row, frees=(x * HALF, row, x * HALF), pattern=Pattern.STRIDED)
    yield elementwise(
        "weight", "mul", x, parameters=vectors(channels), frees=(x * HALF, row, row), pattern=Pattern.STRIDED
    )
    yield elementwise("bias", "add", x, parameters=vectors(channels), frees=x * HALF, pattern=Pattern.STRIDED)
