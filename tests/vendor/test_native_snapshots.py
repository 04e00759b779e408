"""Snapshots of models at a page's own resolution, in the layout that they are published in."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="the reference model needs the extra [vendor]")
pytest.importorskip("transformers", reason="the reference model needs the extra [vendor]")

import torch
from safetensors.torch import save_file

from pytest_ocrsweep import load_model
from pytest_ocrsweep.errors import CheckpointError
from pytest_ocrsweep.model.architecture import Architecture
from pytest_ocrsweep.vendor_model import build, checkpoint, snapshot_config, snapshot_files

# What zai-org/GLM-OCR's config.json says, but for token ids.
GLM: dict[str, Any] = {
    "architectures": ["GlmOcrForConditionalGeneration"],
    "model_type": "glm_ocr",
    "text_config": {
        "model_type": "glm_ocr_text",
        "pad_token_id": 59246,
        "vocab_size": 59392,
        "eos_token_id": [59246, 59253],
        "attention_bias": False,
        "attention_dropout": 0.0,
        "head_dim": 128,
        "hidden_act": "silu",
        "hidden_size": 1536,
        "initializer_range": 0.02,
        "intermediate_size": 4608,
        "max_position_embeddings": 131072,
        "num_attention_heads": 16,
        "num_hidden_layers": 16,
        "num_nextn_predict_layers": 1,
        "num_key_value_heads": 8,
        "rms_norm_eps": 1e-05,
        "dtype": "bfloat16",
        "rope_parameters": {
            "rope_type": "default",
            "mrope_section": [16, 24, 24],
            "partial_rotary_factor": 1.0,
            "rope_theta": 10000,
        },
        "tie_word_embeddings": False,
        "use_cache": True,
    },
    "vision_config": {
        "model_type": "glm_ocr_vision",
        "hidden_size": 1024,
        "depth": 24,
        "num_heads": 16,
        "attention_bias": True,
        "intermediate_size": 4096,
        "hidden_act": "silu",
        "hidden_dropout_prob": 0.0,
        "initializer_range": 0.02,
        "image_size": 336,
        "patch_size": 14,
        "out_hidden_size": 1536,
        "rms_norm_eps": 1e-05,
        "spatial_merge_size": 2,
        "temporal_patch_size": 2,
    },
    "image_start_token_id": 59256,
    "image_end_token_id": 59257,
    "video_start_token_id": 59258,
    "video_end_token_id": 59259,
    "transformers_version": "5.0.1",
}
# The keys of PaddlePaddle/PaddleOCR-VL's, with its sizes.
PADDLE: dict[str, Any] = {
    "architectures": ["PaddleOCRVLForConditionalGeneration"],
    "attention_probs_dropout_prob": 0.0,
    "auto_map": {"AutoConfig": "configuration_paddleocr_vl.PaddleOCRVLConfig"},
    "compression_ratio": 1.0,
    "head_dim": 128,
    "hidden_act": "silu",
    "hidden_dropout_prob": 0.0,
    "hidden_size": 1024,
    "ignored_index": -100,
    "image_token_id": 100295,
    "intermediate_size": 3072,
    "max_position_embeddings": 131072,
    "max_sequence_length": None,
    "model_type": "paddleocr_vl",
    "num_attention_heads": 16,
    "num_hidden_layers": 18,
    "num_key_value_heads": 2,
    "pad_token_id": 0,
    "rms_norm_eps": 1e-05,
    "rope_scaling": {"mrope_section": [16, 24, 24], "rope_type": "default", "type": "default"},
    "rope_theta": 500000,
    "sliding_window": None,
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
    "use_bias": False,
    "use_cache": False,
    "use_flash_attention": False,
    "video_token_id": 101307,
    "vision_config": {
        "architectures": ["PaddleOCRVisionModel"],
        "attention_dropout": 0.0,
        "hidden_act": "gelu_pytorch_tanh",
        "hidden_size": 1152,
        "image_size": 384,
        "intermediate_size": 4304,
        "layer_norm_eps": 1e-06,
        "model_type": "paddleocr_vl",
        "num_attention_heads": 16,
        "num_channels": 3,
        "num_hidden_layers": 27,
        "pad_token_id": 0,
        "patch_size": 14,
        "spatial_merge_size": 2,
        "temporal_patch_size": 2,
        "tokens_per_second": 2,
        "torch_dtype": "bfloat16",
    },
    "vision_start_token_id": 101305,
    "vocab_size": 103424,
    "weight_share_add_bias": True,
    "use_3d_rope": True,
    "rope_is_neox_style": True,
}
PUBLISHED = {"glm-ocr": GLM, "paddleocr-vl": PADDLE}
OTHERS = [
    ("glm-ocr", "model_type", "glm4v", "'glm_ocr'"),
    ("glm-ocr", "architectures", ["Glm4vForConditionalGeneration"], "['GlmOcrForConditionalGeneration']"),
    ("glm-ocr", "tie_word_embeddings", True, "false"),
    ("glm-ocr", "text_config.hidden_size", 1024, "1536 as decoder.width of glm-ocr"),
    ("glm-ocr", "text_config.num_hidden_layers", 17, "16 as decoder.layers of glm-ocr"),
    ("glm-ocr", "text_config.head_dim", 96, "128 as decoder.head_dim of glm-ocr"),
    ("glm-ocr", "text_config.attention_bias", True, "false"),
    (
        "glm-ocr",
        "text_config.rope_parameters",
        {"rope_type": "yarn"},
        "should be {'mrope_section': [16, 24, 24], 'rope_type': 'default",
    ),
    ("glm-ocr", "vision_config.depth", 27, "24 as patch_encoder.layers of glm-ocr"),
    ("glm-ocr", "vision_config.attention_bias", False, "true"),
    ("glm-ocr", "vision_config.temporal_patch_size", 1, "2 as patch_encoder.frames of glm-ocr"),
    ("glm-ocr", "vision_config.window_size", 112, "and it is not known whether this key changes what is computed"),
    ("paddleocr-vl", "tie_word_embeddings", True, "false"),
    ("paddleocr-vl", "num_key_value_heads", 16, "2 as decoder.kv_heads of paddleocr-vl"),
    ("paddleocr-vl", "use_bias", True, "false"),
    ("paddleocr-vl", "sliding_window", 4096, "null"),
    ("paddleocr-vl", "rope_theta", 10000, "500000"),
    ("paddleocr-vl", "vision_config.image_size", 448, "384 or 378"),
    ("paddleocr-vl", "vision_config.hidden_size", 1024, "1152 as patch_encoder.width of paddleocr-vl"),
    ("paddleocr-vl", "vision_config.hidden_act", "gelu", "'gelu_pytorch_tanh'"),
]


def refused(folder: Path, config: dict[str, Any], model: Architecture) -> list[str]:
    (folder / "config.json").write_text(json.dumps(config))
    try:
        snapshot_config.check(folder / "config.json", model)
    except CheckpointError as error:
        return str(error).replace(f"{folder / 'config.json'}: ", "").splitlines()
    return []


@pytest.mark.parametrize("name", PUBLISHED)
def test_what_is_published_is_accepted_under_its_own_name_alone(name, tmp_path):
    assert refused(tmp_path, PUBLISHED[name], load_model(name).architecture) == []
    for other in ("deepseek-ocr", "deepseek-ocr-2", "unlimited-ocr", *(set(PUBLISHED) - {name})):
        lines = refused(tmp_path, PUBLISHED[name], load_model(other).architecture)
        assert any(line.startswith("architectures is ") for line in lines), other


@pytest.mark.parametrize(("name", "key", "value", "asked"), OTHERS)
def test_a_key_of_another_model_is_refused_by_its_name(name, key, value, asked, tmp_path):
    config = copy.deepcopy(PUBLISHED[name])
    *blocks, last = key.split(".")
    block = config
    for each in blocks:
        block = block[each]
    block[last] = value
    (line,) = refused(tmp_path, config, load_model(name).architecture)
    assert line.startswith(f"{key} is ")
    assert asked in line


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_key_that_must_be_there_is_missed(name, tmp_path):
    config = copy.deepcopy(PUBLISHED[name])
    del config["architectures"], config["vision_config"]
    lines = refused(tmp_path, config, load_model(name).architecture)
    assert [line.split(",")[0] for line in lines] == ["architectures is missing", "vision_config is missing"]


def small(name: str) -> tuple[Architecture, dict[str, Any]]:
    """The published model with sizes of a CPU, and a configuration that says so."""
    model, config = load_model(name).architecture, copy.deepcopy(PUBLISHED[name])
    assert model.patch_encoder is not None
    encoder, decoder = {"width": 32, "layers": 2, "heads": 2, "mlp_width": 64}, {"width": 64, "layers": 2, "heads": 4}
    sizes = {"kv_heads": 2, "head_dim": 32, "dense_width": 128, "vocabulary": 300, "dense_layers": 2}
    made = replace(
        model,
        patch_encoder=replace(model.patch_encoder, **encoder),
        decoder=replace(model.decoder, **decoder, **sizes, rope_sections=(4, 6, 6)),
    )
    text = config["text_config"] if name == "glm-ocr" else config
    names = ("hidden_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads", "head_dim")
    text |= dict(zip((*names, "intermediate_size", "vocab_size"), (64, 2, 4, 2, 32, 128, 300), strict=True))
    text["rope_parameters" if name == "glm-ocr" else "rope_scaling"]["mrope_section"] = [4, 6, 6]
    layers, heads = ("depth", "num_heads") if name == "glm-ocr" else ("num_hidden_layers", "num_attention_heads")
    config["vision_config"] |= {"hidden_size": 32, layers: 2, heads: 2, "intermediate_size": 64}
    if name == "glm-ocr":
        config["vision_config"]["out_hidden_size"] = 64
    return made, config


def published_name(name: str, tensor: str) -> str:
    """By hand, beside transformers' own table, which is what loads them: GLM-OCR's names are its class's."""
    if name == "glm-ocr":
        return tensor
    for ours, theirs in (
        ("model.projector.", "mlp_AR."),
        ("model.visual.", "visual."),
        ("model.language_model.", "model."),
    ):
        if tensor.startswith(ours):
            return theirs + tensor.removeprefix(ours)
    return tensor


