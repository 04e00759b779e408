"""The classes of transformers that run a model: their configuration from our sizes, and what their calls take.

UnlimitedOcr without its window is DeepSeek-OCR to the parameter; DeepseekOcr2 has an encoder with queries.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from transformers.models.deepseek_ocr2.configuration_deepseek_ocr2 import DeepseekOcr2Config, DeepseekOcr2TextConfig
from transformers.models.deepseek_ocr2.modeling_deepseek_ocr2 import DeepseekOcr2ForConditionalGeneration
from transformers.models.unlimited_ocr.configuration_unlimited_ocr import UnlimitedOcrConfig, UnlimitedOcrTextConfig
from transformers.models.unlimited_ocr.modeling_unlimited_ocr import UnlimitedOcrForConditionalGeneration

from ..model.architecture import Architecture
from ..model.geometry import Workload

ReferenceModel: TypeAlias = UnlimitedOcrForConditionalGeneration | DeepseekOcr2ForConditionalGeneration
ModelConfig: TypeAlias = UnlimitedOcrConfig | DeepseekOcr2Config
TextConfig: TypeAlias = UnlimitedOcrTextConfig | DeepseekOcr2TextConfig


@dataclass(frozen=True, slots=True)
class Family:
    """A class of transformers, and all that differs between them beside their modules."""

    kind: type[Any]
    encoder: str  # after SAM, as its component is called
    config: Callable[[Architecture], ModelConfig]
    crops: Callable[[Workload], dict[str, object]]  # the arguments that say how crops lie
    masks: Callable[[torch.Tensor | None], Any]  # the decoder's `attention_mask` from a ready one


def of(model: Architecture) -> Family:
    """The family of classes that runs `model`."""
    return UNLIMITED if model.query_encoder is None else OCR2


def of_built(built: ReferenceModel) -> Family:
    """The family of a built model; one of a user's own has the interface of its family, not always its class."""
    return OCR2 if built.config.model_type == DeepseekOcr2Config.model_type else UNLIMITED


def _sam(model: Architecture) -> dict[str, object]:
    sam = model.sam
    return {
        "hidden_size": sam.width,
        "num_hidden_layers": sam.layers,
        "num_attention_heads": sam.heads,
        "mlp_dim": sam.mlp_width,
        "window_size": sam.window,
        "global_attn_indexes": list(sam.global_layers),
        "patch_size": sam.patch,
        "num_channels": sam.channels,
        "image_size": sam.image_side,
        "output_channels": sam.neck_width,
        "downsample_channels": list(sam.downsample_widths),
    }


def _decoder(model: Architecture) -> dict[str, object]:
    decoder = model.decoder
    return {
        "hidden_size": decoder.width,
        "num_hidden_layers": decoder.layers,
        "num_attention_heads": decoder.heads,
        "num_key_value_heads": decoder.kv_heads,
        "intermediate_size": decoder.dense_width,
        "moe_intermediate_size": decoder.expert_width,
        "n_routed_experts": decoder.experts,
        "num_experts_per_tok": decoder.experts_per_token,
        "n_shared_experts": decoder.shared_experts,
        "vocab_size": decoder.vocabulary,
        "max_position_embeddings": decoder.max_positions,
    }


def _unlimited(model: Architecture) -> UnlimitedOcrConfig:
    """Full attention in every layer, or a window of new tokens."""
    clip, decoder = model.with_clip, model.decoder
    encoder = {
        "hidden_size": clip.width,
        "num_hidden_layers": clip.layers,
        "num_attention_heads": clip.heads,
        "intermediate_size": clip.mlp_width,
        "patch_size": clip.patch,
        "image_size": clip.image_side,
        "num_channels": clip.channels,
    }
    return UnlimitedOcrConfig(
        vision_config={"sam_config": _sam(model), "encoder_config": encoder},
        text_config=_decoder(model)
        | {
            "first_k_dense_replace": decoder.dense_layers,
            "layer_types": ["reference_sliding_attention" if decoder.window else "full_attention"] * decoder.layers,
            **({"sliding_window": decoder.window} if decoder.window else {}),  # it may not be None
        },
        image_token_id=decoder.vocabulary - 1,  # any token will do: prompts are made here
    )


def _ocr2(model: Architecture) -> DeepseekOcr2Config:
    queries, decoder = model.query_encoder, model.decoder
    assert queries is not None
    encoder = {
        "hidden_size": queries.width,
        "num_hidden_layers": queries.layers,
        "num_attention_heads": queries.heads,
        "num_key_value_heads": queries.kv_heads,
        "intermediate_size": queries.mlp_width,
        "rope_parameters": {"rope_type": "default", "rope_theta": queries.rope_theta},
    }
    dense = decoder.dense_layers
    return DeepseekOcr2Config(
        vision_config={"sam_config": _sam(model), "encoder_config": encoder},
        text_config=_decoder(model) | {"mlp_layer_types": ["dense"] * dense + ["sparse"] * (decoder.layers - dense)},
        image_token_id=decoder.vocabulary - 1,
    )


def _unlimited_crops(work: Workload) -> dict[str, object]:
    """Its own grids are (columns, rows)."""
    grid = work.grid
    return {"num_local_patches": [grid.crops] * work.batch, "patches_grid": [[grid.columns, grid.rows]] * work.batch}


def _of_each_kind(mask: torch.Tensor | None) -> Mapping[str, torch.Tensor | None]:
    """A ready mask for each kind of layer: transformers' own mask building reads tensors back to the host."""
    return {"full_attention": mask, "reference_sliding_attention": mask}


UNLIMITED = Family(UnlimitedOcrForConditionalGeneration, "clip", _unlimited, _unlimited_crops, _of_each_kind)
OCR2 = Family(
    DeepseekOcr2ForConditionalGeneration,
    "query_encoder",
    _ocr2,
    lambda work: {"num_local_patches": [work.grid.crops] * work.batch},
    lambda mask: mask,
)
