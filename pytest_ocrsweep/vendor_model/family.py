"""A class of transformers that runs models, and all that differs between such classes beside their modules."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from ..model.architecture import Architecture, Decoder, PatchEncoder
from ..model.geometry import Workload


@dataclass(frozen=True, slots=True)
class Patches:
    """What a class takes of pages at their own resolution, beside their grids."""

    shape: Callable[[PatchEncoder], tuple[int, ...]]  # of one patch
    cut: Callable[[torch.Tensor, PatchEncoder], torch.Tensor]  # [3, height, width] pixels into patches, in their order
    positions: Callable[[Workload, PatchEncoder], dict[str, torch.Tensor]]  # named arguments, on the host
    axes: int  # of the positions of the decoder's tokens: [axes, pages, tokens]


@dataclass(frozen=True, slots=True)
class Family:
    """A class of transformers, and all that differs between them beside their modules."""

    kind: type[Any]
    encoder: str  # after SAM, or of patches, as its component is called
    config: Callable[[Architecture], Any]
    masks: Callable[[torch.Tensor | None], Any]  # the decoder's `attention_mask` from a ready one
    crops: Callable[[Workload], dict[str, object]] = lambda work: {}  # the arguments that say how crops lie
    patches: Patches | None = None  # of a class that takes pages at their own resolution
    modules: Mapping[str, str] = field(default_factory=dict)  # patterns of names, by component, that differ


def text_sizes(decoder: Decoder) -> dict[str, object]:
    """The sizes of a decoder that every class takes, by the names of its configuration."""
    return {
        "hidden_size": decoder.width,
        "num_hidden_layers": decoder.layers,
        "num_attention_heads": decoder.heads,
        "num_key_value_heads": decoder.kv_heads,
        "intermediate_size": decoder.dense_width,
        "vocab_size": decoder.vocabulary,
        "max_position_embeddings": decoder.max_positions,
    }
