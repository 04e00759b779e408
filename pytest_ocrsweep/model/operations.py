"""The operations that layers consist of: each function gives one kernel from its shapes.

Sizes are element counts unless a name says bytes.
"""

from __future__ import annotations

from .kernels import FLOAT, HALF, INT, VECTOR_FLOPS, Kernel, Pattern, Sizes, kernel
from .parameters import Parameter, Parameters, vectors
from .symbolic import Size

# That no product can take in: one FLOP an element. Cosines of positions can be a table that was made before.
FUNCTIONS = ("sigmoid", "silu", "gelu", "softmax")


def linear(path: str, rows: Size, width: int, out: int, *, bias: bool = True, frees: Sizes = 0) -> Kernel:
    """[rows, width] @ [width, out] + [out]."""
    return kernel(
        path,
        tensor=2 * rows * width * out,
        vector=rows * out * VECTOR_FLOPS["add"] if bias else 0,
        reads=rows * width * HALF,
        weights=(width * out + (out if bias else 0)) * HALF,
        writes=rows * out * HALF,
        frees=frees,
        pattern=Pattern.PRODUCT,
        work=2 * rows * width * out,
        parameters=(Parameter("matrix", out, width), *(vectors(out) if bias else ())),
    )


def convolution(
    path: str,
    images: Size,
    channels: int,
    out: int,
    window: int,
    side: int,
    out_side: int,
    *,
    bias: bool = False,
    io: Size = 0,
    pattern: Pattern = Pattern.BATCHED,
    launches: int = 2,
) -> Kernel:
    """[images, channels, side, side] * [out, channels, window, window] → [images, out, out_side, out_side]."""
    points = images * out_side * out_side
    tensor = 2 * points * out * channels * window * window
    one = kernel(
        path,
        tensor=tensor,
        vector=points * out * VECTOR_FLOPS["add"] if bias else 0,
        reads=images * channels * side * side * HALF,
        weights=(out * channels * window * window + (out if bias else 0)) * HALF,
        io=io,
        writes=points * out * HALF,
        pattern=pattern,
        work=tensor,
        launches=launches,
        parameters=(Parameter("convolution", out * channels * window, window), *(vectors(out) if bias else ())),
    )
    unneeded = tensor - 2 * images * _taps(window, side, out_side) ** 2 * channels * out
    return one._replace(unneeded=unneeded) if window % 2 else one


