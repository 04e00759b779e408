"""Each stage as a forward call of the reference model, on inputs of a workload's shape.

A call (`Call`) holds its inputs, so that it can run again and again; they lie on the device of the model's weights.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial
from typing import Any, TypeAlias

import torch
from transformers.cache_utils import DynamicCache

from ..model.architecture import Architecture
from ..model.attention import ATTENTION
from ..model.geometry import Workload
from . import families
from .build import like as like_of
from .build import text_config
from .families import ReferenceModel
from .native_pages import random_patches
from .pages import Pages

Call = Callable[[], object]
Output: TypeAlias = Any  # of the family's own type, with the logits and the cache


def pages(work: Workload, like: torch.Tensor, model: Architecture | None = None) -> Pages:
    """Random pixels on the device and in the dtype of `like`, of views with 3 channels or as `model` takes them."""
    if model is not None and model.patch_encoder is not None:
        return random_patches(work, like, model)
    side, crop_side, channels = work.sides.base_side, work.sides.crop_side, 3 if model is None else model.channels
    views = torch.randn(work.batch * work.pages, channels, side, side, device=like.device, dtype=like.dtype)
    crops = None
    if work.grid.crops and crop_side is not None:
        shape = (work.batch * work.grid.crops, channels, crop_side, crop_side)
        crops = torch.randn(shape, device=like.device, dtype=like.dtype)
    return Pages(views, crops, work)


def prompt(work: Workload, image_token: int, device: torch.device) -> torch.Tensor:
    """[batch, context_tokens] ids: the image token at every image position, then random ones for the text prompt."""
    ids = torch.randint(image_token, (work.batch, work.context_tokens), device=device)
    ids[:, : work.image_tokens] = image_token
    return ids


def vision_call(model: ReferenceModel, page: Pages) -> Call:
    """Both encoders and the projector over every view."""
    return partial(model.model.get_image_features, **page.arguments(model))


def prefill_call(model: ReferenceModel, page: Pages, attention: str) -> Call:
    """The whole model over a page's image tokens and a random text prompt."""
    work, like = page.work, like_of(model)
    ids = prompt(work, model.config.image_token_id, like.device)
    return partial(prefill, model, page, ids, *_positions_and_mask(model, work, like, attention))


def language_call(model: ReferenceModel, work: Workload, attention: str) -> Call:
    """What prefill does after vision: the decoder and the head over embedded tokens [batch, context, width]."""
    like = like_of(model)
    embedded = torch.randn(work.batch, work.context_tokens, like.shape[-1], device=like.device, dtype=like.dtype)
    return partial(language, model, embedded, *_positions_and_mask(model, work, like, attention))


def decode_call(
    model: ReferenceModel, batch: int, context: int, step: int, attention: str, *, repeatable: bool = True
) -> Call:
    """Decode step number `step`, from 1, of one random token a page: it attends to its context and the new tokens.

    A repeatable call starts from the same cache each time; another owns its cache, so it frees it, and runs once.
    """
    like = like_of(model)
    ids = torch.randint(model.config.image_token_id, (batch, 1), device=like.device)  # pages choose their own experts
    positions = of_each_axis(model, torch.full((1, 1), context + step - 1, device=like.device), batch)
    seen = min(step, window(model) or step)
    mask = causal_mask(1, context + seen, like) if not ATTENTION[attention].fused else None
    past = [filled_cache(model, batch, context, step - 1)]

    def run() -> Output:
        start = renewed(past[0]) if repeatable else past.pop()
        return decode_step(model, ids, positions, start, mask)

    return run


def _positions_and_mask(
    model: ReferenceModel, work: Workload, like: torch.Tensor, attention: str
) -> tuple[torch.Tensor, torch.Tensor | None]:
    context = work.context_tokens
    positions = of_each_axis(model, torch.arange(context, device=like.device)[None], work.batch)
    return positions, causal_mask(context, context, like) if not ATTENTION[attention].fused else None


def prefill(
    model: ReferenceModel, page: Pages, ids: torch.Tensor, positions: torch.Tensor, mask: torch.Tensor | None
) -> Output:
    """The whole model over the prompt `ids` [batch, context]; its output holds the logits and the cache."""
    return model(
        input_ids=ids,
        position_ids=positions,
        attention_mask=families.of_built(model).masks(mask),
        past_key_values=cache(model),
        use_cache=True,
        **page.arguments(model),
    )


