"""A decoder as encoder over SAM's features and as many learned queries, which alone leave it.

Source: transformers 5.23, modeling_deepseek_ocr2.py, DeepseekOcr2VisionModel and DeepseekOcr2Vision*; masking_utils.py.
"""

from __future__ import annotations

from ..architecture import QueryEncoder
from ..attention import ATTENTION
from ..geometry import queries
from ..kernels import HALF, INDEX, Kernel, Kernels, held, in_place, kernel, released, repeated, under
from ..operations import linear
from ..parameters import Parameter
from ..symbolic import Size
from . import attention as attend
from .decoder import ended, layer
from .decoder_parts import gated_mlp, rms_norm
from .rotary import rotary_tables, rotate

BOOL = 1  # bytes


def encoder(q: QueryEncoder, images: Size, side: int, many: Size, attention: str) -> Kernels:
    """[images, width, √n, √n] features of SAM → [images, 2n, width], of which the last n of each image are read."""
    n = queries(side) ** 2
    x, dim = images * 2 * n * q.width * HALF, q.width // q.heads
    yield from joined_queries(q, images, n, side)
    yield kernel("positions", writes=2 * n * INDEX)
    yield from under("mask", mask(images, n, ATTENTION[attention].fused))
    yield from under("rope", rotary_tables(2 * n, dim))
    embedded = held(x)  # the caller keeps the first layer's stream until the last norm is done
    yield from (embedded,) * (q.layers > 1)
    stack = list(block(q, images, n, many, attention))
    yield from ended(stack, repeated(stack, q.layers), last_queries(q, images, n, many, attention))
    yield from (embedded,) * (q.layers == 1)
    yield from under("final_norm", rms_norm(images * 2 * n, q.width))
    mask_bytes = images * 4 * n * n * (BOOL if ATTENTION[attention].fused else HALF)
    ids, tables = (2 * n * INDEX, images * 2 * n * INDEX), (2 * n * dim * HALF,) * 2
    yield released(x, x, *ids, mask_bytes, *tables, images * n * q.width * HALF)


def joined_queries(q: QueryEncoder, images: Size, n: int, side: int) -> Kernels:
    """Features and the queries of views of that side, one after the other. A process holds all tables of queries."""
    table, tables = n * q.width * HALF, sum(queries(each) ** 2 for each in q.query_sides) * q.width * HALF
    features = images * n * q.width * HALF
    assert side in q.query_sides  # as the rules of a configuration have it
    ours = (Parameter("matrix", n, q.width),)
    yield kernel(
        "queries", reads=features, weights=table, resident=tables, used=table, writes=2 * features, parameters=ours
    )


def mask(images: Size, n: int, fused: bool) -> Kernels:
    """Which keys each of 2n tokens sees: booleans [images, 1, 2n, 2n], or the numbers that eager attention adds.

    Group 0 is the features, which see one another; the queries, in no group, see all that comes before.
    """
    t = 2 * n
    ids, row, groups = t * INDEX, images * t * INDEX, images * t * t * BOOL
    yield kernel("no_group", writes=row)
    yield kernel("zero", writes=INDEX)
    yield in_place(kernel("features", reads=INDEX, writes=images * n * INDEX))._replace(freed=(), frees=0)
    yield released(INDEX)
    yield kernel("images", writes=images * INDEX)
    yield kernel("heads", writes=INDEX)
    for name in ("query", "key"):
        yield kernel(f"{name}_range", writes=ids)
        yield kernel(f"{name}_offset", reads=ids, writes=ids, frees=ids)
    yield kernel("none", reads=ids, writes=BOOL)
    yield kernel("causal", reads=(ids, ids), writes=t * t * BOOL)
    yield kernel("causal_too", reads=(BOOL, t * t * BOOL), writes=t * t * BOOL, frees=(t * t * BOOL, BOOL))
    for name in ("query", "key"):
        yield kernel(f"{name}_group", reads=(row, images * INDEX, ids), writes=row)
    yield kernel("same_group", reads=(row, row), writes=groups)
    yield kernel("in_group", reads=row, writes=images * t * BOOL)
    yield kernel(
        "together",
        reads=(groups, images * t * BOOL),
        writes=groups,
        frees=(groups, images * t * BOOL, row, row),
    )
    yield kernel(
        "seen",
        reads=(t * t * BOOL, groups),
        writes=groups,
        frees=(groups, t * t * BOOL, images * INDEX, INDEX, ids, ids),
    )
    if not fused:
        for number in ("nothing", "hidden"):
            yield kernel(number, writes=HALF)
        yield kernel("numbers", reads=(groups, HALF, HALF), writes=groups * HALF, frees=(groups, HALF, HALF))


def unseen(n: int) -> int:
    """Pairs of a token and a key that the mask hides: all queries of a feature, and the later ones of a query."""
    return n * n + n * (n - 1) // 2


def block(q: QueryEncoder, images: Size, n: int, many: Size, attention: str) -> Kernels:
    """Pre-norm attention and MLP, each added to the stream [images, 2n, width]."""
    rows = images * 2 * n
    attn = under("attn", self_attention(q, images, 2 * n, 2 * n, many, attention, unseen(n)))
    yield from layer(rows, q.width, attn, under("mlp", gated_mlp(rows, q.width, q.mlp_width)))
    yield from attend.probabilities(images, q.heads, 2 * n, 2 * n, attention)


def last_queries(q: QueryEncoder, images: Size, n: int, many: Size, attention: str) -> list[Kernel]:
    """The last layer for the queries: all of it that is needed, but for the features' keys and values."""
    attn = under("attn", self_attention(q, images, n, 2 * n, many, attention, n * (n - 1) // 2))
    mlp = under("mlp", gated_mlp(images * n, q.width, q.mlp_width))
    whole = {"attn/k_proj", "attn/v_proj"}
    enough = layer(images * n, q.width, attn, mlp)
    return [k._replace(tensor_flops=2 * k.tensor_flops) if k.path in whole else k for k in enough]


def self_attention(e: QueryEncoder, images: Size, q: int, kv: int, many: Size, attention: str, hidden: int) -> Kernels:
    """Projections with biases, rotary positions, keys and values repeated for the heads that share them, attention."""
    rows, dim = images * q, e.width // e.heads
    query, keys = rows * e.width * HALF, rows * e.kv_heads * dim * HALF
    for name, out in (("q_proj", e.heads * dim), ("k_proj", e.kv_heads * dim), ("v_proj", e.kv_heads * dim)):
        yield linear(name, rows, e.width, out)
    yield from under("rope_q", rotate(rows * e.heads, dim, q * dim * HALF))
    yield from under("rope_k", rotate(rows * e.kv_heads, dim, q * dim * HALF))
    yield released(query, keys)
    for name in ("repeat_k", "repeat_v"):
        yield from attend.repeat(name, images, e.heads, e.kv_heads, kv, dim)
    copies = (attend.repeated_bytes(images, e.heads, e.kv_heads, kv, dim),) * 2
    if ATTENTION[attention].fused:
        yield from attend.fused_with_mask(images, e.heads, q, kv, dim, unseen=hidden)
    else:
        apart = many if e.heads == e.kv_heads else 0  # copies lie as a product takes them
        mask = images * q * kv
        yield from attend.eager(images, e.heads, q, kv, dim, mask=mask, q_copy=many, kv_copy=apart, unseen=hidden)
    yield released(*copies)
    yield linear("o_proj", rows, e.heads * dim, e.width, bias=False, frees=query)
    yield released(query, keys, keys)