UNUSED = {
    "glm-ocr": "model.language_model.layers.2.eh_proj.weight",
    "paddleocr-vl": "visual.vision_model.embeddings.packing_position_embedding.weight",
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_every_tensor_comes_back_to_the_bit(name, tmp_path):
    model, config = small(name)
    writer = build.build(model, "flash", "grouped_mm", "cpu", seed=5)
    tensors = {published_name(name, key): tensor.clone() for key, tensor in writer.state_dict().items()}
    tensors[UNUSED[name]] = torch.zeros(3)
    save_file(tensors, tmp_path / snapshot_files.WEIGHTS)
    (tmp_path / "config.json").write_text(json.dumps(config))
    loaded = checkpoint.load(tmp_path, model, "eager", "grouped_mm", "cpu")
    assert loaded.unused == (UNUSED[name],)
    found, written = loaded.model.state_dict(), writer.state_dict()
    assert found.keys() == written.keys()
    assert all(torch.equal(found[key], written[key]) for key in written)
    missing = next(iter(tensors))
    del tensors[missing]
    save_file(tensors, tmp_path / snapshot_files.WEIGHTS)
    with pytest.raises(CheckpointError, match=f"tensor {missing} is missing"):
        checkpoint.load(tmp_path, model, "eager", "grouped_mm", "cpu")
