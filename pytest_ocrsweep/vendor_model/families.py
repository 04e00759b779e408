"""The classes of transformers that run a model: their configuration from our sizes, and what their calls take.

UnlimitedOcr without its window is DeepSeek-OCR to the parameter; DeepseekOcr2 has an encoder with queries. Classes that
read pages at their own resolution are in `native_families`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

import torch
from transformers.models.deepseek_ocr2.configuration_deepseek_ocr2 import DeepseekOcr2Config, DeepseekOcr2TextConfig
from transformers.models.deepseek_ocr2.modeling_deepseek_ocr2 import DeepseekOcr2ForConditionalGeneration
from transformers.models.glm_ocr.configuration_glm_ocr import GlmOcrConfig, GlmOcrTextConfig
from transformers.models.glm_ocr.modeling_glm_ocr import GlmOcrForConditionalGeneration
from transformers.models.paddleocr_vl.configuration_paddleocr_vl import PaddleOCRTextConfig, PaddleOCRVLConfig
from transformers.models.paddleocr_vl.modeling_paddleocr_vl import PaddleOCRVLForConditionalGeneration
from transformers.models.unlimited_ocr.configuration_unlimited_ocr import UnlimitedOcrConfig, UnlimitedOcrTextConfig
from transformers.models.unlimited_ocr.modeling_unlimited_ocr import UnlimitedOcrForConditionalGeneration

from ..model.architecture import Architecture
from ..model.geometry import Workload
from ..model.structures import structure_of
from .family import Family, text_sizes
from .native_families import NATIVE

ReferenceModel: TypeAlias = (
    UnlimitedOcrForConditionalGeneration
    | DeepseekOcr2ForConditionalGeneration
    | GlmOcrForConditionalGeneration
    | PaddleOCRVLForConditionalGeneration
)
ModelConfig: TypeAlias = UnlimitedOcrConfig | DeepseekOcr2Config | GlmOcrConfig | PaddleOCRVLConfig
TextConfig: TypeAlias = UnlimitedOcrTextConfig | DeepseekOcr2TextConfig | GlmOcrTextConfig | PaddleOCRTextConfig


def of(model: Architecture) -> Family:
    """The family of classes that runs `model`."""
    if model.patch_encoder is not None:
        return NATIVE[structure_of(model)]
    return UNLIMITED if model.query_encoder is None else OCR2


def of_built(built: ReferenceModel) -> Family:
    """The family of a built model; one of a user's own has the interface of its family, not always its class."""
    kind = built.config.model_type
    return NATIVE.get(kind, OCR2 if kind == DeepseekOcr2Config.model_type else UNLIMITED)


def _sam(model: Architecture) -> dict[str, object]:
    sam = model.with_sam
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
        **text_sizes(decoder),
        "moe_intermediate_size": decoder.expert_width,
        "n_routed_experts": decoder.experts,
        "num_experts_per_tok": decoder.experts_per_token,
        "n_shared_experts": decoder.shared_experts,
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


UNLIMITED = Family(
    UnlimitedOcrForConditionalGeneration, "clip", _unlimited, masks=_of_each_kind, crops=_unlimited_crops
)
OCR2 = Family(
    DeepseekOcr2ForConditionalGeneration,
    "query_encoder",
    _ocr2,
    masks=lambda mask: mask,
    crops=lambda work: {"num_local_patches": [work.grid.crops] * work.batch},
)
