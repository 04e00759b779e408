"""Every module class of the reference model, run by itself on the meta device, and the generator that stands for it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch

from ..model.architecture import Architecture, Clip, QueryEncoder
from ..model.attention import ATTENTION
from ..model.geometry import queries
from ..model.kernels import Kernel
from ..model.layers import clip, decoder, decoder_parts, moe, projector, query_encoder, rotary, sam
from ..model.layers.decoder_cache import Window
from . import build, families, forward
from .families import ReferenceModel
from .layer_call import LayerCall, called, tensor
from .native_layer_calls import native_layer_calls


def layer_calls(model: Architecture, attention: str, experts: str) -> Iterator[LayerCall]:
    """Every module class of the reference model on small inputs: two views, two prompts of 37 tokens."""
    built = build.on_meta(model, attention, experts)
    if model.patch_encoder is not None:
        yield from native_layer_calls(model, built, attention)
        return
    yield from _sam_calls(model, built, attention)
    if model.clip is not None:
        yield from _clip_calls(model, model.clip, built, attention)
    if model.query_encoder is not None:
        yield from _query_calls(model, model.query_encoder, built, attention)
    yield from _decoder_calls(model, built, attention, experts)


def _sam_calls(
    model: Architecture, built: ReferenceModel, attention: str, images: int = 2, side: int = 640
) -> Iterator[LayerCall]:
    s, encoder = model.with_sam, built.model.vision_tower.sam_encoder
    grid, trained = side // s.patch, s.image_side // s.patch
    windowed = next(i for i in range(s.layers) if i not in s.global_layers)
    pixels = tensor(images, s.channels, side, side)
    stream, narrow = tensor(images, grid, grid, s.width), tensor(images, s.neck_width, grid, grid)
    windows = images * (-(-grid // s.window)) ** 2
    whole = list(sam.encoder(s, images, side, 1, attention))
    yield called(encoder.patch_embed, (k for k in whole if k.path == "patch_embed"), pixels)
    for what, at, maps, across, table in (
        ("windowed", windowed, windows, s.window, s.window),
        ("global", s.global_layers[0], images, grid, trained),
    ):
        block = encoder.layers[at]
        attend = sam.self_attention(s, maps, across, table, 1, attention)
        yield called(block.attn, attend, tensor(maps, across, across, s.width), what=what)
        yield called(block, sam.block(s, images, grid, block.window_size, 1, attention), stream, what=what)
    yield called(encoder.layers[0].mlp, sam.mlp(images * grid * grid, s.width, s.mlp_width), stream)
    neck = list(sam.neck(s, images, grid))
    yield called(encoder.neck.layer_norm1, (k for k in neck if k.path == "norm1"), narrow)
    yield called(encoder.neck, neck, stream)
    yield called(encoder.proj, sam.downsample(s, images, grid), narrow)
    yield called(encoder, whole, pixels)


def _clip_calls(
    model: Architecture, c: Clip, built: ReferenceModel, attention: str, images: int = 2, side: int = 640
) -> Iterator[LayerCall]:
    s, tower = model.with_sam, built.model.vision_tower
    clip_encoder, patches = tower.vision_encoder, side // s.patch // 4
    tokens = patches * patches + 1
    features = tensor(images, s.downsample_widths[-1], patches, patches)
    embedded = tensor(images, tokens, c.width)
    yield called(clip_encoder.embeddings, clip.embeddings(c, images, patches), features)
    block = clip_encoder.encoder.layers[0]
    yield called(block.self_attn, clip.self_attention(c, images, tokens, 1, attention), embedded)
    yield called(block.mlp, clip.mlp(images * tokens, c.width, c.mlp_width), embedded)
    yield called(block, clip.block(c, images, tokens, 1, attention), embedded, None)
    stack = [k for _ in range(c.layers) for k in clip.block(c, images, tokens, 1, attention)]
    yield called(clip_encoder.encoder, stack, embedded)
    encoded = list(clip.encoder(c, images, patches, 1, attention))
    yield called(clip_encoder, encoded, features)
    join = projector.join(images, patches, c.width, s.downsample_widths[-1])
    whole = sam.encoder(s, images, side, 1, attention)
    yield called(tower, [*whole, *encoded, join], tensor(images, s.channels, side, side))
    wide = c.width + s.downsample_widths[-1]
    project = projector.project(images, patches, wide, model.decoder.width)
    linear = built.model.multi_modal_projector
    yield called(linear, [project], tensor(images, patches * patches, wide), what="projector")


def _query_calls(
    model: Architecture, e: QueryEncoder, built: ReferenceModel, attention: str, images: int = 2
) -> Iterator[LayerCall]:
    """On views of the first side that has queries, whose encoder takes features [images, n, width] and as many more."""
    tower, side = built.model.vision_tower, e.query_sides[0]
    encoder, n, dim = tower.vision_encoder, queries(side) ** 2, e.width // e.heads
    rows, x = images * 2 * n, tensor(images, 2 * n, e.width)
    tables = (tensor(1, 2 * n, dim), tensor(1, 2 * n, dim))
    fused = ATTENTION[attention].fused
    mask = torch.empty(images, 1, 2 * n, 2 * n, device="meta", dtype=torch.bool if fused else torch.bfloat16)
    block = encoder.layers[0]
    attn = list(query_encoder.self_attention(e, images, 2 * n, 2 * n, 1, attention, query_encoder.unseen(n)))
    norm = list(decoder_parts.rms_norm(rows, e.width))
    yield called(encoder.rotary_emb, rotary.rotary_tables(2 * n, dim), x, torch.arange(2 * n, device="meta")[None])
    yield called(block.input_layernorm, norm, x)
    yield called(block.self_attn, attn, x, attention_mask=mask, position_embeddings=tables)
    yield called(block.mlp, decoder_parts.gated_mlp(rows, e.width, e.mlp_width), x)
    layer = query_encoder.block(e, images, n, 1, attention)
    yield called(block, layer, x, attention_mask=mask, position_embeddings=tables)
    whole = list(query_encoder.encoder(e, images, side, 1, attention))
    yield LayerCall(encoder, "", lambda: encoder(inputs_embeds=x, num_patches=n), whole[1:])  # after its queries
    features = sam.encoder(model.with_sam, images, side, 1, attention)
    yield called(tower, [*features, *whole], tensor(images, model.with_sam.channels, side, side))
    project = projector.project_some(images, queries(side), e.width, model.decoder.width, 1)
    yield called(built.model.multi_modal_projector, project, x[:, n:], what="projector")


def _decoder_calls(
    model: Architecture, built: ReferenceModel, attention: str, experts: str, batch: int = 2, q: int = 37
) -> Iterator[LayerCall]:
    d, text = model.decoder, built.model.language_model
    x, rows, dim = tensor(batch, q, d.width), batch * q, d.width // d.heads
    tables = (tensor(1, q, dim), tensor(1, q, dim))
    mask = forward.causal_mask(q, q, x) if not ATTENTION[attention].fused else None
    positions = torch.arange(q, device="meta")[None]
    dense, sparse = text.layers[0], text.layers[-1]
    flat = x.view(-1, d.width)
    picks = torch.zeros(rows, d.experts_per_token, dtype=torch.long, device="meta")
    weights = torch.zeros(rows, d.experts_per_token, device="meta")

    def attending(module: torch.nn.Module, kernels: Iterable[Kernel], what: str = "") -> LayerCall:
        def call() -> object:
            cached = forward.cache(built)
            return module(x, position_embeddings=tables, attention_mask=mask, past_key_values=cached)

        return LayerCall(module, what, call, kernels)

    window = Window(q, 0) if d.window else None
    attn = list(decoder_parts.self_attention(d, batch, q, q, 0, 1, attention, window=window))
    gated = list(decoder_parts.gated_mlp(rows, d.width, d.dense_width))
    mixture = list(moe.mixture(d, rows, experts))
    yield called(text.rotary_emb, rotary.rotary_tables(q, dim), x, positions)
    yield called(dense.input_layernorm, decoder_parts.rms_norm(rows, d.width), x)
    yield attending(dense.self_attn, attn)
    yield called(dense.mlp, gated, x, what="dense")
    shared = decoder_parts.gated_mlp(rows, d.width, d.shared_experts * d.expert_width)
    yield called(sparse.mlp.shared_experts, shared, x, what="shared experts")
    yield called(sparse.mlp.gate, moe.router(d, rows), flat)
    yield called(sparse.mlp.experts, moe.EXPERTS[experts](d, rows), flat, picks, weights, what=experts)
    yield called(sparse.mlp, mixture, x, what=experts)
    yield attending(dense, decoder.layer(rows, d.width, attn, gated), "dense")
    yield attending(sparse, decoder.layer(rows, d.width, attn, mixture), f"sparse, {experts}")
    stack = decoder.layers(d, batch, q, q, 0, 1, attention, experts, window=window)
    full = families.of(model).masks(mask)
    yield LayerCall(
        text,
        experts,
        lambda: text(
            inputs_embeds=x,
            position_ids=positions,
            attention_mask=full,
            past_key_values=forward.cache(built),
            use_cache=True,
        ),
        stack,
    )
    ids = torch.zeros(batch, q, dtype=torch.long, device="meta")
    yield called(text.embed_tokens, decoder.embed(d, rows), ids)
    yield called(built.lm_head, decoder.head(d, rows, batch), x, what="head")
