"""The classes of transformers that read pages at their own resolution, by the name of their folder."""

from __future__ import annotations

import torch
from transformers.models.glm_ocr.configuration_glm_ocr import GlmOcrConfig
from transformers.models.glm_ocr.modeling_glm_ocr import GlmOcrForConditionalGeneration
from transformers.models.paddleocr_vl.configuration_paddleocr_vl import PaddleOCRVLConfig
from transformers.models.paddleocr_vl.modeling_paddleocr_vl import PaddleOCRVLForConditionalGeneration
from transformers.vision_utils import get_vision_interpolation_indices_and_weights, get_vision_position_ids

from ..model.architecture import Architecture, PatchEncoder
from ..model.geometry import Workload
from .family import Family, Patches, text_sizes
from .host_numbers import page_grids

AXES = 3  # time, row and column


def _encoder(model: Architecture) -> PatchEncoder:
    assert model.patch_encoder is not None, f"{model.name} has no patch encoder"
    return model.patch_encoder


def _decoder(model: Architecture) -> dict[str, object]:
    decoder = model.decoder
    return {
        **text_sizes(decoder),
        "head_dim": decoder.dim,
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": 10000,
            "mrope_section": list(decoder.rope_sections),
            "partial_rotary_factor": 1.0,
        },
        "pad_token_id": None,
    }


def _glm(model: Architecture) -> GlmOcrConfig:
    encoder = _encoder(model)
    vision = {
        "depth": encoder.layers,
        "hidden_size": encoder.width,
        "num_heads": encoder.heads,
        "intermediate_size": encoder.mlp_width,
        "patch_size": encoder.patch,
        "temporal_patch_size": encoder.frames,
        "in_channels": encoder.channels,
        "spatial_merge_size": encoder.merge,
        "out_hidden_size": model.decoder.width,
    }
    return GlmOcrConfig(vision_config=vision, text_config=_decoder(model), image_token_id=model.decoder.vocabulary - 1)


def _paddle(model: Architecture) -> PaddleOCRVLConfig:
    """The sections of a head's angles are set afterwards: the class reads them, and warns of them when it is made."""
    encoder, text = _encoder(model), _decoder(model)
    vision = {
        "hidden_size": encoder.width,
        "num_hidden_layers": encoder.layers,
        "num_attention_heads": encoder.heads,
        "intermediate_size": encoder.mlp_width,
        "patch_size": encoder.patch,
        "image_size": encoder.patch * encoder.position_side,
        "num_channels": encoder.channels,
        "spatial_merge_size": encoder.merge,
    }
    plain = {"rope_type": "default", "rope_theta": 500000}
    config = PaddleOCRVLConfig(
        vision_config=vision,
        text_config=text | {"rope_parameters": plain, "tie_word_embeddings": False},
        image_token_id=model.decoder.vocabulary - 1,
        tie_word_embeddings=False,
    )
    config.text_config.rope_parameters["mrope_section"] = list(model.decoder.rope_sections)
    return config


def _raster(canvas: torch.Tensor, encoder: PatchEncoder) -> torch.Tensor:
    """[patches, 3, side, side], row by row."""
    side, (rows, columns) = encoder.patch, (size // encoder.patch for size in canvas.shape[1:])
    return canvas.reshape(3, rows, side, columns, side).permute(1, 3, 0, 2, 4).reshape(-1, 3, side, side)


def _row_and_column_and_table(work: Workload, encoder: PatchEncoder) -> dict[str, torch.Tensor]:
    """[patches, 2] row by row; [patches, 4] places in the table of trained positions, and their weights."""
    grids = torch.from_numpy(page_grids(work, encoder.merge).copy())
    indices, weights = get_vision_interpolation_indices_and_weights(grids, encoder.position_side)
    return {
        "image_position_ids": get_vision_position_ids(grids, 1),
        "image_interp_indices": indices,
        "image_interp_weights": weights,
    }


def _blocks(canvas: torch.Tensor, encoder: PatchEncoder) -> torch.Tensor:
    """[patches, frames · pixels]; patches of one image token side by side, every frame the same."""
    side, merge, (rows, columns) = encoder.patch, encoder.merge, (size // encoder.tile for size in canvas.shape[1:])
    cut = canvas.reshape(3, rows, merge, side, columns, merge, side).permute(1, 4, 2, 5, 0, 3, 6)
    frames = cut[..., None, :, :].expand(-1, -1, -1, -1, -1, encoder.frames, -1, -1)
    return frames.reshape(rows * columns * merge**2, -1)


def _row_and_column(work: Workload, encoder: PatchEncoder) -> dict[str, torch.Tensor]:
    """[patches, 2], patches of one image token side by side."""
    grids = torch.from_numpy(page_grids(work, encoder.merge).copy())
    return {"image_position_ids": get_vision_position_ids(grids, encoder.merge)}


_LAYER = "model.language_model.layers.*"
GLM = Family(
    GlmOcrForConditionalGeneration,
    "patch_encoder",
    _glm,
    masks=lambda mask: mask,
    patches=Patches(lambda encoder: (encoder.pixels,), _blocks, _row_and_column, AXES),
    modules={
        "patch_encoder": "model.visual.blocks.*",
        "projector": "model.visual.merger",
        "decoder/attn_norm": f"{_LAYER}.post_self_attn_layernorm",
        "decoder/mlp": f"{_LAYER}.mlp",
        "decoder/mlp_norm": f"{_LAYER}.post_mlp_layernorm",
    },
)
PADDLE = Family(
    PaddleOCRVLForConditionalGeneration,
    "patch_encoder",
    _paddle,
    masks=lambda mask: mask,
    patches=Patches(
        lambda encoder: (encoder.channels, encoder.patch, encoder.patch), _raster, _row_and_column_and_table, AXES
    ),
    modules={
        "patch_encoder": "model.visual.vision_model.encoder.layers.*",
        "projector": "model.projector",
    },
)
NATIVE = {"glm_ocr": GLM, "paddleocr_vl": PADDLE}
