"""The modules of a model at a page's own resolution, run by themselves on the meta device, and their generators."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from ..model.architecture import Architecture
from ..model.attention import ATTENTION
from ..model.geometry import Workload
from ..model.layers import decoder, decoder_parts, patch_encoder, patch_merger, rotary
from . import forward
from .families import ReferenceModel
from .host_numbers import page_ends, page_grids
from .layer_call import LayerCall, called, tensor

PAGES, Q = 2, 37  # two pages of 4x3 tiles, two prompts of 37 tokens


def native_layer_calls(model: Architecture, built: ReferenceModel, attention: str) -> Iterator[LayerCall]:
    """Every module class of the encoder, of what merges its patches, and of the decoder."""
    yield from _encoder_calls(model, built, attention)
    yield from _decoder_calls(model, built, attention)


def _encoder_calls(model: Architecture, built: ReferenceModel, attention: str) -> Iterator[LayerCall]:
    e, visual = model.patch_encoder, built.model.visual
    assert e is not None
    work = Workload("4x3", batch=PAGES).cut_by(model.tiling)
    patches = work.image_tokens * e.merge**2
    rows, dim = PAGES * patches, e.width // e.heads
    x, tables = tensor(rows, e.width), tuple(torch.empty(rows, dim, device="meta") for _ in range(2))
    ends = page_ends(work, e.merge)
    stack = visual.vision_model.encoder if e.nested else visual
    block = (stack.layers if e.nested else stack.blocks)[0]
    attn = block.self_attn if e.nested else block.attn
    positions = torch.empty(rows, 2, dtype=torch.long, device="meta")
    yield called(stack.rotary_pos_emb, rotary.axial_tables(rows, dim), x, positions)
    first = block.layer_norm1 if e.nested else block.norm1
    yield called(first, patch_encoder.NORMS[e.norm](rows, e.width), x)
    mlp = patch_encoder.mlp(e, rows)
    whole: dict[str, Any] = {"cu_seqlens": ends, "position_embeddings": tables}
    yield called(attn, patch_encoder.self_attention(e, PAGES, patches, attention), x, **whole)
    yield called(block.mlp, mlp, x)
    yield called(block, patch_encoder.block(e, PAGES, patches, attention), x, **whole)
    merged = list(patch_merger.MERGERS[e.merger](e, PAGES, work.image_tokens, 1, model.decoder.width))
    if e.nested:
        yield called(built.model.projector, merged, x, page_grids(work, e.merge))
    else:  # the convolution is a module of the encoder
        yield called(visual.merger, merged[1:], tensor(PAGES * work.image_tokens, model.decoder.width))


def _decoder_calls(model: Architecture, built: ReferenceModel, attention: str) -> Iterator[LayerCall]:
    d, text = model.decoder, built.model.language_model
    rows, x = PAGES * Q, tensor(PAGES, Q, d.width)
    tables = (tensor(PAGES, Q, d.dim), tensor(PAGES, Q, d.dim))
    mask = forward.causal_mask(Q, Q, x) if not ATTENTION[attention].fused else None
    positions = torch.empty(len(d.rope_sections), PAGES, Q, dtype=torch.long, device="meta")
    first = text.layers[0]
    attn = list(decoder_parts.self_attention(d, PAGES, Q, Q, 0, 1, attention))
    mlp = list(decoder_parts.dense_mlp(d, rows))

    def attending(module: torch.nn.Module, kernels: Any) -> LayerCall:
        def call() -> object:
            cached = forward.cache(built)
            return module(x, position_embeddings=tables, attention_mask=mask, past_key_values=cached)

        return LayerCall(module, "", call, kernels)

    yield called(text.rotary_emb, decoder_parts.tables(d, PAGES, Q), x, positions)
    yield called(first.input_layernorm, decoder_parts.rms_norm(rows, d.width), x)
    yield attending(first.self_attn, attn)
    yield called(first.mlp, mlp, x)
    yield attending(first, decoder.layer(rows, d.width, attn, mlp, late_norms=d.late_norms))
    stack = decoder.layers(d, PAGES, Q, Q, 0, 1, attention, d.prefill_experts)
    named = {"position_ids": positions, "attention_mask": mask, "use_cache": True}
    yield LayerCall(text, "", lambda: text(inputs_embeds=x, past_key_values=forward.cache(built), **named), stack)
    yield called(text.embed_tokens, decoder.embed(d, rows), torch.zeros(PAGES, Q, dtype=torch.long, device="meta"))
    yield called(built.lm_head, decoder.head(d, rows, PAGES), x, what="head")
