"""A stage as an engine runs it, in plain torch on the meta device, to be counted at the dispatcher.

Only what no library has in the open is an operation of our own, `fused_kernels`. Written after vLLM 0.26,
model_executor/models/deepseek_ocr.py, deepseek_v2.py and layers/fused_moe/.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch.nn import functional as F

from ..model.architecture import Architecture, Decoder
from ..model.engine import Engine
from ..model.geometry import Workload
from . import build, dispatch_count, forward
from . import fused_kernels as fused
from .build import ReferenceModel
from .dispatch_count import DispatchCounts
from .plain_vision import features, use_plain_vision

Run = Callable[[], object]


@dataclass(frozen=True, slots=True)
class Layer:
    """The parameters of one layer of the decoder, joined as the engine has them."""

    norms: tuple[torch.Tensor, torch.Tensor]
    qkv: torch.Tensor
    out: torch.Tensor
    gate_up: torch.Tensor  # of the dense MLP, or of the shared experts
    down: torch.Tensor
    router: torch.Tensor | None = None
    experts: tuple[torch.Tensor, torch.Tensor] | None = None


class PlainEngine:
    """The model on an engine that fuses all that the decoder has."""

    def __init__(self, model: Architecture, engine: Engine) -> None:
        self.model, self.engine = model, engine
        self.built: ReferenceModel = build.build(model, "flash", "grouped_mm", "meta")
        use_plain_vision(self.built, original_sam=engine.original_sam, fused_qkv=engine.fused_qkv)
        d = model.decoder
        self.layers = [_layer(d, i >= d.dense_layers) for i in range(d.layers)]
        self.final_norm = _parameter(d.width)
        self.table = _parameter(d.max_positions, d.width // d.heads)

    def counts(self, stage: str, work: Workload) -> tuple[int, DispatchCounts]:
        """FlopCounterMode's count, and the dispatcher's; of a decode its first step."""
        with dispatch_count.counting(self.model.decoder.experts_per_token, at_once=False) as counter:
            call = self.call(stage, work)
            counter.start()
            call()
        return dispatch_count.tensor_flops(self.call(stage, work)), counter.counts

    def call(self, stage: str, work: Workload) -> Run:
        """The stage on inputs of the workload's shape."""
        runs: dict[str, Callable[[Workload], Run]] = {
            "vision": self._vision,
            "prefill": self._prefill,
            "decode": self._decode,
        }
        return runs[stage](work)

    def _vision(self, work: Workload) -> Run:
        pages = forward.pages(work, self.built.lm_head.weight, self.model.sam.channels)
        return lambda: features(self.built, pages, alone=self.engine.pages_alone)

    def _prefill(self, work: Workload) -> Run:
        pages = forward.pages(work, self.built.lm_head.weight, self.model.sam.channels)
        tokens = work.batch * work.context_tokens
        ids = _integers(tokens)
        inputs = _Inputs(_integers(tokens), _integers(tokens), _integers(work.batch), work.batch, 0, self._pool(work))

        def run() -> object:
            x = self.built.model.get_input_embeddings()(ids)
            images = features(self.built, pages, alone=self.engine.pages_alone)
            image = torch.cat(images)
            places = (ids == self.built.config.image_token_id).unsqueeze(-1)
            x = x.masked_scatter(places, image)
            del image
            x = self._layers(x, inputs)
            del images, places
            return self._head(x, inputs.last)

        return run

    def _decode(self, work: Workload) -> Run:
        rows, keys = self.engine.step_rows(work.batch), work.context_tokens + 1
        pool = self._pool(work, keys)
        inputs = _Inputs(_integers(rows), _integers(work.batch), _integers(work.batch), work.batch, keys - 1, pool)
        ids = _integers(rows)
        return lambda: self._head(self._layers(self.built.model.get_input_embeddings()(ids), inputs), inputs.last)

    def _pool(self, work: Workload, keys: int | None = None) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """The blocks of the KV cache, [batch, heads, keys, head dim] twice a layer."""
        d = self.model.decoder
        shape = (work.batch, d.kv_heads, keys or work.context_tokens, d.width // d.heads)
        return [(_parameter(*shape), _parameter(*shape)) for _ in range(d.layers)]

    def _layers(self, x: torch.Tensor, inputs: _Inputs) -> torch.Tensor:
        residual = None
        stream = [x]
        del x
        for layer, pool in zip(self.layers, inputs.pool, strict=True):
            x = stream.pop()
            if residual is None:
                residual = x
                x = fused.norm(x, layer.norms[0])
            else:
                fused.residual_norm_(x, residual, layer.norms[0])
            out = self._attention(layer, x, inputs, pool)
            del x
            fused.residual_norm_(out, residual, layer.norms[1])
            stream.append(self._experts(layer, out) if layer.experts else _mlp(layer, out))
            del out
        x = stream.pop()
        fused.residual_norm_(x, residual, self.final_norm)
        return x

    def _attention(
        self, layer: Layer, x: torch.Tensor, inputs: _Inputs, pool: tuple[torch.Tensor, torch.Tensor]
    ) -> torch.Tensor:
        d = self.model.decoder
        dim = d.width // d.heads
        q, k, v = F.linear(x, layer.qkv).split((d.heads * dim, d.kv_heads * dim, d.kv_heads * dim), -1)
        fused.rope_(q, k, inputs.positions, self.table)
        real = len(inputs.slots)
        fused.cache_(k[:real], v[:real], *pool, inputs.slots)
        out = torch.empty(len(x), d.heads * dim, dtype=x.dtype, device="meta")
        by_head = q[:real].view(inputs.batch, -1, d.heads, dim).transpose(1, 2)
        fused.attention_(out, by_head, *pool)
        return F.linear(out, layer.out)

    def _experts(self, layer: Layer, x: torch.Tensor) -> torch.Tensor:
        assert layer.experts is not None
        assert layer.router is not None
        d, (up, down) = self.model.decoder, layer.experts
        routed = _routed(d, x, layer.router, up, down)
        return routed + _mlp(layer, x)

    def _head(self, x: torch.Tensor, last: torch.Tensor) -> torch.Tensor:
        return self.built.lm_head(x[last] if self.engine.last_logits else x)


@dataclass(frozen=True, slots=True)
class _Inputs:
    positions: torch.Tensor  # [rows]
    slots: torch.Tensor  # [tokens] in the KV cache; fewer than rows where padding has none
    last: torch.Tensor  # [batch] rows of the tokens whose logits are wanted
    batch: int
    past: int
    pool: list[tuple[torch.Tensor, torch.Tensor]]


def _routed(d: Decoder, x: torch.Tensor, router: torch.Tensor, up: torch.Tensor, down: torch.Tensor) -> torch.Tensor:
    weights, choices, _ = fused.softmax_top_k(F.linear(x, router), d.experts_per_token)
    del _
    order, starts = fused.align(choices, d.experts)
    hidden = fused.silu_mul(fused.experts_product(x, up, order, starts, None))
    rows = [fused.experts_product(hidden, down, order, starts, weights)]
    del hidden, order, starts, choices, weights
    return rows.pop().view(len(x), d.experts_per_token, -1).sum(1)


def _mlp(layer: Layer, x: torch.Tensor) -> torch.Tensor:
    return F.linear(fused.silu_mul(F.linear(x, layer.gate_up)), layer.down)


def _layer(d: Decoder, sparse: bool) -> Layer:
    dim = d.width // d.heads
    hidden = d.shared_experts * d.expert_width if sparse else d.dense_width
    attention = (_parameter((d.heads + 2 * d.kv_heads) * dim, d.width), _parameter(d.width, d.heads * dim))
    mlp = (_parameter(2 * hidden, d.width), _parameter(d.width, hidden))
    norms = (_parameter(d.width), _parameter(d.width))
    if not sparse:
        return Layer(norms, *attention, *mlp)
    experts = (_parameter(d.experts, 2 * d.expert_width, d.width), _parameter(d.experts, d.width, d.expert_width))
    return Layer(norms, *attention, *mlp, _parameter(d.experts, d.width), experts)


def _parameter(*shape: int) -> torch.Tensor:
    return torch.empty(shape, dtype=torch.bfloat16, device="meta")


def _integers(count: int) -> torch.Tensor:
    return torch.zeros(count, dtype=torch.long, device="meta")
