"""The decoder with any of an engine's switches, in plain torch on the reference model's parameters.

Written after vLLM 0.26, model_executor/models/deepseek_v2.py and layers/fused_moe/; what is not fused is transformers'.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional as F
from transformers.models.unlimited_ocr.modeling_unlimited_ocr import apply_rotary_pos_emb

from ..model.architecture import Decoder
from ..model.engine import Engine
from ..model.symbolic import distinct_experts
from . import fused_kernels as fused
from .families import ReferenceModel

Tables = tuple[torch.Tensor, torch.Tensor]  # cosines and sines
Pool = list[tuple[torch.Tensor, torch.Tensor] | None]


@dataclass(slots=True)
class Inputs:
    """What the decoder runs on beside the embedded tokens [rows, width]."""

    rows: torch.Tensor  # [rows] positions
    one_page: torch.Tensor  # [1, queries] positions of a page's tokens
    slots: torch.Tensor  # [tokens] of the KV cache; fewer than rows where padding has none
    last: torch.Tensor  # [batch] rows of the tokens whose logits are wanted
    batch: int
    pool: Pool  # the KV cache of each layer, [batch, heads, keys, head dim] twice: its blocks, or the past alone


class PlainDecoder:
    """Its layers and the last norm; parameters are joined where the engine has them joined."""

    def __init__(self, built: ReferenceModel, sizes: Decoder, engine: Engine) -> None:
        self.text: Any = built.model.language_model
        self.sizes, self.engine = sizes, engine
        self.dim = sizes.width // sizes.heads
        self.joined = [_Joined(layer, sizes) for layer in self.text.layers]
        self.table = parameter(sizes.max_positions, self.dim)
        self.frequencies = parameter(self.dim // 2)

    def run(self, x: torch.Tensor, inputs: Inputs) -> torch.Tensor:
        """[rows, width] embedded tokens to the normalised stream."""
        shared = not self.engine.fused_rope and not self.engine.product_rope
        tables = self.text.rotary_emb(x, position_ids=inputs.one_page) if shared else None
        if self.engine.fused_norms:
            parts = [x]
            del x
            return self._summed_late(parts, inputs, tables)
        return self._two_streams(x, inputs, tables)

    def _two_streams(self, x: torch.Tensor, inputs: Inputs, tables: Tables | None) -> torch.Tensor:
        embedded = x
        for place in range(self.sizes.layers):
            x = self._layer(place, x, inputs, tables)
        x = self.text.norm(x)
        del embedded
        return x

    def _layer(self, place: int, x: torch.Tensor, inputs: Inputs, tables: Tables | None) -> torch.Tensor:
        layer = self.text.layers[place]
        normed = layer.input_layernorm(x)
        out = self.attention(place, normed, inputs, tables)
        del normed
        stream = x + out
        del out
        normed = layer.post_attention_layernorm(stream)
        (out,) = self._mlp(place, normed)
        del normed
        return stream + out

    def _summed_late(self, parts: list[torch.Tensor], inputs: Inputs, tables: Tables | None) -> torch.Tensor:
        """Each norm adds what the layers before left; the sum after attention is made twice."""
        for place, layer in enumerate(self.text.layers):
            x, *summed = fused.norm(parts, layer.input_layernorm.weight, 1, len(parts) > 1)
            parts[:] = summed or parts
            del summed
            parts.append(self.attention(place, x, inputs, tables))
            del x
            copies = 3 if self.engine.fused_experts and self.joined[place].router is not None else 1
            normed = fused.norm(parts, layer.post_attention_layernorm.weight, copies, False)
            parts += self._mlp(place, normed[0])
            del normed
        (x,) = fused.norm(parts, self.text.norm.weight, 1, False)
        return x

    def attention(self, place: int, x: Any, inputs: Inputs, tables: Tables | None) -> torch.Tensor:
        heads, batch = self.sizes.heads, inputs.batch
        q, k, v = self._projected(place, x)
        if self.engine.product_rope and not self.engine.fused_rope:
            tables = self._tables(inputs.one_page, q.dtype)
        if self.engine.fused_rope:
            q, k = fused.rope(q, k, inputs.rows, self.table)
        else:
            assert tables is not None  # either of the layer or of all
            q, k = self._rotated(q, k, inputs.one_page.shape[-1], tables)
        real = len(inputs.slots)
        by_head = [each[:real].view(batch, -1, heads, self.dim).transpose(1, 2) for each in (q, k, v)]
        del k, v
        keys, values = self._cached(place, by_head, inputs)
        out = [torch.empty(len(q), heads * self.dim, dtype=q.dtype, device="meta")]
        fused.attention_(out[0], by_head[0], keys, values)
        return self._joined_heads(place, out)

    def _joined_heads(self, place: int, out: list[torch.Tensor]) -> torch.Tensor:
        return F.linear(out.pop(), self.text.layers[place].self_attn.o_proj.weight)

    def _projected(self, place: int, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        attention = self.text.layers[place].self_attn
        if self.engine.fused_qkv:
            return F.linear(x, self.joined[place].qkv).chunk(3, -1)
        return attention.q_proj(x), attention.k_proj(x), attention.v_proj(x)

    def _rotated(self, q: torch.Tensor, k: torch.Tensor, queries: int, tables: Tables) -> tuple[torch.Tensor, ...]:
        q, k = (each.view(-1, queries, self.sizes.heads, self.dim).transpose(1, 2) for each in (q, k))
        q, k = apply_rotary_pos_emb(q, k, *tables)
        return tuple(each.transpose(1, 2).reshape(-1, self.sizes.width) for each in (q, k))

    def _cached(self, place: int, by_head: list[torch.Tensor], inputs: Inputs) -> tuple[torch.Tensor, torch.Tensor]:
        """The keys and values of all tokens; `by_head` keeps the queries alone."""
        _, k, v = by_head
        del by_head[1:]
        pool = inputs.pool[place]
        assert pool is not None
        if self.engine.keeps_first_keys and self.engine.kv_block_tokens is None and not pool[0].shape[2]:
            inputs.pool[place] = (k, v)
            return k, v
        if self.engine.kv_block_tokens is not None:
            fused.cache_(k, v, *pool, inputs.slots)
            return pool
        old_keys, old_values = pool
        inputs.pool[place] = pool = None
        keys = torch.cat((old_keys, k), 2)
        del old_keys
        values = torch.cat((old_values, v), 2)
        inputs.pool[place] = (keys, values)
        return keys, values

    def _mlp(self, place: int, x: torch.Tensor) -> list[torch.Tensor]:
        """One tensor, or those of routed and of shared experts, if a norm adds them."""
        mlp, joined = self.text.layers[place].mlp, self.joined[place]
        if joined.router is None:
            return [self._gated(mlp, joined, x)]
        parts = self._experts(mlp, joined, x)
        return parts if self.engine.fused_norms else [parts.pop(0) + parts.pop()]

    def _experts(self, mlp: Any, joined: _Joined, x: torch.Tensor) -> list[torch.Tensor]:
        if self.engine.fused_experts:
            logits = [F.linear(x, joined.router)]
            shared = self._gated(mlp.shared_experts, joined, x)
            return [self._routed(joined, x, logits), shared]
        if self.engine.looped_experts:
            _, weights, choices = mlp.gate(x)
            return [self._looped(joined, x, choices, weights), self._gated(mlp.shared_experts, joined, x)]
        logits, weights, choices = mlp.gate(x)
        return [mlp.experts(x, choices, weights), self._gated(mlp.shared_experts, joined, x)]

    def _gated(self, mlp: Any, joined: _Joined, x: torch.Tensor) -> torch.Tensor:
        if not self.engine.fused_gate_up:
            done: torch.Tensor = mlp(x)
            return done
        return F.linear(fused.silu_mul(F.linear(x, joined.gate_up)), mlp.down_proj.weight)

    def _tables(self, positions: torch.Tensor, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
        """cos and sin, as transformers 4.46 makes them, with frequencies in the model's type."""
        frequencies = self.frequencies[None, :, None].float().expand(len(positions), -1, 1)
        angles = (frequencies.float() @ positions[:, None, :].float()).transpose(1, 2)
        both = torch.cat((angles, angles), dim=-1)
        cos, sin = both.cos(), both.sin()
        cos = cos * 1.0
        sin = sin * 1.0
        return cos.to(dtype), sin.to(dtype)

    def _looped(self, joined: _Joined, x: torch.Tensor, choices: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        """One expert after the other, on as many rows as an even share gives each that is reached."""
        d = self.sizes
        hits = torch.zeros((len(choices), d.experts), dtype=choices.dtype, device=choices.device)
        hits.scatter_(1, choices, 1)
        counts = hits.sum(dim=0)
        order = choices.view(-1).argsort()
        rows = x[order // d.experts_per_token]
        fused.to_host(counts)
        reached = distinct_experts(len(x), d.experts, d.experts_per_token)
        assert isinstance(reached, int)
        outputs, hidden = [], d.expert_width
        for i, part in enumerate(rows.tensor_split(reached)):
            gate, up = joined.up[i, :hidden], joined.up[i, hidden:]
            outputs.append(F.linear(F.silu(F.linear(part, gate)) * F.linear(part, up), joined.down[i]))
        outs = torch.cat(outputs)
        new = torch.empty_like(outs)
        new[order] = outs
        wide = new.view(*choices.shape, -1).type(weights.dtype).mul_(weights.unsqueeze(-1))
        return wide.sum(dim=1).type(new.dtype)

    def _routed(self, joined: _Joined, x: torch.Tensor, logits: list[torch.Tensor]) -> torch.Tensor:
        d = self.sizes
        weights, choices = self.chosen(logits)
        order, starts = fused.align(choices, d.experts)
        hidden = fused.silu_mul(fused.experts_product(x, joined.up, order, starts, None))
        rows = [fused.experts_product(hidden, joined.down, order, starts, weights)]
        del hidden, order, starts, choices, weights
        return rows.pop().view(len(x), d.experts_per_token, -1).sum(1).clone()

    def chosen(self, given: list[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        logits, picks = given.pop(), self.sizes.experts_per_token
        if not self.engine.grouped_router:
            weights, choices, _ = fused.softmax_top_k(logits, picks)
            return weights, choices
        greatest, total, best = fused.group_softmax(logits)
        best, group = best.topk(1)
        scores = fused.group_scores(logits, greatest, total, group)
        del logits, greatest, total, best, group
        weights, choices = scores.topk(picks)
        del scores
        weights = weights.float()
        return weights, choices.int()


class _Joined:
    """The parameters of one layer as an engine joins them."""

    def __init__(self, layer: Any, sizes: Decoder) -> None:
        self.qkv = parameter(3 * sizes.width, sizes.width)
        experts = getattr(layer.mlp, "experts", None)
        hidden = sizes.dense_width if experts is None else sizes.shared_experts * sizes.expert_width
        self.gate_up = parameter(2 * hidden, sizes.width)
        self.router: Any = None if experts is None else layer.mlp.gate.weight
        self.up: Any = None if experts is None else experts.gate_up_proj
        self.down: Any = None if experts is None else experts.down_proj


def parameter(*shape: int) -> torch.Tensor:
    """A tensor of the model's two-byte type that is there before anything is counted."""
    return torch.empty(shape, dtype=torch.bfloat16, device="meta")
