"""Each stage as a call of the vendor's model, on inputs of a workload's shape."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import torch
from transformers.cache_utils import DynamicCache

from ..model.geometry import Workload


@dataclass(frozen=True, slots=True)
class Pages:
    """Pixels of a batch of pages: `views` [batch, 3, side, side], `crops` [batch · crops, 3, side, side] or None."""

    views: torch.Tensor
    crops: torch.Tensor | None
    work: Workload

    @property
    def arguments(self) -> dict[str, Any]:
        """As the vendor's model takes them: its own grids are (columns, rows)."""
        grid, batch = self.work.grid, self.work.batch
        arguments: dict[str, Any] = {"pixel_values": self.views}
        if self.crops is not None:
            arguments |= {
                "pixel_values_local": self.crops,
                "num_local_patches": [grid.crops] * batch,
                "patches_grid": [[grid.columns, grid.rows]] * batch,
            }
        return arguments


def pages(work: Workload, like: torch.Tensor, channels: int = 3) -> Pages:
    """Random pixels on the device and in the dtype of `like`."""
    side, crop_side = work.sides.base_side, work.sides.crop_side
    views = torch.randn(work.batch, channels, side, side, device=like.device, dtype=like.dtype)
    crops = None
    if work.grid.crops and crop_side is not None:
        shape = (work.batch * work.grid.crops, channels, crop_side, crop_side)
        crops = torch.randn(shape, device=like.device, dtype=like.dtype)
    return Pages(views, crops, work)


def prompt(work: Workload, image_token: int, device: torch.device) -> torch.Tensor:
    """[batch, context_tokens] ids: every image token, then random ones of the prompt's."""
    ids = torch.randint(image_token, (work.batch, work.context_tokens), device=device)
    ids[:, : work.image_tokens] = image_token
    return ids


def vision(model: Any, page: Pages) -> Any:
    """SAM, CLIP and projector over every view."""
    return model.model.get_image_features(**page.arguments)


def prefill(model: Any, page: Pages, ids: torch.Tensor, positions: torch.Tensor, mask: torch.Tensor | None) -> Any:
    """The whole model over the prompt; its output holds the logits and the cache."""
    return model(
        input_ids=ids,
        position_ids=positions,
        attention_mask=masks(mask),
        past_key_values=cache(model),
        use_cache=True,
        **page.arguments,
    )


def language(model: Any, embedded: torch.Tensor, positions: torch.Tensor, mask: torch.Tensor | None) -> Any:
    """The decoder and the head over embedded tokens: what prefill does after its image tokens are in place."""
    return model(
        inputs_embeds=embedded,
        position_ids=positions,
        attention_mask=masks(mask),
        past_key_values=cache(model),
        use_cache=True,
    )


def decode_step(
    model: Any, ids: torch.Tensor, positions: torch.Tensor, past: DynamicCache, mask: torch.Tensor | None
) -> Any:
    """One token a page after the `past` keys, which grow by one."""
    return model(
        input_ids=ids, position_ids=positions, attention_mask=masks(mask), past_key_values=past, use_cache=True
    )


def masks(mask: torch.Tensor | None) -> dict[str, torch.Tensor | None]:
    """A ready mask for the vendor, whose own mask building reads tensors back to the host."""
    return {"full_attention": mask, "reference_sliding_attention": mask}


def causal_mask(q: int, kv: int, like: torch.Tensor) -> torch.Tensor:
    """[1, 1, q, kv] additive mask for eager attention, -inf at keys that come after."""
    full = torch.full((q, kv), float("-inf"), device=like.device, dtype=like.dtype)
    return torch.triu(full, diagonal=kv - q + 1)[None, None]


def cache(model: Any) -> DynamicCache:
    """An empty cache of the vendor's default kind."""
    return DynamicCache(config=model.config.text_config)


def filled_cache(model: Any, batch: int, keys: int) -> DynamicCache:
    """A cache that holds `keys` random keys and values a page."""
    text, like = model.config.text_config, model.lm_head.weight
    filled = cache(model)
    shape = (batch, text.num_key_value_heads, keys, text.head_dim)
    for layer in range(text.num_hidden_layers):
        filled.update(
            torch.randn(shape, device=like.device, dtype=like.dtype),
            torch.randn(shape, device=like.device, dtype=like.dtype),
            layer,
        )
    return filled


def renewed(past: DynamicCache) -> DynamicCache:
    """A cache that starts from the same tensors, so that a step can be run from it again."""
    fresh = copy.copy(past)
    fresh.layers = [copy.copy(layer) for layer in past.layers]
    return fresh
