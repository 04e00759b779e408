"""Our numbers beside the vendor's own, layer by layer and stage by stage; run as a module, it prints the tables."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import torch

from ..model.analytic import Model
from ..model.architecture import Architecture
from ..model.geometry import Workload
from ..model.kernels import Kernel
from ..model.layers import clip, decoder, projector, sam
from ..model.symbolic import poly
from . import build, dispatch_count, forward

NUMBERS = ("tensor_flops", "vector_flops", "read_bytes", "write_bytes")

meta_model = cache(build.build)


def ours(kernels: Iterable[Kernel]) -> tuple[int, ...]:
    """The four numbers of a layer laid out with plain ints."""
    sequence = list(kernels)
    return tuple(sum(poly(getattr(k, number)).at({}) * k.times for k in sequence) for number in NUMBERS)


def vendors(call: Callable[[], Any], experts_per_token: int) -> tuple[int, ...]:
    """The same four of a vendor call on the meta device: FlopCounterMode's, and the dispatcher's."""
    with dispatch_count.traffic(experts_per_token) as counter:
        call()
    seen = counter.traffic
    return (dispatch_count.tensor_flops(call), seen.vector_flops, seen.read_bytes, seen.write_bytes)


@dataclass(frozen=True, slots=True)
class Layer:
    """A vendor module run by itself, and the generator that stands for it."""

    module: Any
    what: str
    call: Callable[[], Any]
    kernels: Iterable[Kernel]

    @property
    def name(self) -> str:
        """The vendor's class, and what of it."""
        return f"{type(self.module).__name__} {self.what}".strip()


def layers(model: Architecture, attention: str, experts: str) -> Iterator[Layer]:
    """Every module class of the vendor's model on small inputs: two views of 640², two prompts of 37 tokens."""
    built = meta_model(model, attention, experts, "meta")
    yield from _vision_layers(model, built, attention)
    yield from _decoder_layers(model, built, attention, experts)


