"""The vision tower as DeepSeek's own code and vLLM have it, in plain torch on the reference model's parameters.

Written after vLLM 0.26, model_executor/models/deepencoder.py and clip.py.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from ..model.engine import Engine
from . import plain_original, plain_pages
from .families import ReferenceModel
from .pages import Pages
from .plain_original import ClonedBetween, Features, GatheredPositions


def use_plain_vision(built: ReferenceModel, engine: Engine) -> None:
    """Replaces parts of `built`, which nobody else may use then, by an engine's."""
    tower = built.model.vision_tower
    if engine.original_sam:
        for layer in tower.sam_encoder.layers:
            layer.attn = OriginalAttention(layer.attn)
        neck = tower.sam_encoder.neck
        neck.layer_norm1, neck.layer_norm2 = ChannelNorm(neck.layer_norm1), ChannelNorm(neck.layer_norm2)
    if engine.linear_patches:
        tower.sam_encoder.patch_embed = LinearPatches(tower.sam_encoder.patch_embed)
    if engine.joins_clip:
        for layer in tower.vision_encoder.encoder.layers:
            layer.self_attn = JoinedAttention(layer.self_attn)
    if engine.original_tower:
        tower.sam_encoder.proj = ClonedBetween(tower.sam_encoder.proj)
    if engine.original_clip:
        tower.vision_encoder.embeddings = GatheredPositions(tower.vision_encoder.embeddings)


def features(built: ReferenceModel, pages: Pages, engine: Engine) -> Features:
    """The pages go through the tower together or alone."""
    if engine.original_tower:
        return plain_original.features(built, pages)
    if engine.pages_alone:
        return Features(plain_pages.features(built, pages), None)
    found = built.model.get_image_features(**pages.arguments(built))
    return Features(found.pooler_output, found)


class LinearPatches(nn.Module):
    """SAM's patches, copied side by side and multiplied, [batch, rows, columns, width]: vLLM's conv.py."""

    def __init__(self, of: Any) -> None:
        super().__init__()
        self.of = of.projection

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        batch, _, height, width = pixels.shape
        side: int = self.of.kernel_size[0]
        x = pixels.unfold(2, side, side).unfold(3, side, side)
        x = x.permute(0, 2, 3, 1, 4, 5).reshape(batch * (height // side) * (width // side), -1)
        x = F.linear(x, self.of.weight.view(len(self.of.weight), -1), self.of.bias)
        return x.view(batch, height // side, width // side, -1)


class OriginalAttention(nn.Module):
    """SAM's attention: the bias of relative positions is the sum of two reordered parts, and a view."""

    def __init__(self, of: Any) -> None:
        super().__init__()
        self.qkv, self.proj, self.heads = of.qkv, of.proj, of.num_attention_heads
        self.rel_pos_h, self.rel_pos_w = of.rel_pos_h, of.rel_pos_w

    def forward(self, hidden_states: torch.Tensor) -> tuple[torch.Tensor, None]:
        batch, height, width, _ = hidden_states.shape
        tokens = height * width
        qkv = self.qkv(hidden_states).reshape(batch, tokens, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        q, k, v = qkv.reshape(3, batch * self.heads, tokens, -1).unbind(0)
        rel_h, rel_w = self._parts(q, height, width)
        q, k, v = (x.view(batch, self.heads, tokens, -1) for x in (q, k, v))
        rel_h = rel_h.view(batch, self.heads, tokens, height, 1)
        rel_w = rel_w.view(batch, self.heads, tokens, 1, width)
        bias = (rel_h + rel_w).view(batch, self.heads, tokens, tokens)
        x = F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
        x = x.view(batch, self.heads, height, width, -1).permute(0, 2, 3, 1, 4).reshape(batch, height, width, -1)
        return self.proj(x), None

    def _parts(self, q: torch.Tensor, height: int, width: int) -> tuple[torch.Tensor, torch.Tensor]:
        of_rows, of_columns = _table(self.rel_pos_h, height), _table(self.rel_pos_w, width)
        maps, _, dim = q.shape
        query = q.reshape(maps, height, width, dim)
        rows = torch.einsum("bhwc,hkc->bhwk", query, of_rows)
        columns = torch.einsum("bhwc,wkc->bhwk", query, of_columns)
        rows = rows.unsqueeze(-1).reshape(maps, height * width, height, 1)
        columns = columns.unsqueeze(-2).reshape(maps, height * width, 1, width)
        return rows, columns


def _table(rel_pos: torch.Tensor, side: int) -> torch.Tensor:
    """The rows of a table by the distance of query and key; a table of another size is resized in float32."""
    resized = rel_pos
    if rel_pos.shape[0] != 2 * side - 1:
        wide = rel_pos.to(torch.float32)
        resized = F.interpolate(
            wide.reshape(1, wide.shape[0], -1).permute(0, 2, 1), size=2 * side - 1, mode="linear"
        ).to(rel_pos.dtype)
        resized = resized.reshape(-1, 2 * side - 1).permute(1, 0)
    arange = partial(torch.arange, side, device=rel_pos.device)
    query, key = arange()[:, None] * 1.0, arange()[None, :] * 1.0
    distance = (query - key) + (side - 1) * 1.0
    return resized[distance.long()]


class ChannelNorm(nn.Module):
    """A norm over channels, [batch, channels, height, width], operation by operation."""

    def __init__(self, of: Any) -> None:
        super().__init__()
        self.weight, self.bias = of.weight, of.bias

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        mean = x.mean(1, keepdim=True)
        variance = (x - mean).pow(2).mean(1, keepdim=True)
        x = (x - mean) / torch.sqrt(variance + 1e-6)
        return self.weight[:, None, None] * x + self.bias[:, None, None]


class JoinedAttention(nn.Module):
    """CLIP's attention, its queries, keys and values from one product."""

    def __init__(self, of: Any) -> None:
        super().__init__()
        self.heads, self.out_proj = of.num_heads, of.out_proj
        parts = (of.q_proj, of.k_proj, of.v_proj)
        self.weight = nn.Parameter(torch.cat([part.weight for part in parts]), requires_grad=False)
        self.bias = nn.Parameter(torch.cat([part.bias for part in parts]), requires_grad=False)

    def forward(self, hidden_states: torch.Tensor, **_: object) -> tuple[torch.Tensor, None]:
        joined = F.linear(hidden_states, self.weight, self.bias)
        q, k, v = (x.unflatten(-1, (self.heads, -1)).transpose(1, 2) for x in joined.chunk(3, -1))
        x = F.scaled_dot_product_attention(q, k, v)
        x = x.transpose(1, 2).flatten(2)
        return self.out_proj(x), None
