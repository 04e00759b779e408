"""The language model: `q` new tokens attend to `kv` keys. A prefill has (s, s), a decode step has (1, s + i).

Source: transformers 5.23, modeling_unlimited_ocr.py UnlimitedOcrText*, integrations/moe.py, cache_utils.py; where an
engine fuses norms: vLLM 0.26, model_executor/models/deepseek_v2.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from ..architecture import Decoder
from ..engine import REFERENCE, Engine
from ..kernels import FLOAT, HALF, INDEX, Kernel, Kernels, Pattern, allocated, held, kernel, released, repeated, under
from ..operations import cast, elementwise, linear
from ..parameters import Parameter
from ..symbolic import Size
from . import attention as attend
from .decoder_cache import Window
from .decoder_parts import dense_mlp, fused_norm, rms_norm, self_attention, table_bytes, tables
from .moe import mixture
from .quantised import quantising


def embed(decoder: Decoder, tokens: Size) -> Kernels:
    """One row of the embedding table for each token."""
    row = decoder.width * HALF
    yield kernel(
        "embed",
        reads=(tokens * INDEX, tokens * row),
        resident=decoder.vocabulary * row,
        used=row,  # whatever the tokens are, at least one row
        io=tokens * INDEX,
        writes=tokens * row,
        parameters=(Parameter("embedding", decoder.vocabulary, decoder.width),),
    )


def inputs(decoder: Decoder, tokens: Size, rows: Size) -> Kernel:
    """Copies embedded tokens into a buffer for `rows` of them. Source: vLLM 0.26, v1/worker/gpu_model_runner.py."""
    x = tokens * decoder.width * HALF
    one = kernel("inputs", reads=x, writes=x, frees=x)
    return one._replace(allocates=allocated(rows * decoder.width * HALF))


def head(decoder: Decoder, tokens: Size, pages: Size, engine: Engine = REFERENCE) -> Kernels:
    """Logits of every token over the whole vocabulary, of which a page's last token alone is needed.

    An engine that wants no others selects the last tokens first. No logits need to reach memory: a kernel may sample
    the token that it computes them for.
    """
    if engine.last_logits:
        row = decoder.width * HALF
        yield kernel("last", reads=(pages * row, pages * INDEX), writes=pages * row, pattern=Pattern.STRIDED)
        tokens = pages
    logits = linear("head", tokens, decoder.width, decoder.vocabulary, bias=False)
    unneeded = 2 * (tokens - pages) * decoder.width * decoder.vocabulary
    if not engine.float_logits:
        yield logits._replace(unneeded=unneeded, unneeded_bytes=logits.write_bytes)
        return
    yield logits._replace(unneeded=unneeded)
    logit = tokens * decoder.vocabulary
    wide = cast("logits_to_float", logit, HALF, FLOAT, frees=logit * HALF)
    yield wide._replace(unneeded_bytes=wide.write_bytes)


def layers(
    decoder: Decoder,
    batch: Size,
    q: Size,
    kv: Size,
    past: Size,
    many: Size,
    attention: str,
    experts: str,
    engine: Engine = REFERENCE,
    rows: Size | None = None,
    window: Window | None = None,
) -> Kernels:
    """Rotary tables, every layer, the last norm. The cache already holds `past` of the `kv` keys."""
    rows = batch * q if rows is None else rows
    x = rows * decoder.width * HALF
    shared = not engine.fused_rope and not engine.product_rope  # else a layer has its own, or none
    table = (table_bytes(decoder, batch, q),) * 2 if shared else ()
    if shared:
        yield from under("rope", tables(decoder, batch, q))
    attn = list(under("attn", self_attention(decoder, batch, q, kv, past, many, attention, engine, rows, window)))
    kept = list(attend.probabilities(batch, decoder.heads, q, kv, attention))
    dense = list(under("mlp", dense_mlp(decoder, rows, engine)))
    sparse = list(mixture(decoder, rows, experts, engine)) if decoder.layers > decoder.dense_layers else []
    last = [] if q == 1 else list(last_token(decoder, batch, kv, many, attention, experts, engine))
    counts = [(dense, decoder.dense_layers), (sparse, decoder.layers - decoder.dense_layers)]
    if engine.fused_norms:
        copies = 3 if engine.fused_experts else 1
        late = [Stack(dense, counts[0][1], 1, 1), Stack(sparse, counts[1][1], 2, copies)]
        yield from _summed_late(rows, decoder.width, attn, kept, [stack for stack in late if stack.times], last)
        yield released(*table)
        return
    stacks = [(mlp, times) for mlp, times in counts if times]
    yield from _two_streams(decoder, rows, attn, kept, stacks, last)
    yield from under("final_norm", rms_norm(rows, decoder.width))
    yield released(x, x, *table)  # the stream, the embedded tokens, cos and sin: the head sees none of them


Stacks = list[tuple[list[Kernel], int]]  # an MLP, and how many layers have it


class Stack(NamedTuple):
    """Equal layers whose sums are made by the norms after them."""

    mlp: list[Kernel]
    times: int
    results: int  # tensors that the MLP leaves, whose sum it is
    copies: int  # of its input: the operation of vLLM's experts takes three


def _two_streams(
    decoder: Decoder,
    rows: Size,
    attn: list[Kernel],
    kept: list[Kernel],
    stacks: list[tuple[list[Kernel], int]],
    last: list[Kernel],
) -> Kernels:
    """Layers that leave their input where it is: a new stream each time."""
    (mlp, times), *others = stacks
    # The caller keeps the embedded tokens until the last norm is done; they are the first layer's stream.
    width, late = decoder.width, decoder.late_norms
    embedded = held(rows * width * HALF)
    stack = [*layer(rows, width, attn, mlp, late_norms=late), *kept]
    yield from (embedded,) * (times > 1)  # of repeated layers the last is listed, which is not the first
    yield from ended(stack, repeated(stack, times), [] if others else last)
    yield from (embedded,) * (times == 1)
    for mlp, times in others:
        stack = [*layer(rows, width, attn, mlp, late_norms=late), *kept]
        yield from ended(stack, repeated(stack, times), last)


def _summed_late(
    rows: Size, width: int, attn: list[Kernel], kept: list[Kernel], stacks: list[Stack], last: list[Kernel]
) -> Kernels:
    """Layers that leave the parts of the residual stream, which the next norm adds; and the last norm."""
    groups = [(stack, times) for stack in stacks for times in (1, stack.times - 1) if times]
    parts = 1  # the embedded tokens
    for i, (stack, times) in enumerate(groups):
        layers = [*fused_layer(rows, width, attn, stack, parts), *kept]
        yield from ended(layers, repeated(layers, times), last if i == len(groups) - 1 else [])
        parts = 2 + stack.results
    yield fused_norm("final_norm", rows, width, parts=parts)
    yield released(*(rows * width * HALF,) * parts)


def last_token(
    decoder: Decoder, batch: Size, kv: Size, many: Size, attention: str, experts: str, engine: Engine = REFERENCE
) -> Kernels:
    """The last layer for each page's last token: all of it that is needed, but for the others' keys and values."""
    sparse, dim = decoder.layers > decoder.dense_layers, decoder.dim
    dense = under("mlp", dense_mlp(decoder, batch, engine))
    attn = under("attn", self_attention(decoder, batch, 1, kv, kv - 1, many, attention, engine))
    query, key = (2 * decoder.width * heads * dim for heads in (decoder.heads, decoder.kv_heads))
    of_all = {"attn/k_proj": batch * kv * key, "attn/v_proj": batch * kv * key}
    of_all |= {"attn/qkv_proj": batch * query + 2 * batch * kv * key}
    mlp = mixture(decoder, batch, experts, engine) if sparse else dense
    for k in layer(batch, decoder.width, attn, mlp, late_norms=decoder.late_norms):
        yield k._replace(tensor_flops=of_all[k.path]) if k.path in of_all else k


def ended(stack: Iterable[Kernel], layers: Iterable[Kernel], last: Iterable[Kernel]) -> Kernels:
    """The repeated `layers` of a `stack`, in the last of which what `last` does is enough."""
    whole, enough = {k.path: k for k in stack}, {k.path: k for k in last}
    for k in layers:
        if not enough or k.path not in whole:
            yield k
            continue
        one, needed = whole[k.path], enough.get(k.path, Kernel(k.path))
        unneeded = one.tensor_flops - one.unneeded - (needed.tensor_flops - needed.unneeded)
        yield k._replace(
            unneeded=k.unneeded + unneeded,
            functions=k.functions - one.functions + needed.functions,
        )


def layer(
    rows: Size,
    width: int,
    attn: Iterable[Kernel],
    mlp: Iterable[Kernel],
    *,
    late_norms: bool = False,
    norm: Callable[[Size, int], Kernels] = rms_norm,
) -> Kernels:
    """Pre-norm attention and MLP, each added to the stream [rows, width], after a norm of its own if it has one."""
    x = rows * width * HALF
    yield from under("norm1", norm(rows, width))
    yield from attn
    yield released(x)
    if late_norms:
        yield from under("attn_norm", rms_norm(rows, width))
        yield released(x)
    yield elementwise("residual1", "add", rows * width, also=x, frees=x)
    yield from under("norm2", norm(rows, width))
    yield from mlp
    yield released(x)
    if late_norms:
        yield from under("mlp_norm", rms_norm(rows, width))
        yield released(x)
    yield elementwise("residual2", "add", rows * width, also=x, frees=(x, x, x))


def fused_layer(rows: Size, width: int, attn: Iterable[Kernel], stack: Stack, parts: int) -> Kernels:
    """The same with both sums inside the norms: `parts` are those of the stream that it begins with.

    The sum after attention is not kept: the norm of the next layer makes it again. A norm that goes before a product of
    8-bit floats quantises for it, and the product frees what it reads.
    """
    x, attn = rows * width * HALF, list(attn)
    first = fused_norm("norm1", rows, width, parts=parts, keeps_sum=parts > 1)
    second = fused_norm("norm2", rows, width, parts=2, copies=stack.copies)
    yield quantising(first, rows, width) if attn[0].fp8 else first
    yield released(*(x,) * parts * (parts > 1))
    yield from attn
    yield released(*(x,) * (not attn[0].fp8))
    yield quantising(second, rows, width) if stack.mlp[0].fp8 else second
    yield from stack.mlp
    yield released(*(x,) * stack.copies * (not stack.mlp[0].fp8))