def _taps(window: int, side: int, out_side: int) -> int:
    """Pairs of an output and an input along one side of a padded convolution; the others meet zeros."""
    stride, reach = -(-side // out_side), window // 2
    return sum(0 <= stride * i + tap < side for i in range(out_side) for tap in range(-reach, reach + 1))


def matmul(
    path: str,
    batch: Size,
    m: Size,
    k: Size,
    n: Size,
    *,
    itemsize: int = HALF,
    frees: Sizes = 0,
    pattern: Pattern = Pattern.BATCHED,
) -> Kernel:
    """[batch, m, k] @ [batch, k, n]; a product in float32 takes a second kernel, which adds its parts."""
    moved = batch * (m * k + k * n + m * n) * itemsize
    return kernel(
        path,
        tensor=2 * batch * m * k * n,
        reads=(batch * m * k * itemsize, batch * k * n * itemsize),
        writes=batch * m * n * itemsize,
        frees=frees,
        pattern=Pattern.SIMT if itemsize == FLOAT else pattern,
        work=moved if pattern is Pattern.NARROW else 2 * batch * m * k * n,
        launches=2 if itemsize == FLOAT else 1,
    )


def elementwise(
    path: str,
    op: str,
    elements: Size,
    *,
    also: Size = 0,
    parameters: Parameters = (),
    itemsize: int = HALF,
    frees: Sizes = 0,
    pattern: Pattern = Pattern.STREAM,
) -> Kernel:
    """`op` over [elements], with a second operand of `also` bytes or of `parameters`."""
    one = kernel(
        path,
        vector=elements * VECTOR_FLOPS[op],
        reads=(elements * itemsize, also),
        weights=sum(each.elements for each in parameters) * HALF,
        writes=elements * itemsize,
        frees=frees,
        pattern=pattern,
        work=0 if pattern is Pattern.STREAM else elements,
        parameters=parameters,
    )
    return one._replace(functions=elements) if op in FUNCTIONS else one


def softmax(path: str, elements: Size, *, frees: Sizes = 0) -> Kernel:
    """A softmax over the last dimension, in float32."""
    return elementwise(path, "softmax", elements, itemsize=FLOAT, frees=frees)


def layer_norm(path: str, rows: Size, width: int, *, frees: Sizes = 0, copied: bool = False) -> Kernel:
    """Normalises [rows, width], and writes the mean and deviation of each row in float32.

    An operand whose rows do not lie side by side is `copied` first, inside the same operation.
    """
    statistics, passes = rows * FLOAT, 1 + copied
    return kernel(
        path,
        vector=rows * width * VECTOR_FLOPS["layer_norm"],
        reads=rows * width * HALF,
        weights=2 * width * HALF,
        writes=(rows * width * HALF, statistics, statistics),
        frees=(statistics, statistics, *(frees if isinstance(frees, tuple) else (frees,))),
        pattern=Pattern.NORM,
        work=passes * rows * width,
        launches=passes,
        parameters=vectors(width, 2),
    )


def cast(
    path: str, elements: Size, source: int, target: int, *, parameters: Parameters = (), frees: Sizes = 0
) -> Kernel:
    """A copy of [elements], `source` bytes each, to `target` bytes each; of activations, or of `parameters`."""
    size, widened = elements * source, source < target  # PyTorch unrolls a cast to a wider type instead of vectorising
    return kernel(
        path,
        reads=0 if parameters else size,
        weights=size if parameters else 0,
        writes=elements * target,
        frees=frees,
        pattern=Pattern.STRIDED if widened else Pattern.STREAM,
        work=elements if widened else 0,
        parameters=parameters,
    )


def copy(path: str, elements: Size, *, into: Size | None = None, frees: Sizes = 0) -> Kernel:
    """A copy of [elements] into another order, in a tensor with `into` elements, by default as many."""
    return kernel(
        path,
        reads=elements * HALF,
        writes=(elements if into is None else into) * HALF,
        frees=frees,
        pattern=Pattern.STRIDED,
        work=elements if into is None else into,
    )


def fused_attention(
    path: str,
    batch: Size,
    heads: int,
    q: Size,
    kv: Size,
    dim: int,
    *,
    vector: Size,
    bias: Size = 0,
    causal: bool = False,
    frees: Sizes = 0,
    kv_heads: int | None = None,
) -> Kernel:
    """softmax(Q Kᵀ + bias) V in one kernel, with no scores in memory. `vector` is the count of eager attention.

    Heads may share the keys of fewer `kv_heads`.
    """
    products, query = 2 * batch * heads * q * kv * dim, batch * heads * q * dim
    key = batch * (kv_heads or heads) * kv * dim
    one = kernel(
        path,
        tensor=2 * products,
        vector=vector,
        reads=(query * HALF, key * HALF, key * HALF, bias),
        writes=query * HALF,
        frees=frees,
        pattern=Pattern.ATTENTION if bias == 0 else Pattern.NARROW,
        launches=2,  # a fill of its statistics goes first
        work=(products if causal else 2 * products) if bias == 0 else (2 * query + 2 * key) * HALF + bias,
    )
    if causal and q != 1:
        return one._replace(
            unneeded=2 * above_diagonal(batch, heads, q, dim), functions=below_diagonal(batch, heads, q)
        )
    return one._replace(functions=batch * heads * q * kv)


def above_diagonal(batch: Size, heads: int, q: Size, dim: int) -> Size:
    """Tensor FLOPs of one of attention's products whose key comes after its query: q (q - 1) / 2 of q² pairs."""
    return batch * heads * dim * (q * q - q)


def below_diagonal(batch: Size, heads: int, q: Size) -> Size:
    """Scores of a query and a key not after it, q (q + 1) / 2 a head; of an odd head only its pair is counted."""
    return batch * (heads // 2) * (q * q + q)


def grouped_matmul(
    path: str, rows: Size, width: int, out: int, experts: int, reached: Size, least: int, tensors: int = 1
) -> Kernel:
    """Each of [rows, width] times the [width, out] of its expert; reads the weights of the `reached` experts.

    No routing reaches fewer than `least`. An expert's weights are stored as `tensors`, side by side.
    """
    expert = width * out * HALF
    return kernel(
        path,
        tensor=2 * rows * width * out,
        reads=(rows * width * HALF, experts * INT),
        weights=reached * expert,
        resident=experts * expert,
        used=reached * expert,
        writes=rows * out * HALF,
        pattern=Pattern.GROUPED,
        work=2 * rows * width * out,
        parameters=(Parameter("experts", out // tensors, width, experts * tensors),),
    )._replace(least_bytes=least * expert)
