"""The decoder of an engine that quantises activations to 8-bit floats, in plain torch on parameters of its own.

Written after vLLM 0.26, as `plain_decoder`, whose attention and router these are.
"""

from __future__ import annotations

from typing import Any

import torch

from ..model.architecture import Decoder
from ..model.engine import Engine
from . import fused_fp8 as fp8
from . import fused_kernels as fused
from .families import ReferenceModel
from .plain_decoder import Inputs, PlainDecoder, Tables

Weight = tuple[torch.Tensor, torch.Tensor]  # in 8 bits, and its scales


class PlainFp8Decoder(PlainDecoder):
    """Its layers with products of 8-bit floats. Quantised activations are given in a list, which a product empties."""

    def __init__(self, built: ReferenceModel, sizes: Decoder, engine: Engine) -> None:
        super().__init__(built, sizes, engine)
        self.weights = [_Weights(sizes, sparse=joined.router is not None) for joined in self.joined]

    def _summed_late(self, parts: list[torch.Tensor], inputs: Inputs, tables: Tables | None) -> torch.Tensor:
        for place, layer in enumerate(self.text.layers):
            x = list(fp8.norm_quantised(parts, layer.input_layernorm.weight, len(parts) > 1))
            parts[:] = x[2:] or parts
            del x[2:]
            parts.append(self.attention(place, x, inputs, tables))
            weight = layer.post_attention_layernorm.weight
            if self.joined[place].router is None:
                x = list(fp8.norm_quantised(parts, weight, False))
                gate_up = [_product(x, self.weights[place].gate_up)]
                x = list(fp8.silu_mul_quantised(gate_up.pop()))
                parts.append(_product(x, self.weights[place].down))
            else:
                x = fused.norm(parts, weight, 3, False)
                parts += self._mixture(place, x[0])
                del x
        (out,) = fused.norm(parts, self.text.norm.weight, 1, False)
        return out

    def _projected(self, place: int, x: Any) -> tuple[torch.Tensor, ...]:
        return _product(x, self.weights[place].qkv).chunk(3, -1)

    def _joined_heads(self, place: int, out: list[torch.Tensor]) -> torch.Tensor:
        return _product(list(fp8.quantise(out.pop())), self.weights[place].o)

    def _mixture(self, place: int, x: torch.Tensor) -> list[torch.Tensor]:
        weights, joined = self.weights[place], self.joined[place]
        logits = [torch.nn.functional.linear(x, joined.router)]
        gate_up = [_product(list(fp8.quantise(x)), weights.gate_up)]
        hidden = [fused.silu_mul(gate_up.pop())]
        shared = _product(list(fp8.quantise(hidden.pop())), weights.down)
        return [self._routed_in_fp8(weights, x, logits), shared]

    def _routed_in_fp8(self, layer: _Weights, x: torch.Tensor, logits: list[torch.Tensor]) -> torch.Tensor:
        d = self.sizes
        weights, choices = self.chosen(logits)
        scale = fp8.scale_of_all(x)
        q = fp8.quantise_all(x, scale)
        order, starts = fused.align(choices, d.experts)
        hidden = fused.silu_mul(fp8.experts_product(q, scale, list(layer.experts_up), order, starts, None))
        hidden_scale = fp8.scale_of_all(hidden)
        hidden_q = fp8.quantise_all(hidden, hidden_scale)
        rows = [fp8.experts_product(hidden_q, hidden_scale, list(layer.experts_down), order, starts, weights)]
        del hidden, order, starts, choices, weights, scale, q, hidden_scale, hidden_q
        return rows.pop().view(len(x), d.experts_per_token, -1).sum(1).clone()


def _product(x: list[torch.Tensor], weight: Weight) -> torch.Tensor:
    product: torch.Tensor = fp8.scaled_product(*x, *weight)
    x.clear()
    return product


class _Weights:
    """The 8-bit parameters of one layer, with a scale a tensor; those of a gate and its other half are stored apart."""

    def __init__(self, d: Decoder, *, sparse: bool) -> None:
        hidden = d.shared_experts * d.expert_width if sparse else d.dense_width
        self.qkv, self.o = _weight(3 * d.width, d.width), _weight(d.width, d.width)
        self.gate_up, self.down = _weight(2 * hidden, d.width), _weight(d.width, hidden)
        self.experts_up = _weight(2 * d.expert_width, d.width, (d.experts, 2))
        self.experts_down = _weight(d.width, d.expert_width, (d.experts, 1))


def _weight(out: int, width: int, tensors: tuple[int, ...] = ()) -> Weight:
    return (
        torch.empty(*tensors[:1], out, width, dtype=fp8.FP8, device="meta"),
        torch.empty(tensors, dtype=torch.float32, device="meta"),
    )
