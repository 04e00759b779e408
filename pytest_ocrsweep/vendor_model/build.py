"""The reference model: a class of transformers with our sizes."""

from __future__ import annotations

from functools import cache

import torch
from transformers import AutoModelForImageTextToText
from transformers.initialization import no_init_weights

from ..model.architecture import Architecture
from ..model.attention import ATTENTION
from . import compat, families
from .families import ReferenceModel, TextConfig

DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


def build(model: Architecture, attention: str, experts: str, device: str, seed: int = 0) -> ReferenceModel:
    """The reference model on `device`, made there in the dtype of `model` with seeded random weights.

    `attention` is one of ATTENTION, `experts` transformers' experts_implementation ("grouped_mm", "batched_mm").
    """
    with torch.device(device), no_init_weights():
        built = AutoModelForImageTextToText.from_config(
            families.of(model).config(model),
            dtype=DTYPES[model.dtype],
            attn_implementation=ATTENTION[attention].implementation,
            **experts_of(model, experts),
        )
    if device != "meta":
        randomise(built, seed)
    return ready(built)


def experts_of(model: Architecture, experts: str) -> dict[str, str]:
    """The argument that says how routed experts run; classes without any refuse it."""
    return {"experts_implementation": experts} if model.decoder.experts else {}


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


def text_config(built: ReferenceModel) -> TextConfig:
    """The configuration of the decoder."""
    text = built.config.text_config
    assert isinstance(text, TextConfig)
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
    """The built model, its routed experts, if it has some, run by `experts` from now on."""
    if families.of_built(built).patches is None:
        built.set_experts_implementation(experts)
    return built