def language(
    model: ReferenceModel, embedded: torch.Tensor, positions: torch.Tensor, mask: torch.Tensor | None
) -> Output:
    """The decoder and the head over tokens that are embedded already."""
    return model(
        inputs_embeds=embedded,
        position_ids=positions,
        attention_mask=families.of_built(model).masks(mask),
        past_key_values=cache(model),
        use_cache=True,
    )


def decode_step(
    model: ReferenceModel, ids: torch.Tensor, positions: torch.Tensor, past: DynamicCache, mask: torch.Tensor | None
) -> Output:
    """One token a page, `ids` [batch, 1], after the keys of `past`, which grow by one."""
    return model(
        input_ids=ids,
        position_ids=positions,
        attention_mask=families.of_built(model).masks(mask),
        past_key_values=past,
        use_cache=True,
    )


def of_each_axis(model: ReferenceModel, positions: torch.Tensor, batch: int) -> torch.Tensor:
    """[1, tokens] positions as the decoder takes them: of a model with several axes, [axes, batch, tokens].

    Tokens of an image count up as those of a text do; where they lie decides no cost.
    """
    patches = families.of_built(model).patches
    return positions if patches is None else positions.expand(patches.axes, batch, -1).contiguous()


def causal_mask(q: int, kv: int, like: torch.Tensor) -> torch.Tensor:
    """[1, 1, q, kv] additive mask for eager attention, -inf at keys that come after."""
    full = torch.full((q, kv), float("-inf"), device=like.device, dtype=like.dtype)
    return torch.triu(full, diagonal=kv - q + 1)[None, None]


def cache(model: ReferenceModel) -> DynamicCache:
    """An empty KV cache of transformers' default kind."""
    return DynamicCache(config=text_config(model))


def window(model: ReferenceModel) -> int | None:
    """How many new tokens a step sees; None: all."""
    text = text_config(model)
    kinds = getattr(text, "layer_types", None) or ()  # a decoder of full attention alone names none
    return text.sliding_window if "reference_sliding_attention" in kinds else None


def filled_cache(model: ReferenceModel, batch: int, context: int, steps: int = 0) -> DynamicCache:
    """A cache of random keys and values, [batch, kv heads, keys, head dim] twice a layer, after so many `steps`.

    With a window, it allocates as many new keys as the last step joined: one more than it keeps, if the window is full.
    """
    layers, heads, dim = _cache_sizes(model)
    like, filled, most = like_of(model), cache(model), window(model)
    parts = [context + steps] if most is None else [context, min(steps, most)]
    for layer in range(layers):
        for keys in filter(None, parts):
            shape = (batch, heads, keys, dim)
            filled.update(
                torch.randn(shape, device=like.device, dtype=like.dtype),
                torch.randn(shape, device=like.device, dtype=like.dtype),
                layer,
            )
    return filled


def stored(layer: Any) -> list[torch.Tensor]:
    """The keys and values of one layer of a cache: of its prompt apart from its window's, if it has one."""
    names = ("keys", "values", "prefill_keys", "prefill_values")
    return [tensor for name in names if (tensor := getattr(layer, name, None)) is not None]


def renewed(past: DynamicCache) -> DynamicCache:
    """A cache that starts from the same tensors, so that a step can run from it again."""
    fresh = copy.copy(past)
    fresh.layers = [copy.copy(layer) for layer in past.layers]
    return fresh


def key_bytes(model: ReferenceModel) -> int:
    """Bytes that the KV cache grows by for each token of each page."""
    layers, heads, dim = _cache_sizes(model)
    return 2 * layers * heads * dim * like_of(model).element_size()


def _cache_sizes(model: ReferenceModel) -> tuple[int, int, int]:
    """Layers, heads and elements a head of a token's keys, and of its values."""
    text = text_config(model)
    assert text.num_key_value_heads is not None  # a family's configuration gives the one, and the other follows from it
    assert text.head_dim is not None
    return text.num_hidden_layers, text.num_key_value_heads, text.head_dim