def _vision_layers(
    model: Architecture, built: Any, attention: str, images: int = 2, side: int = 640
) -> Iterator[Layer]:
    s, c, tower = model.sam, model.clip, built.model.vision_tower
    encoder, clip_encoder = tower.sam_encoder, tower.vision_encoder
    grid, patches = side // s.patch, side // s.patch // 4
    trained = s.image_side // s.patch
    windowed = next(i for i in range(s.layers) if i not in s.global_layers)
    pixels = _tensor(images, s.channels, side, side)
    stream, narrow = _tensor(images, grid, grid, s.width), _tensor(images, s.neck_width, grid, grid)
    windows = images * (-(-grid // s.window)) ** 2
    features = _tensor(images, s.downsample_widths[-1], patches, patches)
    tokens = patches * patches + 1
    embedded = _tensor(images, tokens, c.width)

    def layer(module: Any, kernels: Iterable[Kernel], *inputs: Any, what: str = "") -> Layer:
        return Layer(module, what, lambda: module(*inputs), kernels)

    whole = list(sam.encoder(s, images, side, 1, attention))
    yield layer(encoder.patch_embed, (k for k in whole if k.path == "patch_embed"), pixels)
    for what, at, maps, across, table in (
        ("windowed", windowed, windows, s.window, s.window),
        ("global", s.global_layers[0], images, grid, trained),
    ):
        block = encoder.layers[at]
        attend = sam.self_attention(s, maps, across, table, 1, attention)
        yield layer(block.attn, attend, _tensor(maps, across, across, s.width), what=what)
        yield layer(block, sam.block(s, images, grid, block.window_size, 1, attention), stream, what=what)
    yield layer(encoder.layers[0].mlp, sam.mlp(images * grid * grid, s.width, s.mlp_width), stream)
    neck = list(sam.neck(s, images, grid))
    yield layer(encoder.neck.layer_norm1, (k for k in neck if k.path == "norm1"), narrow)
    yield layer(encoder.neck, neck, stream)
    yield layer(encoder.proj, sam.downsample(s, images, grid), narrow)
    yield layer(encoder, whole, pixels)
    yield layer(clip_encoder.embeddings, clip.embeddings(c, images, patches), features)
    block = clip_encoder.encoder.layers[0]
    yield layer(block.self_attn, clip.self_attention(c, images, tokens, 1, attention), embedded)
    yield layer(block.mlp, clip.mlp(images * tokens, c.width, c.mlp_width), embedded)
    yield layer(block, clip.block(c, images, tokens, 1, attention), embedded, None)
    stack = [k for _ in range(c.layers) for k in clip.block(c, images, tokens, 1, attention)]
    yield layer(clip_encoder.encoder, stack, embedded)
    encoded = list(clip.encoder(c, images, patches, 1, attention))
    yield layer(clip_encoder, encoded, features)
    join = projector.join(images, patches, c.width, s.downsample_widths[-1])
    yield layer(tower, [*whole, *encoded, join], pixels)
    wide = c.width + s.downsample_widths[-1]
    project = projector.project(images, patches, wide, model.decoder.width)
    linear = built.model.multi_modal_projector
    yield layer(linear, [project], _tensor(images, patches * patches, wide), what="projector")


def _decoder_layers(
    model: Architecture, built: Any, attention: str, experts: str, batch: int = 2, q: int = 37
) -> Iterator[Layer]:
    d, text = model.decoder, built.model.language_model
    x, rows, dim = _tensor(batch, q, d.width), batch * q, d.width // d.heads
    tables = (_tensor(1, q, dim), _tensor(1, q, dim))
    mask = forward.causal_mask(q, q, x) if attention == "eager" else None
    positions = torch.arange(q, device="meta")[None]
    dense, sparse = text.layers[0], text.layers[-1]
    flat = x.view(-1, d.width)
    picks = torch.zeros(rows, d.experts_per_token, dtype=torch.long, device="meta")
    weights = torch.zeros(rows, d.experts_per_token, device="meta")

    def layer(module: Any, kernels: Iterable[Kernel], *inputs: Any, what: str = "", **named: Any) -> Layer:
        return Layer(module, what, lambda: module(*inputs, **named), kernels)

    def attending(module: Any, kernels: Iterable[Kernel], what: str = "") -> Layer:
        def call() -> Any:
            cached = forward.cache(built)
            return module(x, position_embeddings=tables, attention_mask=mask, past_key_values=cached)

        return Layer(module, what, call, kernels)

    attn = list(decoder.self_attention(d, batch, q, q, 0, 1, attention))
    gated = list(decoder.gated_mlp(rows, d.width, d.dense_width))
    mixture = list(decoder.mixture(d, rows, experts))
    yield layer(text.rotary_emb, decoder.rotary_tables(q, dim), x, positions)
    yield layer(dense.input_layernorm, decoder.rms_norm(rows, d.width), x)
    yield attending(dense.self_attn, attn)
    yield layer(dense.mlp, gated, x, what="dense")
    shared = decoder.gated_mlp(rows, d.width, d.shared_experts * d.expert_width)
    yield layer(sparse.mlp.shared_experts, shared, x, what="shared experts")
    yield layer(sparse.mlp.gate, decoder.router(d, rows), flat)
    yield layer(sparse.mlp.experts, decoder.EXPERTS[experts](d, rows), flat, picks, weights, what=experts)
    yield layer(sparse.mlp, mixture, x, what=experts)
    yield attending(dense, decoder.layer(rows, d.width, attn, gated), "dense")
    yield attending(sparse, decoder.layer(rows, d.width, attn, mixture), f"sparse, {experts}")
    stack = decoder.layers(d, batch, q, q, 0, 1, attention, experts)
    full = forward.masks(mask)
    yield Layer(
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
    yield layer(text.embed_tokens, decoder.embed(d, rows), ids)
    yield layer(built.lm_head, decoder.head(d, rows), x, what="head")


def _tensor(*shape: int) -> torch.Tensor:
    return torch.empty(shape, dtype=torch.bfloat16, device="meta")


@dataclass(frozen=True, slots=True)
class StageCall:
    """A stage of the vendor's model at a workload, on the meta device; a decode is its step number `step`.

    "language" is what prefill does after vision: the decoder and the head over embedded tokens.
    """

    model: Architecture
    stage: str
    work: Workload
    attention: str
    experts: str
    step: int = 1

    def run(self) -> tuple[int, ...]:
        """FLOPs, vector FLOPs, bytes read and written, and peak bytes above the start, the cache's growth included."""
        self._built()
        with dispatch_count.traffic(self.model.decoder.experts_per_token, counting=False) as counter:
            call = self._call()
            counter.start()
            kept = call()
        seen = counter.traffic
        del kept
        return (self.tensor_flops(), seen.vector_flops, seen.read_bytes, seen.write_bytes, seen.peak_bytes)

    def tensor_flops(self) -> int:
        """What FlopCounterMode counts."""
        return dispatch_count.tensor_flops(self._call())

    def _built(self) -> Any:
        return meta_model(self.model, self.attention, self.experts, "meta")

    def _call(self) -> Callable[[], Any]:
        built = self._built()
        like, work = built.lm_head.weight, self.work
        if self.stage == "vision":
            page = forward.pages(work, like, self.model.sam.channels)
            return lambda: forward.vision(built, page)
        context = work.context_tokens
        positions = torch.arange(context, device="meta")[None]
        mask = forward.causal_mask(context, context, like) if self.attention == "eager" else None
        if self.stage == "language":
            embedded = _tensor(work.batch, context, self.model.decoder.width)
            return lambda: forward.language(built, embedded, positions, mask)
        if self.stage == "prefill":
            page = forward.pages(work, like, self.model.sam.channels)
            ids = forward.prompt(work, built.config.image_token_id, like.device)
            return lambda: forward.prefill(built, page, ids, positions, mask)
        past = forward.filled_cache(built, work.batch, context + self.step - 1)
        ids = torch.zeros(work.batch, 1, dtype=torch.long, device="meta")
        positions = torch.zeros(1, 1, dtype=torch.long, device="meta")
        mask = forward.causal_mask(1, context + self.step, like) if self.attention == "eager" else None
        return lambda: forward.decode_step(built, ids, positions, past, mask)


def decode_flops(model: Architecture, work: Workload, attention: str, experts: str) -> int:
    """FlopCounterMode's count of all `new_tokens` steps, from the first, the middle and the last.

    Raises AssertionError unless the three lie on a line: then, and only then, the sum is an arithmetic series.
    """
    n = work.new_tokens
    at = {i: StageCall(model, "decode", work, attention, experts, i).tensor_flops() for i in {1, (n + 1) // 2, n}}
    slope, rest = divmod(at[n] - at[1], n - 1) if n > 1 else (0, 0)
    for i, flops in at.items():
        assert flops == at[1] + (i - 1) * slope, f"step {i} counts {flops}, not on the line of {at}"
    assert rest == 0, f"the steps {at} are not evenly spaced"
    return n * (at[1] + at[n]) // 2


def other_differences(model: Model, stage: str, work: Workload, attention: str) -> list[int]:
    """Ours less the dispatcher's: vector FLOPs, bytes read and written, and peak bytes; of a decode's first step."""
    work, experts = replace(work, new_tokens=1), model.architecture.decoder.experts_at(stage)
    _, *counted, peak = StageCall(model.architecture, stage, work, attention, experts).run()
    ledger = model.ledger(stage, work, attention)
    cost, cache = ledger.total(), ledger.kv_cache_bytes
    grown = cache // (work.context_tokens + 1) if stage == "decode" else cache
    ours = [cost.vector_flops, cost.read_bytes, cost.write_bytes, ledger.peak_activation_bytes]
    return [mine - theirs for mine, theirs in zip(ours, [*counted, peak - grown], strict=True)]


def stage_flops(model: Architecture, stage: str, work: Workload, attention: str, experts: str = "") -> int:
    """FlopCounterMode's count of a stage, with `experts` or what the model's configuration runs it with."""
    experts = experts or model.decoder.experts_at(stage)
    if stage == "decode":
        return decode_flops(model, work, attention, experts)
    return StageCall(model, stage, work, attention, experts).tensor_flops()
