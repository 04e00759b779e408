"""Snapshots of the tiny model in DeepSeek-OCR's original layout, written by hand."""

from __future__ import annotations

import json
import re
from pathlib import Path

import torch
from safetensors.torch import save_file

from pytest_ocrsweep import load_model
from pytest_ocrsweep.vendor_model import checkpoint, snapshot_files

TINY = load_model("deepseek-ocr-tiny").architecture
TINY_2 = load_model("deepseek-ocr-2-tiny").architecture
HEAD, LAST = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"
LM_HEAD, NORM = "lm_head.weight", "model.norm.weight"
UNUSED = "model.vision_model.embeddings.patch_embedding.weight"

# From transformers' names to those of DeepSeek's modules (deepencoder/sam_vary_sdpa.py, clip_sdpa.py), by hand:
# a check on transformers' own table, which is what loads them.
ORIGINAL = (
    (r"\.vision_tower\.sam_encoder\.layers\.(\d+)\.layer_norm", r".sam_model.blocks.\1.norm"),
    (r"\.vision_tower\.sam_encoder\.layers\.", ".sam_model.blocks."),
    (r"\.vision_tower\.sam_encoder\.patch_embed\.projection", ".sam_model.patch_embed.proj"),
    (r"\.vision_tower\.sam_encoder\.neck\.conv1", ".sam_model.neck.0"),
    (r"\.vision_tower\.sam_encoder\.neck\.layer_norm1", ".sam_model.neck.1"),
    (r"\.vision_tower\.sam_encoder\.neck\.conv2", ".sam_model.neck.2"),
    (r"\.vision_tower\.sam_encoder\.neck\.layer_norm2", ".sam_model.neck.3"),
    (r"\.vision_tower\.sam_encoder\.proj\.conv1", ".sam_model.net_2"),
    (r"\.vision_tower\.sam_encoder\.proj\.conv2", ".sam_model.net_3"),
    (r"\.vision_tower\.sam_encoder\.", ".sam_model."),
    (r"\.vision_tower\.vision_encoder\.encoder\.", ".vision_model.transformer."),
    (r"\.vision_tower\.vision_encoder\.", ".vision_model."),
    (r"\.multi_modal_projector\.", ".projector.layers."),
    (r"\.view_separator", ".view_seperator"),
    (r"\.language_model\.", "."),
)
# DeepSeek-OCR-2's modules beside those (deepencoderv2.py: Qwen2Decoder2Encoder), which go first.
ORIGINAL_2 = (
    (r"\.vision_tower\.vision_encoder\.", ".qwen2_model.model.model."),
    (r"\.vision_tower\.query_(\d+)_resolution", r".qwen2_model.query_\1"),
    *ORIGINAL,
)


def written_config_2() -> dict[str, object]:
    """As DeepSeek-OCR-2's config.json lays it out, with the tiny model's numbers."""
    assert TINY_2.query_encoder is not None
    config = written_config()
    sam = config["vision_config"]["width"]["sam_vit_b"]  # type: ignore[index]
    vision = {"image_size": 1024, "mlp_ratio": 3.7362, "model_name": "deepencoderv2", "model_type": "vision"}
    width = {
        "qwen2-0-5b": {"dim": TINY_2.query_encoder.width},
        "sam_vit_b": {**sam, "downsample_channels": [512, 1024]},
    }
    return {
        **config,
        "architectures": ["DeepseekOCR2ForCausalLM"],
        "auto_map": {"AutoModel": "modeling_deepseekocr2.DeepseekOCR2ForCausalLM"},
        "vision_config": {**vision, "width": width},
    }


def written_config() -> dict[str, object]:
    """As DeepSeek-OCR's config.json lays it out, with the tiny model's numbers."""
    sam, clip, decoder = TINY.sam, TINY.clip, TINY.decoder
    assert clip is not None
    return {
        "architectures": ["DeepseekOCRForCausalLM"],
        "auto_map": {"AutoModel": "modeling_deepseekocr.DeepseekOCRForCausalLM"},
        "model_type": "deepseek_vl_v2",
        "language_config": {
            "hidden_size": decoder.width,
            "num_hidden_layers": decoder.layers,
            "first_k_dense_replace": decoder.dense_layers,
            "num_attention_heads": decoder.heads,
            "num_key_value_heads": decoder.kv_heads,
            "intermediate_size": decoder.dense_width,
            "moe_intermediate_size": decoder.expert_width,
            "n_routed_experts": decoder.experts,
            "num_experts_per_tok": decoder.experts_per_token,
            "n_shared_experts": decoder.shared_experts,
            "vocab_size": decoder.vocabulary,
            "max_position_embeddings": decoder.max_positions,
            "use_mla": False,
        },
        "vision_config": {
            "image_size": sam.image_side,
            "mlp_ratio": 3.7362,
            "width": {
                "clip-l-14-224": {
                    "heads": clip.heads,
                    "image_size": clip.image_side,
                    "layers": clip.layers,
                    "patch_size": clip.patch,
                    "width": clip.width,
                },
                "sam_vit_b": {
                    "downsample_channels": list(sam.downsample_widths),
                    "global_attn_indexes": list(sam.global_layers),
                    "heads": sam.heads,
                    "layers": sam.layers,
                    "width": sam.width,
                },
            },
        },
    }


def original(state: dict[str, torch.Tensor], names: tuple[tuple[str, str], ...] = ORIGINAL) -> dict[str, torch.Tensor]:
    """One tensor an expert and projection, queries, keys and values of CLIP in one, DeepSeek's names."""
    tensors: dict[str, torch.Tensor] = {}
    for source, tensor in state.items():
        name = source
        for ours, theirs in names:
            name = re.sub(ours, theirs, name)
        if name.endswith("experts.gate_up_proj"):
            for expert, both in enumerate(tensor):
                for part, half in zip(("gate_proj", "up_proj"), both.chunk(2), strict=True):
                    tensors[name.replace("gate_up_proj", f"{expert}.{part}.weight")] = half
        elif name.endswith("experts.down_proj"):
            for expert, down in enumerate(tensor):
                tensors[name.replace("down_proj", f"{expert}.down_proj.weight")] = down
        elif ".vision_model." in name and ".q_proj." in name:
            parts = [state[source.replace("q_proj", part)] for part in ("q_proj", "k_proj", "v_proj")]
            tensors[name.replace("q_proj", "qkv_proj")] = torch.cat(parts)
        elif ".vision_model." not in name or not re.search(r"\.[kv]_proj\.", name):
            tensors[name] = tensor
    return {name: tensor.clone() for name, tensor in tensors.items()}


def write(folder: Path, tensors: dict[str, torch.Tensor], config: dict[str, object] | None = None) -> None:
    """Two shards, their index, and the configuration: without one, the tiny model's."""
    names = sorted(tensors)
    shards = {HEAD: names[: len(names) // 2], LAST: names[len(names) // 2 :]}
    for file, held in shards.items():
        save_file({name: tensors[name] for name in held}, folder / file, metadata={"format": "pt"})
    index = {"metadata": {}, "weight_map": {name: file for file, held in shards.items() for name in held}}
    (folder / snapshot_files.INDEX).write_text(json.dumps(index))
    (folder / "config.json").write_text(json.dumps(config or written_config()))


def load(folder, attention="flash", experts="grouped_mm") -> checkpoint.LoadedCheckpoint:
    return checkpoint.load(folder, TINY, attention, experts, "cpu")
