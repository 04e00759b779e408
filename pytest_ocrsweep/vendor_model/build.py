"""The reference model: transformers' UnlimitedOcr class with our sizes, which is DeepSeek-OCR to the parameter."""

from __future__ import annotations

from functools import cache
from typing import TypeAlias

import torch
from transformers import AutoModelForImageTextToText
from transformers.initialization import no_init_weights
from transformers.models.unlimited_ocr.configuration_unlimited_ocr import UnlimitedOcrConfig, UnlimitedOcrTextConfig
from transformers.models.unlimited_ocr.modeling_unlimited_ocr import UnlimitedOcrForConditionalGeneration

from ..model.architecture import Architecture
from ..model.attention import ATTENTION
from . import compat

ReferenceModel: TypeAlias = UnlimitedOcrForConditionalGeneration
DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


def config(model: Architecture) -> UnlimitedOcrConfig:
    """transformers' configuration of `model`: full attention in every layer, which is what DeepSeek-OCR has."""
    sam, clip, decoder = model.sam, model.clip, model.decoder
    return UnlimitedOcrConfig(
        vision_config={
            "sam_config": {
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
            },
            "encoder_config": {
                "hidden_size": clip.width,
                "num_hidden_layers": clip.layers,
                "num_attention_heads": clip.heads,
                "intermediate_size": clip.mlp_width,
                "patch_size": clip.patch,
                "image_size": clip.image_side,
                "num_channels": clip.channels,
            },
        },
        text_config={
            "hidden_size": decoder.width,
            "num_hidden_layers": decoder.layers,
            "num_attention_heads": decoder.heads,
            "num_key_value_heads": decoder.kv_heads,
            "intermediate_size": decoder.dense_width,
            "moe_intermediate_size": decoder.expert_width,
            "n_routed_experts": decoder.experts,
            "num_experts_per_tok": decoder.experts_per_token,
            "n_shared_experts": decoder.shared_experts,
            "first_k_dense_replace": decoder.dense_layers,
            "vocab_size": decoder.vocabulary,
            "max_position_embeddings": decoder.max_positions,
            "layer_types": ["full_attention"] * decoder.layers,  # no sliding window
        },
        image_token_id=decoder.vocabulary - 1,  # any token will do: prompts are made here
    )


def build(model: Architecture, attention: str, experts: str, device: str, seed: int = 0) -> ReferenceModel:
    """The reference model on `device`, made there in the dtype of `model` with seeded random weights.

    `attention` is one of ATTENTION, `experts` transformers' experts_implementation ("grouped_mm", "batched_mm").
    """
    with torch.device(device), no_init_weights():
        built = AutoModelForImageTextToText.from_config(
            config(model),
            dtype=DTYPES[model.dtype],
            attn_implementation=ATTENTION[attention].implementation,
            experts_implementation=experts,
        )
    if device != "meta":
        randomise(built, seed)
    return ready(built)


def like(built: ReferenceModel) -> torch.Tensor:
    """A tensor of the device and dtype that the model computes in, as wide as the decoder, [tokens, width].

    The head's weights; those of the token embedding if a quantised head has none that are floating point.
    """
    weight = built.lm_head.weight
    if isinstance(weight, torch.Tensor) and weight.is_floating_point():
        return weight
    embedding = built.get_input_embeddings().weight
    assert isinstance(embedding, torch.Tensor)
    return embedding


def text_config(built: ReferenceModel) -> UnlimitedOcrTextConfig:
    """The configuration of the decoder."""
    text = built.config.text_config
    assert isinstance(text, UnlimitedOcrTextConfig)
    return text


@cache
def on_meta(model: Architecture, attention: str, experts: str) -> ReferenceModel:
    """The reference model on the meta device, where tensors have shapes and no memory; built once."""
    return build(model, attention, experts, "meta")


def ready(built: ReferenceModel) -> ReferenceModel:
    """For inference, and without the check that image tokens match image features."""
    compat.trust_image_tokens(built)
    return built.eval().requires_grad_(False)


def randomise(built: ReferenceModel, seed: int) -> None:
    """Sets the norms' weights to 1 and all else to normal values; transformers' own zeros would run faster on a GPU."""
    generator = torch.Generator(next(built.parameters()).device).manual_seed(seed)
    for name, parameter in built.named_parameters():
        if "norm" in name and name.endswith("weight"):
            torch.nn.init.ones_(parameter)
        else:
            torch.nn.init.normal_(parameter, std=0.02, generator=generator)


def use(built: ReferenceModel, experts: str) -> ReferenceModel:
    """The built model, its routed experts run by `experts` from now on."""
    built.set_experts_implementation(experts)
    return built
